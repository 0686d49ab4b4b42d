"""Proof that a result is real: the commit agrees with itself, and a rebuild gives what it says."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sentiformer.console.output import say
from sentiformer.console.progress import Bar
from sentiformer.core.errors import UserError, listed
from sentiformer.core.files import read_csv, read_json
from sentiformer.experiments.dvc import ExperimentError
from sentiformer.verification.bundle import open_bundle
from sentiformer.verification.checkout import (
    changed_files,
    clone_of_commit,
    commit_of,
    has_commit,
    link_sources,
    pull,
    rebuild,
    set_up_dvc,
)
from sentiformer.verification.comparison import (
    MetricRow,
    StageRow,
    compare_metrics,
    compare_stages,
)
from sentiformer.verification.consistency import (
    Contradiction,
    contradictions,
    differing_outputs,
    differing_sources,
)
from sentiformer.verification.lock import read_lock
from sentiformer.verification.record import OUTPUTS, make_record, read_record

RESULT = "verify.json"
RUNNING = "Running stage '"


class Verification(NamedTuple):
    """What was found.

    Attributes:
        of: the commit or the bundle.
        wrong: what contradicts the commit, without a rebuild.
        stages: how the rebuilt files compare; empty without a rebuild.
        metrics: how the rebuilt metrics compare.
        pulled: the stages whose outputs came from a remote.
    """

    of: str
    wrong: Sequence[Contradiction]
    stages: Sequence[StageRow] = ()
    metrics: Sequence[MetricRow] = ()
    pulled: Sequence[str] = ()

    @property
    def holds(self) -> bool:
        """Whether the result is what the commit says."""
        results = {row.result for row in self.stages} | {row.result for row in self.metrics}
        return not self.wrong and "different" not in results

    @property
    def advice(self) -> str:
        """Where the first difference is, and what to do."""
        stages = [row.stage for row in self.wrong]
        stages += [row.stage for row in self.stages if row.result == "different"]
        first = min(stages or ["evaluate"], key=lambda name: [*OUTPUTS, "record", name].index(name))
        return (
            f"the first difference is at stage {first}; `dvc repro` makes files and commit agree, "
            "if the change is meant"
        )

    @property
    def summary(self) -> str:
        """One line on a result that holds."""
        results = [row.result for row in self.stages]
        return f"{self.of}: {results.count('equal')} of {len(results)} stages equal" + (
            ", the others and all metrics within the tolerances"
            if "within tolerance" in results
            else ", all metrics equal"
        )

    def as_dict(self) -> dict[str, Any]:
        """The content of `verify.json`."""
        return {
            "verified": self.holds,
            "of": self.of,
            "contradictions": [row._asdict() for row in self.wrong],
            "pulled": [*self.pulled],
            "stages": [row._asdict() for row in self.stages],
            "metrics": [{**row._asdict(), "result": row.result} for row in self.metrics],
        }

    def lines(self) -> Iterator[str]:
        """The table for a terminal."""
        for stage, what in self.wrong:
            yield f"{stage:<13} different         {what}"
        for row in self.stages:
            reason = row.reason or ("from the remote" if row.stage in self.pulled else "")
            yield f"{row.stage:<13} {row.result:<17} {reason}".rstrip()
        for metric in self.metrics:
            values = f"{_number(metric.rebuilt)}, committed {_number(metric.committed)}"
            within = f" ± {metric.tolerance:.4f}" if metric.tolerance else ""
            yield f"{metric.name:<22} {metric.result:<17} {values}{within}"


def verify(bundle: Path | None, *, here: bool, from_remote: bool) -> Verification:
    """Verify the last commit of the project in the working directory, or a bundle.

    With `here`, the outputs in the folder are compared with the commit, and nothing is rebuilt.

    Raises:
        UserError: there is nothing to verify, the bundle is damaged, or a stage fails.
    """
    project = Path()
    if bundle:
        with unpacked(bundle) as copy:
            if here:
                return verify_folder(copy, copy, str(bundle))
            set_up_dvc(copy, copy)
            return verify_rebuild(copy, str(bundle), from_remote=from_remote)
    if here and not has_commit(project):
        return verify_folder(project, project, "this folder")
    with clone_of_commit(project) as copy:
        of = f"commit {commit_of(copy)}"
        if here:
            return verify_folder(project, copy, of)
        if changed := changed_files(project):
            say(f"note: {listed(changed)} changed since this commit, and take no part")
        set_up_dvc(copy, project)
        link_sources(copy, project)
        return verify_rebuild(copy, of, from_remote=from_remote)


@contextmanager
def unpacked(bundle: Path) -> Iterator[Path]:
    """The files of a bundle in a temporary folder, until the block ends."""
    with TemporaryDirectory(prefix="sentiformer-") as temporary:
        copy = Path(temporary).resolve() / "bundle"
        open_bundle(bundle, copy)
        yield copy


def verify_folder(project: Path, commit: Path, of: str) -> Verification:
    """Compare the files of a project with each other, and its outputs with a commit's files.

    Raises:
        UserError: a file of the commit is missing or damaged.
    """
    wrong = [*contradictions(commit)]
    if project != commit:
        wrong += [found for found in contradictions(project) if found not in wrong]
    wrong += differing_outputs(project)
    if wrong:
        return Verification(of, wrong)
    stages = compare_stages(read_record(commit), make_record(project), read_lock(commit))
    return Verification(of, [], stages, _compare_metrics(_metrics(commit), project, stages))


def verify_rebuild(copy: Path, of: str, *, from_remote: bool) -> Verification:
    """Rebuild the copy of a commit, and compare the result with what the commit says.

    If the commit contradicts itself, it is not rebuilt.

    Raises:
        UserError: a stage or DVC fails, or a file of the commit is missing or damaged.
    """
    if wrong := [*contradictions(copy)]:
        return Verification(of, wrong)
    locked, committed, metrics = read_lock(copy), read_record(copy), _metrics(copy)
    pulled = _pull(copy) if from_remote else []
    if wrong := [row for row in differing_outputs(copy) if row.stage in pulled]:
        return Verification(of, wrong, pulled=pulled)
    _rebuild(copy, len(OUTPUTS) + 1 - len(pulled))
    wrong = [*differing_sources(copy, locked["download"])]
    stages = compare_stages(committed, make_record(copy), locked)
    return Verification(of, wrong, stages, _compare_metrics(metrics, copy, stages), pulled)


def _compare_metrics(
    committed: Mapping[str, float], rebuilt: Path, stages: Sequence[StageRow]
) -> list[MetricRow]:
    are_equal = all(row.result == "equal" for row in stages)
    texts = _test_texts(rebuilt)
    return compare_metrics(committed, _metrics(rebuilt), texts, are_files_equal=are_equal)


def _metrics(project: Path) -> dict[str, float]:
    return dict(read_json(project / "metrics.json", made_by="evaluate"))


def _pull(copy: Path) -> list[str]:
    """Get what the remote has; the stages all of whose outputs it had."""
    with Bar("pull", total=len(OUTPUTS)) as bar:
        stages = pull(copy, OUTPUTS, bar)
    rest = [stage for stage in OUTPUTS if stage not in stages]
    say(
        f"the remote has the outputs of {len(stages)} of {len(OUTPUTS)} stages"
        + (f"; rebuilt are {', '.join(rest)}" if rest else "")
    )
    return stages


def _rebuild(copy: Path, stages: int) -> None:
    stage = ""
    with Bar("rebuild, stages", total=stages) as bar:

        def show(line: str) -> None:
            nonlocal stage
            if is_new := line.startswith(RUNNING):
                stage = line.removeprefix(RUNNING).rstrip("':")
            bar.advance(int(is_new), stage)

        try:
            rebuild(copy, show)
        except ExperimentError as error:
            where = f"stage {error.stage}" if error.stage else "DVC"
            raise UserError(f"the rebuild fails, {where}: {error}") from None


def _test_texts(copy: Path) -> dict[str, int]:
    """The number of test texts of each source, and of the headline by the name `""`."""
    folder = copy / "data" / "evaluation"
    rows = read_csv(folder / "by_source.csv", made_by="evaluate")
    headline = read_json(folder / "metrics.json", made_by="evaluate")["texts"]
    return {row["source"]: int(row["texts"]) for row in rows} | {"": headline}


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
