"""Why a data set of the Hugging Face Hub cannot be loaded, in one line with a fix that works."""

import re
from typing import TYPE_CHECKING

from sentiformer.core.errors import UserError, first_line, listed

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo

COMMIT = re.compile("[0-9a-f]{40}")
PARQUET_BRANCH = "refs/convert/parquet"  # where the Hub itself keeps Parquet copies of data sets
SECONDS = 30


def require_full_name(name: str, revision: str) -> None:
    """Check that a data set has an owner, and that its revision is a commit.

    Only a commit always has the same data. The Hub is asked for what would be right.

    Raises:
        UserError: it has not, or is not.
    """
    if "/" not in name:
        about = _ask(name)
        fix = "write owner/name, as at the top of its page on https://huggingface.co/datasets"
        if about and "/" in about.id:
            fix = f"its full name on the Hub is {about.id}; set it to that"
        raise UserError(f"download.hub_dataset {name!r} has no owner; {fix}")
    if not COMMIT.fullmatch(revision):
        about = _ask(name, revision)
        fix = f"its commit now is {about.sha}; set it to that" if about else _where(name)
        raise UserError(
            f"download.hub_revision is {revision!r}, which is not a commit of 40 hexadecimal "
            f"digits, so that its data may change; {fix}"
        )


def explain(error: BaseException, name: str, configuration: str | None, revision: str) -> str:
    """The line for an error of `datasets` when it loads a data set."""
    message = str(error)
    at = f"download.hub_dataset {name}"
    if "scripts are no longer supported" in message:
        return f"{at} is a script, which the library datasets does not run; {_parquet_copy(name)}"
    if found := re.search(r"(?:available configs|Available): \[(.*)\]", message):
        names = re.findall(r"'([^']*)'", found[1])
        problem = f"no configuration {configuration!r}" if configuration else "no default"
        return f"{at} has {problem}, but {listed(names)}; write for example {name}/{names[0]}"
    if re.search("gated|restricted|must be authenticated", message, re.IGNORECASE):
        return (
            f"{at} is gated: accept its conditions on https://huggingface.co/datasets/{name}, then "
            "log in with `hf auth login` or set HF_TOKEN"
        )
    if type(error).__name__ == "DatasetNotFoundError":
        if message.startswith("Revision"):
            newest = _ask(name)
            fix = f"the newest is {newest.sha}; set it to that" if newest else _where(name)
            return f"download.hub_revision {revision} is not a commit of {name}; {fix}"
        return (
            f"{at} is not on the Hub, or is private; search https://huggingface.co/datasets for "
            "its name, and for a private one log in with `hf auth login` or set HF_TOKEN"
        )
    return (
        f"{at} at {revision[:12]} cannot be loaded ({first_line(error)}); check name, revision and "
        "network (HF_ENDPOINT, HF_HUB_OFFLINE), then run it again"
    )


def _where(name: str) -> str:
    return f"https://huggingface.co/datasets/{name}/commits/main lists the commits; write one"


def _parquet_copy(name: str) -> str:
    copy = _ask(name, PARQUET_BRANCH)
    files = [file.rfilename for file in (copy and copy.siblings) or ()]
    folders = sorted({path.split("/")[0] for path in files if path.endswith(".parquet")})
    if copy is None or not folders:
        return (
            f"the Hub has no Parquet copy of it (branch {PARQUET_BRANCH}); use another data set, "
            "or download its files and set download.source to files"
        )
    return (
        f"the Hub has a copy of it in Parquet: set download.hub_revision to {copy.sha} and "
        f"download.hub_dataset to {' or '.join(f'{name}/{folder}' for folder in folders[:20])}"
    )


def _ask(name: str, revision: str | None = None) -> "DatasetInfo | None":
    """What the Hub says about a data set; None if it cannot be asked or does not know it."""
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(name, revision=revision, timeout=SECONDS)
    except Exception:  # the errors of the client have no common class
        return None
