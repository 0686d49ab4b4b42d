"""Two models on the same test texts: what is compared, found and refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from sentiformer import UserError, cli
from sentiformer.core.files import write_json
from sentiformer.core.seal import seal
from sentiformer.evaluation.compare import compare
from sentiformer.evaluation.evaluated import Evaluated, evaluated
from sentiformer.evaluation.metrics import paired_difference


@pytest.fixture
def copy(data, tmp_path):
    ignored = shutil.ignore_patterns("tokens", "vocab", "word_vectors", "pretrained", "report")
    return shutil.copytree(data, tmp_path / "copy" / "data", ignore=ignored)


def change_predictions(data, change):
    """Change the table of the predictions."""
    path = data / "evaluation" / "predictions.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    seal(path.parent)


def with_other_answers(table, rows=slice(7)):
    """The table with the opposite answer to some texts."""
    chosen = table.index[rows]
    names = ["probability_negative", "probability_positive"]
    table.loc[chosen, names] = table.loc[chosen, names[::-1]].to_numpy(copy=True)
    opposite = {"negative": "positive", "positive": "negative"}
    table.loc[chosen, "predicted"] = table.loc[chosen, "predicted"].map(opposite)
    return table


def test_the_difference_is_that_of_the_answers_in_any_order_of_the_texts(data, copy):
    change_predictions(copy, lambda table: with_other_answers(table).sample(frac=1, random_state=0))
    found = compare(evaluated(str(data)), evaluated(str(copy)))
    ours = pd.read_parquet(data / "evaluation" / "predictions.parquet")
    right = (ours["predicted"] == ours["actual"]).to_numpy()
    other = right.copy()
    other[:7] = ~other[:7]
    assert found.difference == paired_difference(right, other)
    assert set(found.changed["text"]) == set(ours["text"][:7])
    own = json.loads((data / "evaluation" / "metrics.json").read_text())
    assert found.metrics[0].items() <= own.items()
    for row in found.changed.to_dict("records"):
        side = "a" if row["right"] == "A" else "b"
        assert row[f"{side}_predicted"] == row["actual"]
        assert row[f"{'ba'[side == 'b']}_predicted"] != row["actual"]


def test_a_model_and_itself_are_equally_accurate(data):
    found = compare(evaluated(str(data / "model")), evaluated(str(data)))
    assert found.difference["p_value"] == 1
    assert not len(found.changed)
    assert "are equally accurate" in found.verdict
    assert found.summary(10) == f"the same answers to all {found.texts:,} texts"
    assert found.lines(10)[-1].startswith("texts on which it alone is right")


def test_the_encoder_is_compared_as_its_folder_predicts(finetuned_data):
    sides = [evaluated(str(finetuned_data / name)) for name in ("model", "finetuned")]
    found = compare(*sides)
    models = finetuned_data / "evaluation" / "models"
    ensemble = json.loads((models / "ensemble.json").read_text())
    assert found.difference.items() <= ensemble.items()
    assert found.metrics[1]["accuracy"] == ensemble["accuracy"]
    assert found.metrics[1]["log_loss"] == pytest.approx(ensemble["log_loss"], abs=1e-5)


def test_a_transformer_with_the_n_gram_model_is_compared_as_the_mean(data, copy):
    made = shutil.copytree(copy / "model", copy / "made")
    shutil.copytree(copy / "baseline" / "ngrams", made / "ngrams")
    shutil.copytree(data / "evaluation", copy / "evaluation", dirs_exist_ok=True)
    ensemble = json.loads((copy / "evaluation" / "models" / "ensemble.json").read_text())
    found = compare(*(evaluated(str(copy / name)) for name in ("model", "made")))
    assert found.difference.items() <= ensemble.items()
    assert found.metrics[1]["log_loss"] == pytest.approx(ensemble["log_loss"], abs=1e-5)


def test_of_many_classes_only_the_accuracy_of_a_model_without_probabilities_is_known():
    table = pd.DataFrame({"text": list("abc"), "source": "x", "actual": ["one", "two", "six"]})
    table["predicted"], table["confidence"] = ["one", "two", "one"], 0.9
    found = compare(Evaluated("a", table), Evaluated("b", table.assign(predicted="six")))
    assert [metrics["accuracy"] for metrics in found.metrics] == [0.666667, 0.333333]
    assert "log_loss" not in found.metrics[0]
    assert any(line.startswith("accuracy, %") for line in found.lines(1))


def test_other_texts_and_other_labels_are_refused(data, copy):
    change_predictions(copy, lambda table: table.iloc[2:])
    texts = len(pd.read_parquet(data / "evaluation" / "predictions.parquet"))
    words = f"have other test texts \\({texts} and {texts - 2}, {texts - 2} of them in both\\)"
    with pytest.raises(UserError, match=words):
        compare(evaluated(str(data)), evaluated(str(copy)))
    shutil.copytree(data / "evaluation", copy / "evaluation", dirs_exist_ok=True)
    change_predictions(copy, lambda table: table.assign(actual="positive"))
    with pytest.raises(UserError, match=r"have other labels for \d+ of the test texts"):
        compare(evaluated(str(data)), evaluated(str(copy)))


def test_what_has_no_evaluation_is_named(copy, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds neither an evaluation .* nor a model; give"):
        evaluated(str(tmp_path / "empty"))
    lineage = copy / "evaluation" / "lineage.json"
    write_json(lineage, json.loads(lineage.read_text()) | {"model_sha256": "another"})
    with pytest.raises(UserError, match=r"lineage\.json is corrupt \(its SHA-256 is not that"):
        evaluated(str(copy / "model"))
    seal(copy / "evaluation")
    with pytest.raises(UserError, match=r"is not an evaluation of .*model; run `dvc repro`"):
        evaluated(str(copy / "model"))
    shutil.rmtree(copy / "evaluation")
    with pytest.raises(UserError, match=r"files\.json is missing; `dvc repro evaluate` makes"):
        evaluated(str(copy / "model"))


def test_the_command_prints_both_and_a_verdict(data, copy, capsys):
    table = pd.read_parquet(copy / "evaluation" / "predictions.parquet")
    right = table["predicted"] == table["actual"]
    change_predictions(copy, lambda table: with_other_answers(table, right))
    cli.main(["compare", str(data), str(copy), "--count", "3"])
    found = capsys.readouterr()
    lines = found.out.splitlines()
    assert lines[:2] == [f"A: {data}", f"B: {copy}"]
    assert sum(" is right (" in line for line in lines) == 3
    expected = rf"A \({data}\) is (not significantly )?better than B \({copy}\)( by |: )"
    assert re.match(expected, lines[-1])
    assert found.err.startswith(f"3 of {right.sum()} texts")
    cli.main(["compare", str(data), str(copy), "--count", "3", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert (result["changed_texts"], len(result["changed"])) == (right.sum(), 3)
    assert (result["only_a_right"], result["only_b_right"]) == (right.sum(), 0)
    assert result["verdict"] == lines[-1]


@pytest.fixture
def project(copy, monkeypatch):
    """A project with the evaluation of a commit in DVC's cache, and another in the folder."""
    folder = copy.parent
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(folder)
    (folder / ".dvc").mkdir()
    shutil.copyfile(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    for person in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{person}_NAME", "test")
        monkeypatch.setenv(f"GIT_{person}_EMAIL", "test@localhost")
    for command in (
        "git init -q -b main",
        "dvc add -q data/evaluation",
        "git add -A",
        "git commit -qm first",
        "git tag first",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    change_predictions(copy, with_other_answers)
    return folder


@pytest.mark.slow
def test_a_git_revision_is_read_from_the_cache_of_dvc_alone(project):
    found = compare(evaluated("first"), evaluated("data"))
    assert len(found.changed) == 7
    with pytest.raises(UserError, match=r"nonsense is neither a folder nor a Git .* run `make`"):
        evaluated("nonsense")
    remote = "\n[core]\n    remote = far\n['remote \"far\"']\n    url = http://127.0.0.1:9/x\n"
    (project / ".dvc" / "config.local").write_text(remote)
    shutil.rmtree(project / ".dvc" / "cache")
    with pytest.raises(UserError, match=r"first: DVC's cache has no data/evaluation/pred") as error:
        evaluated("first")
    assert "\n" not in str(error.value)
