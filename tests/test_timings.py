"""Times are found by the content that they belong to, and by nothing else."""

import pytest

from sentiformer.core import timings
from sentiformer.core.errors import UserError
from sentiformer.core.files import sha256
from sentiformer.core.timings import keep_seconds, kept_seconds


@pytest.fixture
def result(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    (tmp_path / "project").mkdir()
    path = tmp_path / "result.json"
    path.write_text("1")
    return path


def test_seconds_are_found_by_stage_and_content(result):
    keep_seconds("train", result, {"transformer": 12.3456})
    first = sha256(result)
    assert kept_seconds("train", first) == {"transformer": 12.35}
    assert kept_seconds("baseline", first) == {}
    result.write_text("2")
    assert kept_seconds("train", sha256(result)) == {}
    keep_seconds("train", result, {"transformer": 2.0})
    assert kept_seconds("train", first) == {"transformer": 12.35}, "each content has its own"


def test_seconds_of_the_last_time_stand(result):
    for seconds in (3.0, 1.5):
        keep_seconds("train", result, {"transformer": seconds})
    assert kept_seconds("train", sha256(result)) == {"transformer": 1.5}
    (kept,) = (result.parent / "project" / timings.FOLDER).iterdir()
    assert kept.name == f"train-{sha256(result)[:16]}.json", "and nothing half-written"


def test_a_stage_that_fitted_nothing_keeps_no_time_and_needs_no_file(result):
    keep_seconds("word_vectors", result.with_name("missing"), {})
    assert not (result.parent / "project" / timings.FOLDER).exists()


def test_what_is_no_json_is_one_line(result):
    keep_seconds("train", result, {"transformer": 1.0})
    (kept,) = (result.parent / "project" / timings.FOLDER).iterdir()
    kept.write_text("{")
    with pytest.raises(UserError, match=r"train-\w+\.json is corrupt .*dvc repro --force train"):
        kept_seconds("train", sha256(result))
