"""The seal of a folder: the SHA-256 of each of its files, by which a changed file is found."""

from pathlib import Path

from sentiformer.core.files import corrupt, read_json, sha256, write_json

SEAL = "files.json"


def seal(folder: Path) -> None:
    """Write the SHA-256 of all files of a folder, also of those in folders, to its `files.json`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SEAL)
    write_json(folder / SEAL, {path.relative_to(folder).as_posix(): sha256(path) for path in paths})


def require_sealed(folder: Path, *, made_by: str) -> None:
    """Check that the files of a folder are those that the stage `made_by` wrote.

    Files that the stage did not write, such as a model card, may lie beside them.

    Raises:
        UserError: a file is missing or has other bytes, or the seal is missing or corrupt.
    """
    digests = read_json(folder / SEAL, made_by=made_by)
    if not digests or any(Path(name).is_absolute() or ".." in Path(name).parts for name in digests):
        raise corrupt(folder / SEAL, made_by, "it does not name the files of the folder")
    for name, digest in digests.items():
        if sha256(folder / name, made_by=made_by) != digest:
            raise corrupt(folder / name, made_by, f"its SHA-256 is not that of {SEAL}")
