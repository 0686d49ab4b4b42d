"""A commit in an empty temporary folder, rebuilt there by DVC with a cache of its own."""

import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sentiformer.core.errors import UserError, first_line
from sentiformer.core.git import last_commit, line
from sentiformer.experiments import dvc
from sentiformer.params import Params, load_params

FILES = "data/source/dvc.yaml:files"  # the stage that lists the user's files


@contextmanager
def clone_of_commit(project: Path) -> Iterator[Path]:
    """A clone of the last commit of the repository of a project, until the block ends.

    The block gets the folder of the project in the clone.

    Raises:
        UserError: the project has no commit, or Git cannot clone it.
    """
    root, prefix = (line(project, "rev-parse", f"--show-{name}") for name in ("toplevel", "prefix"))
    if not has_commit(project):
        raise UserError(
            "there is no Git commit to verify; make one, use --here for the folder as it is, or "
            "give a bundle"
        )
    with TemporaryDirectory(prefix="sentiformer-") as temporary:
        clone = Path(temporary).resolve() / "clone"
        command = ["git", "clone", "--quiet", "--no-hardlinks", root, str(clone)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = first_line(done.stderr or f"it ended with {done.returncode}")
            raise UserError(
                f"git cannot clone {root} to {clone} ({reason}); is the disk full? TMPDIR names "
                "another folder"
            )
        yield clone / prefix


def set_up_dvc(copy: Path, original: Path) -> None:
    """Give DVC in a copy of a project a cache of its own, and the remotes of the original.

    Raises:
        UserError: the configuration of DVC in the original or the copy is damaged.
    """
    from dvc.config import Config, ConfigError

    try:
        (copy / ".dvc").mkdir(exist_ok=True)
        known = Config(original / ".dvc") if (original / ".dvc").exists() else {}
        with Config(copy / ".dvc").edit("local") as local:
            local["cache"] = {"dir": str(copy / ".dvc" / "cache")}
            local["core"] = {"no_scm": not has_commit(copy)}
            if remote := known.get("core", {}).get("remote"):
                local["core"]["remote"] = remote
            local["remote"] = known.get("remote", {})
    except ConfigError as error:
        raise UserError(f"the configuration of DVC is damaged: {first_line(error)}") from None


def link_sources(copy: Path, original: Path) -> None:
    """Make the user's own texts and encoder, which Git does not hold, visible in a copy.

    Raises:
        UserError: a parameter is not allowed, or names a file outside the project relatively.
    """
    params = load_params(copy / "params.yaml")
    for name in [*_own_texts(params), *filter(None, [params.encoder.name])]:
        if Path(name).expanduser().is_absolute():
            continue
        if ".." in Path(name).parts:
            raise UserError(
                f"params.yaml names {name}, which a clone of the project does not see; give an "
                "absolute path, or one inside the project"
            )
        for path in original.glob(name):
            target = copy / path.relative_to(original)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path.resolve())


def has_commit(project: Path) -> bool:
    """Whether the project is in the last commit of a Git repository."""
    return bool(last_commit(project))


def commit_of(copy: Path) -> str:
    """The commit of a clone."""
    return line(copy, "rev-parse", "--short=12", "HEAD")


def changed_files(project: Path) -> list[str]:
    """The files that differ from the last commit, of those in Git."""
    return line(project, "diff", "--name-only", "--relative", "HEAD").splitlines()


def has_sources(copy: Path) -> bool:
    """Whether the texts from which stage download starts are there."""
    params = load_params(copy / "params.yaml")
    return params.download.source != "files" or all(
        Path(name).exists() if Path(name).is_absolute() else any(copy.glob(name))
        for name in _own_texts(params)
    )


def _own_texts(params: Params) -> list[str]:
    """The files, folders and patterns of the user's texts."""
    download = params.download
    own = (download.train, download.validation, download.test, download.unlabeled)
    return [*filter(None, own)]


def remove_outputs(copy: Path, outputs: Iterable[str]) -> None:
    """Delete what stages wrote."""
    for path in outputs:
        shutil.rmtree(copy / path, ignore_errors=True)


def pull(copy: Path, files: Mapping[str, Iterable[str]], show: Callable[[str], None]) -> list[str]:
    """Get what the default remote has of the outputs; returns those that it has whole.

    The others are deleted. `files` has the names of the files of each output.

    Raises:
        UserError: there is no remote, it cannot be reached, or it has nothing of this commit.
    """
    reason = ""
    for command in ("fetch", "checkout"):
        try:
            dvc.follow([command], show, folder=copy, variables=_variables(copy))
        except dvc.ExperimentError as error:  # also if one file is missing
            reason = reason or f" ({str(error).rstrip(':')})"
    whole = [path for path in files if all((copy / path / name).exists() for name in files[path])]
    remove_outputs(copy, files.keys() - whole)
    if not whole:
        raise UserError(
            f"DVC's remote has no output of this commit{reason}; name one with `dvc remote add "
            "--default NAME URL`, or leave --pull out"
        )
    return whole


def rebuild(copy: Path, stages: Sequence[str], show: Callable[[str], None]) -> None:
    """Run stages, in this order, with the code of the copy.

    No result of another run is used, and MLflow logs into the copy.

    Raises:
        UserError: a stage or DVC failed.
    """
    of_files = load_params(copy / "params.yaml").download.source == "files"
    first = [FILES] if "download" in stages and of_files else []
    command = ["repro", "--no-run-cache", "--single-item", *first, *stages]
    dvc.follow(command, show, folder=copy, variables=_variables(copy))


def _variables(copy: Path) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": f"sqlite:///{copy}/mlflow.db",
        "DVC_SITE_CACHE_DIR": str(copy / ".dvc" / "tmp" / "site"),
    }
