"""Rebuilt metrics are compared with the committed ones, and every difference is named."""

import json

import pytest

from sentiformer.core.errors import UserError
from sentiformer.evaluation.verify import verify


@pytest.fixture
def verified(tmp_path):
    """Writes rebuilt and expected metrics, and compares them."""

    def run(rebuilt, value=0.88, tolerance=0.01):
        stated = {"metrics": {"accuracy": value}, "tolerance": {"accuracy": tolerance}}
        (tmp_path / "metrics.json").write_text(json.dumps({"accuracy": rebuilt, "f1": 0.1}))
        (tmp_path / "expected.json").write_text(json.dumps(stated))
        return verify(tmp_path / "metrics.json", tmp_path / "expected.json")

    return run


@pytest.mark.parametrize("rebuilt", [0.88, 0.87, 0.89, 0.8701])
def test_metrics_inside_the_tolerance_are_verified(verified, rebuilt):
    assert verified(rebuilt).startswith(f"verified: accuracy {rebuilt:.4f}, within the tolerance")


@pytest.mark.parametrize("rebuilt", [0.8699, 0.8901, 0.0, float("nan")])
def test_metric_outside_the_tolerance_is_named_with_both_values(verified, rebuilt):
    with pytest.raises(UserError, match=rf"accuracy is {rebuilt}, expected 0\.88 ± 0\.01"):
        verified(rebuilt)


def test_tolerance_of_zero_requires_equal_metrics(verified):
    assert verified(0.88, tolerance=0)
    with pytest.raises(UserError, match="expected"):
        verified(0.880001, tolerance=0)


def test_missing_metric_is_named(tmp_path, verified):
    verified(0.88)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"metrics\.json is corrupt \(it lacks 'accuracy'\)"):
        verify(tmp_path / "metrics.json", tmp_path / "expected.json")


NONE_EXPECTED = '{"metrics": {}, "tolerance": {}}'


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", '{"metrics": {"accuracy": 1}}', NONE_EXPECTED]
)
def test_unreadable_expected_metrics_are_one_line_with_the_fix(tmp_path, verified, content):
    verified(0.88)
    (tmp_path / "expected.json").unlink()
    if content is not None:
        (tmp_path / "expected.json").write_text(content)
    line = r"expected\.json holds no expected metrics; .*git checkout"
    with pytest.raises(UserError, match=line):
        verify(tmp_path / "metrics.json", tmp_path / "expected.json")
