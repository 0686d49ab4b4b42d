"""Who logs a run, from which commit, and with which changes since."""

from contextlib import suppress
from getpass import getuser
from pathlib import Path

from sentiformer.core.errors import listed
from sentiformer.core.git import last_commit, line

CODE = ("src", "pipeline", "dvc.yaml", "params.yaml")  # files that decide results


def origin_tags() -> dict[str, str]:
    """The tags by which MLflow's pages show the user, the commit and the branch of a run.

    `git.changed` has the files of code and parameters that differ from the commit. The user is
    the one of Git, because several people may share a login name, such as root in containers.
    """
    user = line(Path(), "config", "user.name")
    with suppress(OSError, KeyError):  # the user has no name on this machine
        user = user or getuser()
    tags = {"mlflow.user": user}
    if commit := last_commit():
        changed = line(Path(), "status", "--short", "--", *CODE).splitlines()
        tags |= {
            "mlflow.source.git.commit": commit,
            "mlflow.source.git.branch": line(Path(), "branch", "--show-current"),
            "mlflow.source.git.dirty": str(bool(changed)).lower(),
            "git.changed": listed([entry.split(maxsplit=1)[1] for entry in changed]),
        }
    return tags
