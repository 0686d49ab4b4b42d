"""A repository of the Hugging Face Hub that gets a publication, in one commit.

The library `huggingface_hub` handles mirrors (`HF_ENDPOINT`), the login (`HF_TOKEN`), proxies, and
tries again where an upload breaks. Large files go by Git LFS, which each server of the Hub's kind
has; `HF_HUB_DISABLE_XET=0` uses the newer protocol Xet.
"""

import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.console.output import note, say
from sentiformer.core.errors import UserError, listed, one_line
from sentiformer.core.hub import SITE  # switches the library's telemetry off
from sentiformer.publish.header import LIBRARY
from sentiformer.publish.publication import CARD, FILES

if TYPE_CHECKING:
    from huggingface_hub import HfApi

os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # read when the library is imported
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
SCHEME = "hf://"
ATTRIBUTES = ".gitattributes"  # each repository of the Hub has it
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


def target(to: str) -> Path | str:
    """What `--to` means: a folder, or the name of a repository, owner/name.

    Raises:
        UserError: it is neither, or may be both.
    """
    name = to.removeprefix(SCHEME)
    if to.startswith(SCHEME) and NAME.fullmatch(name):
        return name
    if ":/" in to or not to:
        raise UserError(f"--to {to} is neither a folder nor owner/name; write one of them")
    if not NAME.fullmatch(to) or Path(to).exists():
        return Path(os.path.expanduser(to))  # noqa: PTH111, which keeps an unknown user
    owner = to.partition("/")[0]
    if Path(owner).exists():
        raise UserError(
            f"--to {to} may be a new folder in {owner} or a repository of the Hub; write ./{to} "
            f"or {SCHEME}{to}"
        )
    return to


def log_in(name: str) -> "HfApi":
    """The client of the Hub, with the user's token.

    Raises:
        UserError: there is no token.
    """
    from huggingface_hub import HfApi, get_token

    try:
        token = get_token()
    except Exception as error:  # it may be fetched from a server
        raise UserError(_explain(name, error)) from None
    if token is None:
        raise UserError(f"--to {name} is a repository of the Hub, which needs a login; {LOG_IN}")
    return HfApi(token=token, library_name=LIBRARY)


def push(api: "HfApi", name: str, folder: Path) -> str:
    """Make the files of a publication those of a repository; returns the address of the commit.

    The repository is created if it does not exist. Files of an earlier publication that this one
    has not are deleted. Other files stay.

    Raises:
        UserError: the Hub refuses, the network fails, or the repository holds another model.
    """
    from huggingface_hub.utils import disable_progress_bars, logging

    logging.set_verbosity_error()  # it tells each of its tries
    if not sys.stderr.isatty():
        disable_progress_bars()
    say(f"upload to {api.endpoint}/{name}")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore", DeprecationWarning)  # of the client's own parts
            address = _commit(api, name, folder)
    except UserError:
        raise
    except Exception as error:  # the errors of the client have no common class
        raise UserError(_explain(name, error)) from None
    for warning in caught:
        note(one_line(str(warning.message)))
    return address


def _commit(api: "HfApi", name: str, folder: Path) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api.create_repo(name, exist_ok=True)
    about = api.model_info(name)
    present = {file.rfilename for file in about.siblings or []}
    _require_ours(name, present, about.card_data)
    written = {name for name in (*FILES, CARD) if (folder / name).exists()}
    operations: list[Any] = [
        *(CommitOperationDelete(path) for path in sorted(present & {*FILES} - written)),
        *(CommitOperationAdd(path, folder / path) for path in sorted(written)),
    ]
    message = f"Publish a model of {LIBRARY}"
    commit = api.create_commit(name, operations, commit_message=message, parent_commit=about.sha)
    return str(commit.commit_url)


def _require_ours(name: str, present: set[str], card: Any) -> None:
    others = sorted(present - {ATTRIBUTES, CARD})
    if others and getattr(card, "library_name", None) != LIBRARY:
        raise UserError(
            f"--to {name} holds what is no earlier publication: {listed(others)}; give another name"
        )


def _explain(name: str, error: BaseException) -> str:
    """The line for an error of `huggingface_hub`, by the status of the answer that caused it."""
    if isinstance(error, RuntimeError) and error.__cause__:  # from a thread that uploads
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"--to {name}: the Hub does not accept the login; {LOG_IN}"
    if status in (403, 404):
        return (
            f"--to {name}: the Hub does not let this login write there; give the name of a user or "
            "organization that it may write to (`hf auth whoami`), or a token that may write "
            f"({SITE}/settings/tokens)"
        )
    if status in (409, 412):
        return f"--to {name}: somebody else changed the repository meanwhile; run it again"
    line = " ".join(str(error).split()) or type(error).__name__
    line = re.sub(r"\?[^\s']*", "", line)  # addresses for an upload have a signature
    if isinstance(error, ValueError) and CARD in line:
        return (
            f"--to {name}: the Hub does not accept the model card ({line}); correct --license, or "
            "publish to a folder, edit the card, and use `hf upload`"
        )
    return (
        f"--to {name} was not published ({line}); check the network (HF_ENDPOINT, HF_HUB_OFFLINE), "
        "then run it again"
    )
