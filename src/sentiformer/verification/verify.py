"""Proof that a result is real: the commit agrees with itself, and a rebuild gives what it says."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sentiformer.console.output import say
from sentiformer.console.progress import Bar
from sentiformer.core.environment import settings
from sentiformer.core.errors import UserError, listed
from sentiformer.core.files import read_csv, read_json
from sentiformer.experiments.dvc import RUNNING, ExperimentError
from sentiformer.params import load_params
from sentiformer.verification.checkout import (
    changed_files,
    clone_of_commit,
    commit_of,
    has_commit,
    has_sources,
    link_sources,
    pull,
    rebuild,
    remove_outputs,
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
from sentiformer.verification.metrics import differing_metrics, read_metrics
from sentiformer.verification.record import OUTPUTS, make_record, output_files, read_record
from sentiformer.verification.unbundle import open_bundle

RESULT = "verify.json"
EVALUATION = "data/evaluation"
CODE = ("src/", "pipeline/")


class Verification(NamedTuple):
    """What was found.

    Attributes:
        of: the commit or the bundle.
        wrong: what contradicts the commit, without a rebuild.
        stages: how the rebuilt files compare; empty without a rebuild.
        metrics: how the rebuilt metrics compare.
        taken: the stages whose outputs came from a remote or a bundle.
    """

    of: str
    wrong: Sequence[Contradiction]
    stages: Sequence[StageRow] = ()
    metrics: Sequence[MetricRow] = ()
    taken: Sequence[str] = ()

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
            if self.metrics
            else ", no metric compared"
        )

    def as_dict(self) -> dict[str, Any]:
        """The content of `verify.json`."""
        return {
            "verified": self.holds,
            "of": self.of,
            "contradictions": [row._asdict() for row in self.wrong],
            "taken": [*self.taken],
            "stages": [row._asdict() for row in self.stages],
            "metrics": [{**row._asdict(), "result": row.result} for row in self.metrics],
        }

    def lines(self) -> Iterator[str]:
        """The table for a terminal."""
        for stage, what in self.wrong:
            yield f"{stage:<13} different         {what}"
        for row in self.stages:
            reason = row.reason or ("not rebuilt" if row.stage in self.taken else "")
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
    if chosen := settings():
        say(f"note: {chosen} selects other kernels, which may change the bits of results")
    if bundle:
        with TemporaryDirectory(prefix="sentiformer-") as temporary:
            copy = Path(temporary).resolve() / "bundle"
            open_bundle(bundle, copy)
            return _verify_bundle(copy, str(bundle), here=here, from_remote=from_remote)
    if here and not has_commit(project):
        return verify_folder(project, project, "this folder")
    with clone_of_commit(project) as copy:
        of = f"commit {commit_of(copy)}"
        if here:
            load_params(project / "params.yaml")  # its errors are clear
            found = verify_folder(project, copy, of)
            code = [name for name in changed_files(project) if name.startswith(CODE)]
            wrong = [Contradiction("code", f"{name} differs from the commit") for name in code]
            return found._replace(wrong=[*found.wrong, *wrong])
        if changed := changed_files(project):
            say(f"note: {listed(changed)} changed since this commit, and take no part")
        set_up_dvc(copy, project)
        link_sources(copy, project)
        return verify_rebuild(copy, of, _pull(copy) if from_remote else [])


def _verify_bundle(copy: Path, of: str, *, here: bool, from_remote: bool) -> Verification:
    """Verify a bundle that is unpacked; the texts are its own if their source is not here."""
    found = verify_folder(copy, copy, of, may_lack=True)
    if here or not found.holds:
        return found
    taken = [] if has_sources(copy) else ["download"]
    if taken:
        say("the source of the texts is not on this machine: data/raw of the bundle is used")
    paths = (path for stage in OUTPUTS if stage not in taken for path in OUTPUTS[stage])
    set_up_dvc(copy, copy)
    remove_outputs(copy, paths)
    return verify_rebuild(copy, of, taken + (_pull(copy) if from_remote else []))


def verify_folder(project: Path, commit: Path, of: str, *, may_lack: bool = False) -> Verification:
    """Compare the files of a project with each other, and its outputs with a commit's files.

    Raises:
        UserError: a file of the commit is missing or damaged.
    """
    wrong = [*contradictions(commit)]
    if project != commit:
        wrong += [found for found in contradictions(project) if found not in wrong]
    files = output_files(project)
    wrong += differing_outputs(project, files, may_lack=may_lack)
    if wrong := wrong or [*differing_metrics(project)]:
        return Verification(of, wrong)
    stages = compare_stages(read_record(commit), make_record(project, files), read_lock(commit))
    has_evaluation = (project / EVALUATION).exists()
    metrics = _compare_metrics(read_metrics(commit), project, stages) if has_evaluation else []
    return Verification(of, [], stages, metrics)


def verify_rebuild(copy: Path, of: str, taken: Sequence[str]) -> Verification:
    """Rebuild the copy of a commit, and compare the result with what the commit says.

    If the commit contradicts itself, it is not rebuilt. The outputs of the stages in `taken` are
    there already.

    Raises:
        UserError: a stage or DVC fails, or a file of the commit is missing or damaged.
    """
    wrong = [*contradictions(copy), *differing_outputs(copy, output_files(copy), may_lack=True)]
    if wrong:
        return Verification(of, wrong, taken=taken)
    locked, committed, metrics = read_lock(copy), read_record(copy), read_metrics(copy)
    if todo := [stage for stage in OUTPUTS if stage not in taken]:
        _rebuild(copy, todo)
    if "download" not in taken:
        wrong += differing_sources(copy, locked["download"])
    stages = compare_stages(committed, make_record(copy, output_files(copy)), locked)
    return Verification(of, wrong, stages, _compare_metrics(metrics, copy, stages), taken)


def _compare_metrics(
    committed: Mapping[str, float], rebuilt: Path, stages: Sequence[StageRow]
) -> list[MetricRow]:
    are_equal = not any(row.result == "within tolerance" for row in stages)
    texts = _test_texts(rebuilt)
    return compare_metrics(committed, read_metrics(rebuilt), texts, are_files_equal=are_equal)


def _pull(copy: Path) -> list[str]:
    """Get what the remote has; the stages all of whose outputs it had."""
    files = {path: names for path, names in read_record(copy).files.items() if "" not in names}
    with Bar("pull", total=1) as bar:
        whole = pull(copy, files, partial(bar.advance, 0))
    stages = [
        stage
        for stage, outputs in OUTPUTS.items()
        if all(path in whole for path in outputs if path in files)
    ]
    rest = [stage for stage in OUTPUTS if stage not in stages]
    say(
        f"the remote has the outputs of {len(stages)} of {len(OUTPUTS)} stages"
        + (f"; rebuilt are {', '.join(rest)}" if rest else "")
    )
    return stages


def _rebuild(copy: Path, todo: Sequence[str]) -> None:
    stage = ""
    with Bar("rebuild, stages", total=len(todo)) as bar:

        def show(line: str) -> None:
            nonlocal stage
            if is_new := line.startswith(RUNNING):
                stage = line.removeprefix(RUNNING).rstrip("':")
            bar.advance(int(is_new), stage)

        try:
            rebuild(copy, todo, show)
        except ExperimentError as error:
            where = f"stage {error.stage}" if error.stage else "DVC"
            raise UserError(f"the rebuild fails, {where}: {error}") from None


def _test_texts(copy: Path) -> dict[str, int]:
    """The number of test texts of each source, and of the headline by the name `""`."""
    folder = copy / EVALUATION
    rows = read_csv(folder / "by_source.csv", made_by="evaluate")
    headline = read_json(folder / "metrics.json", made_by="evaluate")["texts"]
    return {row["source"]: int(row["texts"]) for row in rows} | {"": headline}


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
