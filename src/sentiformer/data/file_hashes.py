"""The hashes of the user's files, so that DVC notices a changed, a new and a removed file."""

from typing import Any

from sentiformer.console.progress import progress
from sentiformer.core.errors import UserError
from sentiformer.core.files import sha256
from sentiformer.data.params import DownloadParams
from sentiformer.data.user_files import find_files


def hash_files(params: DownloadParams) -> dict[str, list[dict[str, Any]]]:
    """Return name, size in bytes and SHA-256 of each file that `params` name, by split.

    A file has the same entry in the copy of the project that DVC makes for an experiment, so it
    has no folder. Sources other than files have no entry.

    Raises:
        UserError: a path does not exist or is no file, or a folder has no file of the split.
        OSError: a file cannot be read.
    """
    if params.source != "files":
        return {}
    found = find_files(params)
    files = [(split, path) for split, paths in found.items() for path in paths]
    hashes: dict[str, list[dict[str, Any]]] = {split: [] for split in found}
    for split, path in progress(files, total=len(files), what="hash files"):
        if not path.is_file():
            raise UserError(f"{path} is not a file; check the path")
        entry = {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
        hashes[split].append(entry)
    return hashes
