"""A rebuilt result beside the committed one: stage by stage, file by file, metric by metric."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from sentiformer.verification.consistency import differing, shown
from sentiformer.verification.lock import LockedStage
from sentiformer.verification.record import OUTPUTS, Record

Result = Literal["equal", "within tolerance", "different", "left out"]
DESCRIPTIONS = {"environment.json", "config.json", "files.json", "report.html"}  # name a machine
DATA_STAGES = ("download", "tokenize", "build_vocab", "encoder")  # no floating-point numbers
VERSIONS = ("python", "pyarrow", "spacy", "numpy")  # which the bytes of their files depend on
# The largest difference between rebuilds on other processors, with other kernels and numbers of
# threads (docs/verify.md): a model that is half a point worse is outside. Few test texts have a
# larger spread: with n of them, at least SPREAD / sqrt(n).
TOLERANCES = {"accuracy": 0.004, "log_loss": 0.008, "calibration_error": 0.008}
SPREAD = 0.24


class StageRow(NamedTuple):
    """A stage: how its files compare, and why they differ."""

    stage: str
    result: Result
    reason: str


class MetricRow(NamedTuple):
    """A metric of `metrics.json`; `tolerance` is 0 if all files are equal."""

    name: str
    committed: float | None
    rebuilt: float | None
    tolerance: float

    @property
    def result(self) -> Result:
        """How the two values compare."""
        if self.committed == self.rebuilt:
            return "equal"
        values = (self.committed, self.rebuilt)
        if any(value is None or not math.isfinite(value) for value in values):
            return "different"
        is_within = abs(self.rebuilt - self.committed) <= self.tolerance  # type: ignore[operator]
        return "within tolerance" if is_within else "different"


def compare_stages(
    committed: Record, rebuilt: Record, locked: Mapping[str, LockedStage]
) -> list[StageRow]:
    """Compare the files of each stage; `locked` says which outputs a stage reads."""
    rows, differs = list[StageRow](), set[str]()
    for stage, outputs in OUTPUTS.items():
        if not all(path in rebuilt.files for path in outputs):
            rows.append(StageRow(stage, "left out", "not in the bundle"))
            continue
        files = {
            path: differing(committed.files.get(path, {}), rebuilt.files.get(path, {}))
            for path in outputs
        }
        changed = {path: names for path, names in files.items() if names}
        why = _environment(stage, committed, rebuilt)
        inputs = [path for path in locked[stage].deps if path in differs]
        rows.append(StageRow(stage, *_judge(stage, changed, why, inputs, committed, rebuilt)))
        if rows[-1].result != "equal":
            differs |= changed.keys()
    return rows


def _judge(
    stage: str,
    changed: Mapping[str, Sequence[str]],
    environment: str,
    inputs: Sequence[str],
    committed: Record,
    rebuilt: Record,
) -> tuple[Result, str]:
    """The result of a stage, and the reason why files differ."""
    if not changed:
        return "equal", ""
    files = "; ".join(shown(path, names) for path, names in changed.items())
    if stage == "download" and committed.texts != rebuilt.texts:
        return "different", f"{files}: other texts or labels"
    names = {name for names in changed.values() for name in names}
    if environment and names <= DESCRIPTIONS:
        return "equal", f"{files} names another environment: {environment}"
    if environment:
        return "within tolerance", f"{files}: {environment}"
    if inputs:
        return "within tolerance", f"{files}: its input {', '.join(inputs)} differs"
    return "different", f"{files}: from the same inputs, in the same environment"


def _environment(stage: str, committed: Record, rebuilt: Record) -> str:
    """What differs in the environment of a stage, as `name old → new; …`."""
    of = "train" if stage in (*DATA_STAGES, "report") else stage  # the report shows that of train
    before, after = (record.environments.get(of, {}) for record in (committed, rebuilt))
    names = VERSIONS if stage in DATA_STAGES else sorted({*before, *after})
    changed = [name for name in names if before.get(name) != after.get(name)]
    return "; ".join(
        f"{name} {before.get(name, 'none')} → {after.get(name, 'none')}" for name in changed
    )


def compare_metrics(
    committed: Mapping[str, float],
    rebuilt: Mapping[str, float],
    texts: Mapping[str, int],
    *,
    are_files_equal: bool,
) -> list[MetricRow]:
    """Compare the metrics.

    Args:
        committed: `metrics.json` of the commit.
        rebuilt: that of the rebuilt project.
        texts: the number of test texts of each source, and of the headline by the name `""`.
        are_files_equal: whether all stages wrote the same files; then the metrics must be equal.
    """
    rows = []
    for name in {**committed, **rebuilt}:
        source = next((source for source in texts if source and name.startswith(source)), "")
        least = SPREAD / math.sqrt(max(texts[source], 1))
        kind = next((kind for kind in TOLERANCES if name.endswith(kind)), "accuracy")
        tolerance = 0 if are_files_equal else max(TOLERANCES[kind], least)
        rows.append(MetricRow(name, committed.get(name), rebuilt.get(name), tolerance))
    return rows
