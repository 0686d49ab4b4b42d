"""Repositories of the Hugging Face Hub at a commit, and their files in its cache.

The library `huggingface_hub` handles mirrors (`HF_ENDPOINT`), the cache (`HF_HOME`), work without a
network (`HF_HUB_OFFLINE=1`), proxies and broken downloads. It does not check the content of files,
which this module does: the Hub names large files by their SHA-256.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sentiformer.core.errors import UserError, first_line, is_disk_full
from sentiformer.core.files import sha256

PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}")
SHA256 = re.compile("[0-9a-f]{64}")
SITE = "https://huggingface.co"

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the library is imported


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub; `at` says in messages which parameters name it, and their values."""

    kind: Literal["dataset", "model"]
    name: str
    revision: str
    at: str

    @property
    def page(self) -> str:
        """Its page on the Hub."""
        return f"{SITE}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    def ask(self, revision: str | None = None) -> Any:
        """What the Hub says about it; None if it cannot be asked or does not know it."""
        from huggingface_hub import HfApi

        try:
            return HfApi().repo_info(self.name, revision=revision, repo_type=self.kind, timeout=30)
        except Exception:  # the errors of the client have no common class
            return None

    def right(self) -> str:
        """How to correct a wrong name or revision; the Hub is asked."""
        if about := self.ask(self.revision) or self.ask():
            return f"the Hub has {about.id} at commit {about.sha}; use these"
        return f"{SITE}/{self.kind}s lists the names, and the page of each its commits"

    def require_commit(self, form: str = "owner/name") -> None:
        """Check that the name has an owner and the revision is a commit, whose files never change.

        Raises:
            UserError: it has not, or is not. The message names the right `form` of the name.
        """
        if not PINNED.fullmatch(f"{self.name}@{self.revision}"):
            wanted = f"{form} with a commit of 40 hexadecimal digits"
            raise UserError(f"{self.at} is not {wanted}; {self.right()}")

    def download(self, patterns: Sequence[str]) -> Path:
        """Download the files whose names match to the cache; return the folder of them.

        Raises:
            UserError: they cannot be downloaded, or are damaged.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import logging

        logging.set_verbosity_error()  # it tells each of its tries
        place = {"repo_type": self.kind, "revision": self.revision}
        try:
            folder = snapshot_download(self.name, allow_patterns=list(patterns), **place)
        except Exception as error:  # the errors of the client have no common class
            if is_disk_full(error):
                raise
            raise UserError(self.explain(error)) from None
        self.check_files()
        return Path(folder)

    def explain(self, error: BaseException) -> str:
        """The line for an error of `huggingface_hub` or `datasets`."""
        kind, message = type(error).__name__, str(error)
        log_in = "log in with `hf auth login` or set HF_TOKEN"
        gated = re.search("gated|restricted|must be authenticated", message, re.IGNORECASE)
        if gated and kind != "RepositoryNotFoundError":  # its message names all possibilities
            return f"{self.at} is gated: accept its conditions on {self.page}, then {log_in}"
        if message.startswith("Revision") or kind == "RevisionNotFoundError":
            return f"{self.at} has no such commit; {self.right()}"
        if kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
            search = f"search {SITE}/{self.kind}s for its name"
            return f"{self.at} is not on the Hub, or is private; {search}, or {log_in}"
        return (
            f"{self.at} cannot be loaded ({first_line(error)}); check name, revision and network "
            "(HF_ENDPOINT, HF_HUB_OFFLINE), then run it again"
        )

    def check_files(self) -> None:
        """Compare the files in the cache with the SHA-256 that the Hub states.

        Raises:
            UserError: a file is damaged. It is removed from the cache.
        """
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        folder = repo_folder_name(repo_id=self.name, repo_type=self.kind)
        files = Path(constants.HF_HUB_CACHE) / folder / "snapshots" / self.revision
        for path in sorted(files.rglob("*.*")):
            # The file is a link to its SHA-256, which may link to a file shared by repositories.
            stated = path.readlink().name if path.is_symlink() else ""
            if path.is_file() and SHA256.fullmatch(stated) and sha256(path) != stated:
                path.resolve().unlink()
                raise UserError(
                    f"{path.name} of {self.name} is damaged (its SHA-256 differs from the one that "
                    "the Hub states); it was removed from the cache, run the stage again"
                )
