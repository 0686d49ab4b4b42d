"""The rules of `params.yaml` and of the environment; each mistake is one line."""

import math
import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, tiny_params
from dvc.utils.serialize import load_yaml, modify_yaml
from joblib import cpu_count
from pydantic import BaseModel

from sentiformer.core.errors import UserError
from sentiformer.core.params import parse
from sentiformer.core.runtime import Runtime, load_runtime
from sentiformer.data.params import number_of_folds
from sentiformer.model.params import ModelParams
from sentiformer.params import Params, load_params, use_files

COMMITTED = (ROOT / "params.yaml").read_text(encoding="utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    name: field.annotation for name, field in Params.model_fields.items()
}
KEYS = [(section, key) for section, kind in SECTIONS.items() for key in kind.model_fields]
NULLABLE = [
    (section, key) for section, key in KEYS if yaml.safe_load(COMMITTED)[section][key] is None
]
MAY_BE_ZERO = {
    "seed",
    "word_vectors.window",
    "word_vectors.pairs",
    "word_vectors.triples",
    "pretrain.epochs",
    "finetune.frozen",
    "fold",
}


def keys_of(kind: type) -> list[tuple[str, str]]:
    return [(s, k) for s, k in KEYS if SECTIONS[s].model_fields[k].annotation is kind]


SIZES = [
    (section, key) for section, key in keys_of(int) if not {key, f"{section}.{key}"} & MAY_BE_ZERO
]


@pytest.fixture
def message(tmp_path):
    """Return the error for the contents of a `params.yaml`."""

    def read(content: str | bytes) -> str:
        path = tmp_path / "params.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError) as caught:
            load_params(path)
        text = str(caught.value)
        assert text.startswith(f"{path}"), "it names the file"
        assert "\n" not in text, "it is one line"
        return text

    return read


def changed(section: str, key: str, value: object) -> str:
    values = yaml.safe_load(COMMITTED)
    values[section][key] = value
    return yaml.safe_dump(values)


def test_the_committed_parameters_are_valid():
    params = load_params(ROOT / "params.yaml")
    assert params.model_dump() == yaml.safe_load(COMMITTED)


def test_every_committed_key_has_a_comment():
    lines = [line for line in COMMITTED.splitlines() if line.startswith("  ")]
    assert len(lines) == len(KEYS)
    for line in lines:
        assert re.fullmatch(r"  \w+: \S+ +# \S.*", line), line


def test_parameters_are_immutable():
    with pytest.raises(ValueError, match="frozen"):
        tiny_params().train.epochs = 3


def test_a_misspelled_key_gets_the_name_of_the_missing_one(message):
    text = message(COMMITTED.replace("d_model:", "d_modle:"))
    assert "model.d_modle is not a known key; did you mean d_model?" in text
    assert "model.d_model is missing; add it" in text
    text = message(COMMITTED.replace("\nmodel:", "\nmodle:"))
    assert "modle is not a known key; did you mean model?" in text


@pytest.mark.parametrize("key", ["xyzzy", "learning_rates", "epoch", "soup_size"])
def test_an_unknown_key_besides_all_known_ones_should_be_removed(message, key):
    text = message(changed("train", key, 1))
    assert text.endswith(f"params.yaml: train.{key} is not a known key; remove it")


@pytest.mark.parametrize("section", ["xyzzy: 1", "trains: {}", "modle: {soup: 1}"])
def test_an_unknown_section_should_be_removed(message, section):
    name, _ = section.split(":", 1)
    assert message(f"{COMMITTED}{section}\n").endswith(
        f"params.yaml: {name} is not a known key; remove it"
    )


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_required(message, section):
    values = yaml.safe_load(COMMITTED)
    del values[section]
    assert message(yaml.safe_dump(values)).endswith(f": {section} is missing; add it")


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_key_is_required(message, section, key):
    values = yaml.safe_load(COMMITTED)
    del values[section][key]
    assert message(yaml.safe_dump(values)).endswith(f": {section}.{key} is missing; add it")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (section, key, value)
        for (section, key), value in product(KEYS, [None, [1], {"a": 1}, True])
        if not (value is None and (section, key) in NULLABLE)
        if not (value == [1] and key == "labels")
        if not (value is True and (section, key) in keys_of(bool))
    ],
)
def test_a_value_of_a_wrong_type_is_refused(message, section, key, value):
    assert f"{section}.{key} is {value!r}: input should be" in message(changed(section, key, value))


@pytest.mark.parametrize(("section", "key"), keys_of(int))
@pytest.mark.parametrize("value", ["12", 1.0, 1.5, -1])
def test_a_whole_number_is_not_text_a_fraction_or_negative(message, section, key, value):
    assert f"{section}.{key} is {value!r}: input should be" in message(changed(section, key, value))


@pytest.mark.parametrize(("section", "key"), SIZES)
@pytest.mark.parametrize("value", [0, 2**31, 10**30])
def test_a_size_is_above_zero_and_below_two_billion(message, section, key, value):
    text = message(changed(section, key, value))
    assert f"{section}.{key} is {value}: input should be {'less' if value else 'greater'}" in text


@pytest.mark.parametrize(("section", "key"), keys_of(float))
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -0.5])
def test_a_number_is_finite_and_not_negative(message, section, key, value):
    assert f"{section}.{key} is {value}: input should be" in message(changed(section, key, value))


@pytest.mark.parametrize("written", ["1e-3", "1.0e-3", "0.001", "1E-03"])
def test_numbers_are_read_as_dvc_reads_and_writes_them(tmp_path, written):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"(?<=  learning_rate: )\S+", written, COMMITTED))
    assert load_params(path).train.learning_rate == 0.001
    with modify_yaml(str(path)) as values:  # as `dvc exp run -S` does
        values["train"]["learning_rate"] = 0.00001
    assert "learning_rate: 1e-05" in path.read_text(), "or this test says nothing"
    assert load_params(path).train.learning_rate == 0.00001


@pytest.mark.parametrize(("section", "key"), keys_of(float))
def test_an_exponent_needs_no_dot(tmp_path, section, key):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(rf"(?<=  {key}: )\S+", "1e-3", COMMITTED))
    assert getattr(getattr(load_params(path), section), key) == 0.001


@pytest.mark.parametrize(("written", "meant"), [("010", 10), ("0o10", 8), ("1_0", 10)])
def test_whole_numbers_are_those_that_dvc_records(tmp_path, written, meant):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"(?<=  patience: )\S+", written, COMMITTED))
    assert load_params(path).train.patience == meant == load_yaml(str(path))["train"]["patience"]


def test_the_word_no_is_text_and_not_a_boolean(tmp_path):
    path = tmp_path / "params.yaml"
    text = re.sub(r"(?<=  language: )\S+", "no", COMMITTED)
    path.write_text(re.sub(r"(?<=  labels: )\S+", "[no, yes]", text))
    params = load_params(path)
    assert (params.tokenize.language, params.download.labels) == ("no", ["no", "yes"])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"source": "files"}, "source is 'files' and train is null; give train a path, a glob or"),
        ({"text_column": "label"}, "text_column and label_column are both 'label'; name two"),
        ({"labels": ["a", "b", "a"]}, "labels ['a', 'b', 'a'] name a label twice; name each once"),
        (
            {"labels": ["a"]},
            "download.labels is ['a']: input should be a list of two or more names",
        ),
        ({"labels": ["a", " "]}, "download.labels is ['a', ' ']: input should be a list of two or"),
        ({"labels": ["a", "a\u200b"]}, "name a label twice; name each once"),
        ({"labels": ["a", 1]}, "download.labels.1 is 1: input should be a valid string"),
        ({"test": ""}, "download.test is '': string should have at least 1 character"),
        ({"hub_revision": ""}, "download.hub_revision is '': string should have at least 1"),
        (
            {"hub_dataset": "a b/c"},
            "download.hub_dataset is 'a b/c': input should be owner/name or",
        ),
    ],
)
def test_contradictions_in_the_source_are_refused(message, changes, problem):
    values = yaml.safe_load(COMMITTED)
    values["download"] |= changes
    assert problem in message(yaml.safe_dump(values))


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("model", "dropout"),
        ("model", "token_dropout"),
        ("train", "word_dropout"),
    ],
)
def test_a_probability_may_be_zero_but_not_one(message, section, key):
    assert parse(SECTIONS[section], yaml.safe_load(changed(section, key, 0))[section], where="")
    assert f"{section}.{key} is 1.0: input should be less than 1" in message(
        changed(section, key, 1.0)
    )


@pytest.mark.parametrize(
    ("section", "key", "value", "fix"),
    [
        *(("download", "held_out", value, "input should be greater than 0") for value in (0, 0.0)),
        *(("download", "held_out", value, "input should be less than 0.5") for value in (0.5, 1)),
        ("download", "fold", -1, "input should be greater than or equal to 0"),
        *(("build_vocab", "max_size", size, "input should be greater than 2") for size in range(3)),
        ("train", "learning_rate", 0.0, "input should be greater than 0"),
        ("finetune", "learning_rate", 0.0, "input should be greater than 0"),
        ("train", "learning_rate", 1e300, "input should be less than or equal to 1"),
        ("finetune", "learning_rate", 1.5, "input should be less than or equal to 1"),
        ("train", "batch_size", 10**9, "input should be less than or equal to 65536"),
        ("train", "epochs", 10**9, "input should be less than or equal to 10000"),
        ("pretrain", "epochs", 10**9, "input should be less than or equal to 10000"),
        ("model", "max_len", 1, "input should be greater than or equal to 8"),
        ("model", "max_len", 10**9, "input should be less than or equal to 65536"),
        ("model", "d_model", 10**9, "input should be less than or equal to 16384"),
        ("download", "source", "sgdw", "input should be 'bundled'"),
        ("train", "optimizer", "sgdw", "input should be 'adam'"),
        ("train", "precision", "sgdw", "input should be 'auto'"),
        ("tokenize", "language", "", "string should have at least 2 characters"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_what_is(message, section, key, value, fix):
    assert f"{section}.{key} is {value!r}: {fix}" in message(changed(section, key, value))


def test_a_fold_is_one_of_those_that_the_held_out_share_makes(message):
    assert (
        "download: fold is 10, but held_out 0.1 makes 10 folds; give fold a number from 0 to 9"
        in (message(changed("download", "fold", 10)))
    )
    assert number_of_folds(1e-320) == 2**64, "a tiny share is no error"


def test_a_teacher_with_an_encoder_needs_one(message):
    for teacher in ("encoder", "ensemble"):
        text = message(changed("teach", "by", teacher))
        assert text.endswith(
            f"teach.by is {teacher}, but encoder.name is null; name an encoder, or set teach.by to "
            "nb_trigrams or null"
        )


def test_heads_must_divide_the_model(message):
    text = message(changed("model", "num_heads", 3))
    assert text.endswith(
        "model: d_model 128 is not divisible by num_heads 3; change one of the two"
    )


def test_the_model_must_have_an_even_width():
    values = tiny_params().model.model_dump() | {"d_model": 15, "num_heads": 3}
    with pytest.raises(UserError, match=r"^model: d_model 15 is odd; .*choose an even number"):
        parse(ModelParams, values, where="model")


def test_a_list_in_place_of_all_parameters_is_refused():
    with pytest.raises(
        UserError, match=r"^config.json: it is \[1\]: it should hold keys with values$"
    ):
        parse(ModelParams, [1], where="config.json")


def test_a_number_in_place_of_a_section_is_refused(message):
    values = yaml.safe_load(COMMITTED) | {"train": 3, "model": None}
    text = message(yaml.safe_dump(values))
    assert "train is 3: it should hold keys with values" in text
    assert "model is None: it should hold keys with values" in text


def test_all_problems_are_reported_at_once(message):
    values = yaml.safe_load(COMMITTED)
    values["train"] |= {"epochs": 0, "optimiser": "adam"}
    values["model"]["num_heads"] = 3
    del values["teach"]
    text = message(yaml.safe_dump(values))
    for problem in ("train.epochs is 0", "train.optimiser", "num_heads 3", "teach is missing"):
        assert problem in text
    assert text.count("; ") >= 3


def test_a_missing_file_says_where_to_run():
    with pytest.raises(UserError, match=r"^nowhere/params.yaml is missing; run from the project's"):
        load_params(Path("nowhere/params.yaml"))


@pytest.mark.parametrize(
    "content",
    [
        "train: [1",
        "a:\tb\n",
        "a: !!python/object:os.system x",
        "a: 2020-13-45",
        "[" * 1000,
        "a: !!int ''",
        "a: !!float ''",
        "a: !!bool maybe",
        "a: !!timestamp x",
    ],
)
def test_invalid_yaml_is_refused(message, content):
    text = message(content)
    assert "is not valid YAML: " in text
    assert text.endswith("; correct it")


@pytest.mark.parametrize("content", [b"\xff: 1\n", COMMITTED.encode("utf-16")])
def test_another_encoding_is_named_with_its_fix(message, content):
    assert message(content).endswith(
        "params.yaml is not UTF-8; convert it, for instance with `iconv -f ENCODING -t utf-8`"
    )


def test_a_duplicate_key_is_refused_with_its_line(message):
    assert message("a: 1\na: 2\n").endswith(
        'line 2: found duplicate key "a" with value "2" (original value: "1"); correct it'
    )


@pytest.mark.parametrize(("content", "held"), [("", "None"), ("- 1", r"[1]"), ("text", "'text'")])
def test_yaml_without_sections_is_refused(message, content, held):
    assert message(content).endswith(f" is {held}: it should hold sections such as `model:`")


def test_a_value_that_is_huge_or_holds_others_many_times_is_shortened(message):
    laughs = [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    for content in ("\n".join(["- &a0 [x]", *laughs]), f"train: 0x{'f' * 9999}"):
        assert len(message(content)) < 5000


def test_a_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(COMMITTED, encoding="utf-8-sig")
    assert load_params(path) == load_params(ROOT / "params.yaml")


@pytest.fixture
def environment(monkeypatch):
    """Set some `SENTIFORMER_*` variables and delete the others."""

    def put(**values: str) -> None:
        for field in Runtime.model_fields:
            monkeypatch.delenv(f"SENTIFORMER_{field.upper()}", raising=False)
        for name, value in values.items():
            monkeypatch.setenv(f"SENTIFORMER_{name}", value)

    return put


def test_an_empty_environment_gives_all_cores_and_any_device(environment):
    expected = Runtime(threads=cpu_count(), device="auto", checkpoint_seconds=15)
    environment()
    assert load_runtime() == expected
    environment(THREADS="", DEVICE="", CHECKPOINT_SECONDS="")
    assert load_runtime() == expected


@pytest.mark.parametrize(
    ("cores", "processes", "threads"), [(2, 2, 1), (4, 2, 2), (4, 4, 1), (3, 2, 1), (1, 2, 1)]
)
def test_the_processes_of_torchrun_share_the_cores(
    environment, monkeypatch, cores, processes, threads
):
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    environment()
    assert load_runtime().threads == threads
    environment(THREADS="7")
    assert load_runtime().threads == 7, "the variable sets the threads of each process"


def test_the_environment_sets_the_values(environment):
    environment(THREADS="3", DEVICE="cpu", CHECKPOINT_SECONDS="0.5")
    assert load_runtime() == Runtime(threads=3, device="cpu", checkpoint_seconds=0.5)


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("THREADS", "many", "give a whole number"),
        ("THREADS", "1025", "input should be less than or equal to 1024"),
        ("THREADS", "0", "input should be greater than 0"),
        ("THREADS", "-1", "input should be greater than 0"),
        ("THREADS", "1.5", "give a whole number"),
        ("DEVICE", "tpu", "input should be 'auto', 'cpu' or 'cuda'"),
        ("CHECKPOINT_SECONDS", "-1", "input should be greater than or equal to 0"),
        ("CHECKPOINT_SECONDS", "nan", "input should be greater than or equal to 0"),
        ("CHECKPOINT_SECONDS", "soon", "give a number"),
    ],
)
def test_a_bad_variable_is_named_with_its_value(environment, variable, value, fix):
    environment(**{variable: value})
    with pytest.raises(UserError) as caught:
        load_runtime()
    start = f"environment: SENTIFORMER_{variable} is {value!r}"
    assert str(caught.value).startswith((f"{start}: {fix}", f"{start}; {fix}"))


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("THREAD", "THREADS"),
        ("DEVISE", "DEVICE"),
        ("PRECISON", "PRECISION"),
    ],
)
def test_a_misspelled_variable_gets_the_similar_name(environment, monkeypatch, slip, meant):
    environment()
    monkeypatch.setenv(f"SENTIFORMER_{slip}", "2")
    fix = f"SENTIFORMER_{slip} is not a known variable; did you mean SENTIFORMER_{meant}?"
    with pytest.raises(UserError, match=f"^environment: {re.escape(fix)}$"):
        load_runtime()


def test_variables_of_a_kubernetes_service_with_our_name_are_ignored(environment, monkeypatch):
    environment(THREADS="1")
    for name in ("SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_80_TCP", "PORT_80_TCP_PROTO"):
        monkeypatch.setenv(f"SENTIFORMER_{name}", "tcp://10.0.0.1:80")
    assert load_runtime().threads == 1


@pytest.mark.parametrize("path", sorted((ROOT / "setups").iterdir()), ids=lambda path: path.name)
def test_every_setup_changes_known_keys_to_valid_values(path):
    values = yaml.safe_load(COMMITTED)
    for line in path.read_text(encoding="utf-8").splitlines():
        name, value = line.split("=", 1)
        section, key = name.split(".")
        assert values[section][key] != yaml.safe_load(value), f"{name} is the default"
        values[section][key] = yaml.safe_load(value)
    Params.model_validate(values)


def test_quotes_that_are_missing_or_too_many_are_named(message):
    text = message(changed("train", "learning_rate", "0.5"))
    assert "train.learning_rate is '0.5': input should be a valid number, without quotes" in text
    text = message(changed("download", "label_column", 3))
    assert "download.label_column is 3: input should be a valid string, in quotes" in text


@pytest.fixture
def committed(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(COMMITTED, encoding="utf-8")
    return path


def changed_lines(path: Path) -> list[str]:
    after = path.read_text(encoding="utf-8").splitlines()
    return [new for old, new in zip(COMMITTED.splitlines(), after, strict=True) if new != old]


def test_a_file_becomes_the_source_and_nothing_else_changes(committed, tmp_path):
    file = tmp_path / "a b, 'c'.csv"
    file.write_text("the text: x,label\na,b\n")
    use_files(file, text="the text: x", label=None, language="de", path=committed)
    params = load_params(committed)
    assert (params.download.source, params.download.train) == ("files", str(file))
    assert (params.download.text_column, params.download.label_column) == ("the text: x", "label")
    assert params.tokenize.language == "de"
    assert len(changed_lines(committed)) == 4, "comments and other keys stay"


def test_another_file_forgets_what_belonged_to_the_earlier_one(committed, tmp_path):
    with modify_yaml(committed) as values:
        old = {"test": "a", "validation": "b", "unlabeled": "c", "labels": ["x", "y"]}
        values["download"] |= old | {"text_column": "body"}
    (tmp_path / "train.csv").write_text("review,stars\na,b\n")
    use_files(tmp_path, text=None, label=None, language=None, path=committed)
    params = load_params(committed).download
    assert [getattr(params, key) for key in old] == [None] * 4
    assert params.text_column == "text"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("none.csv", "text", r"none\.csv does not exist; give the path of a file or a folder"),
        (".", "label", "text_column and label_column are both 'label'"),
        ("r.csv", "revue", r"no column 'revue'; did you mean 'review'\? --text \(TEXT of make own"),
        ("r.csv", "review", r"no column 'label'; --label \(LABEL of make own\) takes one of: rev"),
        ("a.xlsx", "text", r"a\.xlsx is a spreadsheet; save it as CSV"),
        ("folder", "text", "no file of that folder is named after train"),
    ],
)
def test_a_wrong_file_or_column_changes_nothing(committed, tmp_path, file, text, message):
    (tmp_path / "r.csv").write_text("review,a,b\nx,y,z\n")
    (tmp_path / "a.xlsx").touch()
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        use_files(tmp_path / file, text=text, label=None, language=None, path=committed)
    assert changed_lines(committed) == []
    assert sorted(tmp_path.iterdir()) == before
