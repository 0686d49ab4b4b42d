"""Files of the project in the working directory at a Git revision."""

import os
from pathlib import Path

NO_REMOTE = {"core": {"remote": ""}}  # DVC's cache alone is read, and no network is used


def read_revision(name: str, path: str) -> bytes:
    """The content of a file at a revision, from Git or from DVC's cache.

    The project may be a folder of a larger repository, where `DVCFileSystem` finds no project.

    Raises:
        Exception: there is no such revision or file; DVC and its parts raise errors of many
            classes.
    """
    from dvc.fs import DVCFileSystem, GitFileSystem
    from dvc.repo import Repo
    from dvc.scm import SCM

    scm = SCM(os.curdir)
    root = Path("/", Path.cwd().resolve().relative_to(Path(scm.root_dir).resolve()))
    files = GitFileSystem(scm=scm, rev=name)
    with Repo(root.as_posix(), fs=files, scm=scm, config=NO_REMOTE) as repo:
        content: bytes = DVCFileSystem(repo=repo).read_bytes(path)
    return content
