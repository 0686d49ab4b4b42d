"""The command line: sources of texts, output for people and programs, errors in one line."""

import codecs
import io
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import ROOT, RUNTIME

from sentiformer import __version__, cli
from sentiformer.console import predictions as shown
from sentiformer.serving.predictor import Prediction, Predictor
from sentiformer.tracking import tracker
from sentiformer.verification import verify as verification
from sentiformer.verification.comparison import MetricRow, StageRow
from sentiformer.verification.consistency import Contradiction
from sentiformer.verification.verify import Verification

TEXTS = ["a great, moving film", "dull and boring", "0", ""]
IN_FILES = [*TEXTS[:3], None]  # a row without a text has no text in the output


@pytest.fixture(autouse=True)
def model(data, monkeypatch):
    """Run commands in a folder with `data/model`; return the folder of the model."""
    monkeypatch.chdir(data.parent)
    monkeypatch.setenv("SENTIFORMER_THREADS", "1")
    return data / "model"


@pytest.fixture(scope="module")
def expected(data):
    return [
        prediction.model_dump() for prediction in Predictor.load(data / "model", RUNTIME)(TEXTS)
    ]


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command with bytes as its standard input; return the lines of its output."""

    def run_command(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        cli.main([str(argument) for argument in arguments])
        return capsys.readouterr().out.splitlines()

    return run_command


@pytest.fixture
def mistake(run, capsys):
    """Run a command that fails; return its error."""

    def run_command(*arguments, stdin=b""):
        with pytest.raises(SystemExit) as stopped:
            run(*arguments, stdin=stdin)
        line = stopped.value.code
        assert isinstance(line, str), "Python prints it and exits with 1"
        assert line.startswith("error: ")
        assert "\n" not in line
        assert capsys.readouterr().err == ""
        return line

    return run_command


def assert_predicted(lines, expected, texts=TEXTS):
    """Each line is a JSON object with the text and its prediction."""
    rows = [json.loads(line) for line in lines]
    assert [row.pop("text") for row in rows] == texts
    for row, prediction in zip(rows, expected, strict=True):
        assert row["label"] == prediction["label"]
        assert row["probability"] == pytest.approx(prediction["probability"], abs=1e-4)
        assert row["probabilities"] == pytest.approx(prediction["probabilities"], abs=1e-4)
        assert row["reason"] == prediction["reason"]
        assert set(row) == set(prediction)


def test_texts_as_arguments_are_classified(run, expected):
    assert_predicted(run("predict", "--json", *TEXTS), expected)


def test_texts_as_lines_of_standard_input_are_classified(run, expected):
    lines = "\n".join(TEXTS[:3]).encode() + b"\r\n\n"
    assert_predicted(run("predict", "--json", stdin=lines), expected)
    marked = run("predict", "--json", stdin=codecs.BOM_UTF8 + lines)
    assert_predicted(marked, expected)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_texts_are_read_from_the_given_column_of_a_file(run, tmp_path, expected, kind):
    path, table = tmp_path / f"reviews.{kind}", pd.DataFrame({"id": range(4), "review": TEXTS})
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_parquet(path)
    lines = run("predict", "--json", "--file", path, "--column", "review")
    assert_predicted(lines, expected, IN_FILES)


def test_lines_of_a_text_file_are_classified(run, tmp_path, expected):
    path = tmp_path / "reviews.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    assert_predicted(run("predict", "--json", "--file", path), expected, IN_FILES)


@pytest.mark.parametrize(
    "arguments", [["-"], ["/dev/stdin"], ["--file", "-"], ["--file", "/dev/stdin"]]
)
def test_standard_input_has_two_names(run, expected, arguments):
    lines = "\n".join(TEXTS).encode() + b"\n"
    assert_predicted(run("predict", "--json", *arguments, stdin=lines), expected)


def test_the_model_of_another_folder_is_used(run, model, expected):
    lines = run("predict", "--json", "--model", model.resolve(), *TEXTS)
    assert_predicted(lines, expected)


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_at_a_terminal_each_line_is_classified_before_the_next_is_read(
    capsys, monkeypatch, arguments
):
    answers, said = [], ""

    def typed():
        nonlocal said
        for text in TEXTS[:2]:
            yield f"{text}\n".encode()
            answer = capsys.readouterr()
            answers.append(answer.out)
            said += answer.err

    terminal = SimpleNamespace(buffer=typed(), isatty=lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    cli.main(["predict", *arguments])
    assert [text in answer for text, answer in zip(TEXTS, answers, strict=False)] == [True, True]
    said += capsys.readouterr().err
    assert said.startswith("type a text and press Enter; Ctrl-D ends\n> > > \n2 texts: ")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_more_texts_than_a_chunk_keep_their_order(run, tmp_path, monkeypatch, threads):
    monkeypatch.setenv("SENTIFORMER_THREADS", threads)
    path = tmp_path / "many.txt"
    texts = [f"great {number}" for number in range(cli.CHUNK_TEXTS * 2 + 3)]
    path.write_text("\n".join(texts))
    lines = run("predict", "--json", "--file", path)
    assert [json.loads(line)["text"] for line in lines] == texts


def test_without_json_there_are_columns_of_label_probability_and_text(run, expected):
    short, long = run("predict", TEXTS[0], "film \n\t" * 100)
    label, probability, text = short.split(maxsplit=2)
    assert label == expected[0]["label"]
    assert probability == f"{expected[0]['probability']:.2%}"
    assert text == TEXTS[0]
    assert long.endswith("film film…")
    assert long.index("film") == short.index(TEXTS[0])
    assert len(long[long.index("film") :]) == shown.SHOWN_CHARACTERS


def test_the_last_line_counts_texts_by_class_and_by_reason(run, capsys):
    def last_line(*arguments):
        cli.main(["predict", *arguments])
        found = capsys.readouterr()
        assert len(found.err.splitlines()) == 1
        return found.err

    line = last_line("--json", "a great film", "great great", "zyzzyva", "!!!", " ")
    assert line.startswith('5 texts: 2 positive, 3 "?" (2 × no known word, 1 × no text); --file ')
    assert last_line("a great film").startswith("1 text: 1 positive; ")
    assert last_line("zyzzyva").startswith('1 text: 1 "?" (no known word); ')


def test_the_last_line_lists_the_most_frequent_classes_and_counts_the_others():
    summary = shown.Summary()
    for number in range(9):
        name = f"class {number}"
        prediction = Prediction(label=name, probability=1, probabilities={name: 1})
        summary.count([prediction] * (20 - number))
    assert str(summary).startswith("144 texts: 20 class 0, 19 class 1, ")
    assert str(summary).endswith("15 class 5, 39 others")


def test_a_text_without_an_answer_is_shown_with_the_reason_instead_of_a_probability(run):
    answered, unanswered, empty = run("predict", "a great film", "zyzzyva", " ")
    assert unanswered.startswith("? ")
    assert unanswered.endswith("  zyzzyva (no known word)")
    assert unanswered.index("zyzzyva") == answered.index("a great film")
    assert "%" not in unanswered
    assert empty.endswith("(no text)")


def test_classes_have_colors_on_a_terminal_only(monkeypatch):
    labels = {"negative": 0.2, "positive": 0.8}
    prediction = Prediction(label="positive", probability=0.8, probabilities=labels)
    doubt = Prediction(label="?", probability=0.8, probabilities=labels, reason="no text")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = shown.as_row("a text", prediction)
    assert "\033" not in plain
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    row = shown.as_row("a text", prediction)
    assert row.replace("\033[32m", "").replace("\033[0m", "") == plain
    assert row.startswith("\033[32mpositive\033[0m ")
    assert "\033[33m(no text)\033[0m" in shown.as_row(None, doubt)
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown.as_row("a text", prediction) == plain


def test_numbers_in_json_have_at_most_four_digits(run):
    (line,) = run("predict", "--json", "a great film")
    row = json.loads(line)
    for value in (row["probability"], *row["probabilities"].values()):
        assert value == round(value, 4)
    assert shown.as_json(None, Prediction(label="?", probability=1 / 3, probabilities={})) == (
        '{"text": null, "label": "?", "probability": 0.3333, "probabilities": {}, "reason": ""}'
    )


def test_texts_start_in_the_same_column_after_labels_of_any_length():
    labels = ["体育", "a label of many words"]
    rows = [
        shown.as_row(
            "the text",
            Prediction(label=name, probability=0.5, probabilities=dict.fromkeys(labels, 0.5)),
        )
        for name in labels
    ]
    assert [row.index("the text") for row in rows] == [len(labels[1]) + 10] * 2


def test_a_row_has_no_control_characters_but_keeps_joiners():
    prediction = Prediction(label="a\x9b", probability=0.5, probabilities={"a\x9b": 0.5})
    row = shown.as_row("\x1b[2J\x9b\u202eab\x00 \u0645\u06cc\u200c\u062e 👩\u200d👩", prediction)
    assert row.startswith("a\ufffd ")
    assert row.endswith("\ufffd[2J\ufffd\ufffdab\ufffd \u0645\u06cc\u200c\u062e 👩\u200d👩")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_valid_in_each_encoding_of_standard_output(monkeypatch, encoding):
    prediction = Prediction(label="a", probability=0.5, probabilities={"a": 0.5})
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", output)
    print(shown.as_json("é 😀", prediction), flush=True)
    line = output.buffer.getvalue().decode(encoding)
    assert json.loads(line)["text"] == "é 😀"
    assert ("😀" in line) == (encoding == "utf-8")


def test_json_keeps_letters_and_stays_on_one_line(run):
    (line,) = run("predict", "--json", "schön\n\U0001f600")
    assert json.loads(line)["text"] == "schön\n\U0001f600"
    assert "schön" in line


def test_texts_and_a_file_together_are_refused(mistake, tmp_path):
    line = mistake("predict", "--file", tmp_path / "a.txt", "a text")
    assert line == "error: texts and --file are both given; give one of the two"


def test_options_that_would_be_ignored_are_refused(mistake, tmp_path):
    (tmp_path / "a.txt").write_text("fine\n")
    files = (tmp_path / "a.txt", "a.TXT.gz", "-")
    for arguments in (["a text"], *(["--file", file] for file in files), []):
        line = mistake("predict", "--column", "review", *arguments)
        assert "--column is only for a table" in line
    assert "- is standard input; give it alone" in mistake("predict", "-", "a text")


def test_the_name_of_a_file_is_not_classified_as_a_text(mistake, run, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("fine\n")
    assert mistake("predict", path).endswith(f"is a file; classify its texts with --file {path}")
    assert len(run("predict", "a" * 5000, "a\0b")) == 2
    assert len(run("predict", "a" * 5000)) == 1


def test_no_text_at_all_is_an_error(mistake, tmp_path):
    assert "there is no text to classify; give a text, --file, or" in mistake("predict")
    (tmp_path / "empty.txt").touch()
    assert "empty.txt is empty; write" in mistake("predict", "--file", tmp_path / "empty.txt")
    (tmp_path / "head.csv").write_text("text\n")
    for command in ("predict", "explain"):
        assert "head.csv has no rows; give" in mistake(command, "--file", tmp_path / "head.csv")


@pytest.mark.parametrize("name", ["none.csv", "no/where.JSONL", "a.txt.gz"])
def test_the_name_of_a_file_that_does_not_exist_is_not_classified_as_a_text(mistake, run, name):
    assert f"there is no file '{name}'; --file takes a file" in mistake("predict", name)
    assert len(run("predict", f"I read {name}")) == 1
    assert len(run("predict", stdin=name.encode())) == 1


def test_invalid_utf8_on_standard_input_is_reported_with_its_line(mistake):
    line = mistake("predict", stdin=b"a good line\nFran\xe7ois\n")
    assert "standard input, line 2: byte 0xe7 is not UTF-8; convert the input" in line


@pytest.mark.parametrize("text", [os.fsdecode(b"Fran\xe7ois"), "half \ud83d", "\udfff"])
def test_an_argument_with_a_lone_surrogate_is_reported_with_its_number(mistake, text):
    line = mistake("predict", "a good text", text)
    assert "text 2 holds '\\ud" in line
    assert "no whole character; write it in UTF-8" in line


def test_a_lone_surrogate_in_a_file_is_reported(mistake, tmp_path):
    path = tmp_path / "half.jsonl"
    path.write_text('{"text": "a \\ud83d"}\n')
    assert "text 1 holds '\\ud83d', which is no whole" in mistake(
        "predict", "--json", "--file", path
    )


def test_the_error_names_the_file_that_cannot_be_read(mistake, tmp_path):
    (tmp_path / "table.csv").write_text("a,b\nfine,good\n")
    found = {name: mistake("predict", "--file", tmp_path / name) for name in ("none.txt", "a.doc")}
    found["table.csv"] = mistake("predict", "--file", tmp_path / "table.csv")
    for name, line in found.items():
        assert str(tmp_path / name) in line
    assert "no column 'text'" in found["table.csv"]


def test_a_missing_model_is_one_line(mistake, tmp_path):
    line = mistake("predict", "--model", tmp_path / "none", "a text")
    assert f"{tmp_path}/none holds no model; `make` in the project's root" in line
    (tmp_path / "file").touch()
    line = mistake("predict", "--model", tmp_path / "file", "a text")
    assert f"{tmp_path}/file is a file; give the folder of a model" in line


def test_an_invalid_environment_variable_is_named(mistake, monkeypatch):
    monkeypatch.setenv("SENTIFORMER_THREADS", "many")
    line = "error: environment: SENTIFORMER_THREADS is 'many'; give a whole number"
    assert mistake("predict", "a text") == line


@pytest.mark.parametrize(
    ("arguments", "usage", "line"),
    [
        (["predikt"], "", "there is no command 'predikt'; did you mean predict?"),
        (["a good film"], "", "there is no command 'a good film'; the commands are predict, "),
        (["predict", "--flie", "a.csv"], " predict", "unknown arguments: --flie"),
        (["predict", "--max-errors", "3%"], " predict", "'3%' is not a number from 0 to 1, such"),
    ],
)
def test_a_misspelled_command_or_option_prints_its_usage_and_one_line(
    capsys, arguments, usage, line
):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"usage: sentiformer{usage} [-h]")
    assert line in last


def test_without_a_command_the_help_is_printed(run):
    lines = run()
    assert lines[0].startswith("usage: sentiformer")
    commands = cli._parser().get_default("commands")
    listed = [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in commands]
    assert listed == list(commands)
    assert (listed[0], listed[-2:]) == ("predict", ["fill", "score"]), "in the order of their use"
    assert any(line.startswith("example: sentiformer predict") for line in lines)


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"sentiformer {__version__}\n"


def test_the_command_is_a_module_of_python():
    done = subprocess.run(
        [sys.executable, "-m", "sentiformer", "--version"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sentiformer {__version__}\n", "")


@pytest.mark.parametrize("could", [True, False])
def test_track_updates_mlflow_and_fails_if_that_fails(monkeypatch, could):
    folders = []

    def sync_all(data, **_):
        folders.append(str(data))
        return could

    monkeypatch.setattr(tracker, "sync_all", sync_all)
    if could:
        cli.main(["track"])
    else:
        with pytest.raises(SystemExit, match="1"):
            cli.main(["track"])
    assert folders == ["data"]


def test_verify_writes_a_file_and_fails_if_a_result_differs(run, mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [StageRow("train", "equal", ""), StageRow("evaluate", "within tolerance", "threads")]
    holds = Verification("commit 1", [], rows, [MetricRow("accuracy", 0.9, 0.901, 0.004)])
    monkeypatch.setattr(verification, "verify", lambda *_, **__: holds)
    *table, last = run("verify", "--here")
    assert "accuracy               within tolerance  0.9010, committed 0.9000 ± 0.0040" in table
    assert last.startswith("verified: commit 1: 1 of 2 stages equal")
    assert json.loads(Path("verify.json").read_text())["verified"] is True
    differs = holds._replace(wrong=[Contradiction("train", "data/model is missing")])
    monkeypatch.setattr(verification, "verify", lambda *_, **__: differs)
    assert "not verified: commit 1; the first difference is at stage train" in mistake("verify")
    assert json.loads(Path("verify.json").read_text())["verified"] is False


def test_verify_outside_a_repository_is_one_line(mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "there is no Git commit to verify; make one" in mistake("verify")


@pytest.mark.slow
def test_predictions_stream_and_the_reader_may_close_the_pipe(model):
    script = "from sentiformer.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, "predict", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=model.parents[1],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": ""},
    ) as process:
        timeout = threading.Timer(60, process.kill)
        timeout.start()
        process.stdin.write(b"a great film\n" * cli.CHUNK_TEXTS)
        process.stdin.flush()
        for _ in range(cli.CHUNK_TEXTS):
            assert json.loads(process.stdout.readline())["text"] == "a great film"
        assert process.poll() is None, "it waits for more input"
        process.stdout.close()
        _, errors = process.communicate(b"more\n" * 1000)
        timeout.cancel()
    assert errors == b""
    assert process.returncode == 0


@pytest.mark.slow
def test_prediction_needs_no_package_of_the_extras_and_no_compiler_and_is_deterministic(model):
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split("[<>=]", name)[0] for name in packages["optional-dependencies"]["pipeline"]]
    modules = {"scikit-learn": "sklearn", "ruamel.yaml": "ruamel"}
    blocked = [modules.get(name, name.replace("-", "_")) for name in names]
    assert {"dvc", "mlflow", "datasets", "pandas", "sklearn"} <= set(blocked)
    script = f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))
sys.argv = ["sentiformer", "predict", "a great film", "zyzzyva zyzzyva", "das ist ein film"]
from sentiformer.cli import main
main()
import torch, sentiformer
assert torch.are_deterministic_algorithms_enabled()
assert sentiformer.load("data/model").predict("a great film").label == "positive"
assert not any(name.startswith(("torch._dynamo", "mlflow.", "spacy.cli")) for name in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=model.parents[1],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_package_is_one_line(mistake, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "sentiformer.tracking.registry", None)
    line = mistake("predict", "--model", "models:/sentiformer@champion", "a text")
    assert "is not installed; in the project's root, `make install` or `pip install" in line


def test_importing_the_package_is_instant():
    script = "import sys, sentiformer; print({'torch', 'spacy', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"
