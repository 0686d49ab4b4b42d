"""Where MLflow keeps its data; the project's own database is made whole, and moves with its folder.

What can be known of it is asked here first: MLflow tries for minutes to open what it cannot.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.parse import unquote

from sentiformer.core.errors import UserError
from sentiformer.core.runtime import project_root

LOCK_SECONDS = 30.0  # to wait for another process, which may be making all tables
WRITER_SECONDS = 5.0  # to wait for one that writes
ARTIFACTS = "mlartifacts"
SQLITE = "sqlite:///"
NO_ADDRESS = re.compile(r"""%[0-9A-Fa-f]{2}|[?"]""")  # in a path, what an address means otherwise
EXPERIMENTS = "experiments"
PLACES = {  # tables of MLflow's, and their column that says where artifacts lie
    EXPERIMENTS: "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}


def tracking_uri() -> str:
    """Where MLflow's data is: `MLFLOW_TRACKING_URI`, or else the project's database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_uri(project_root())


def default_uri(root: Path) -> str:
    """The address of a project's database."""
    return f"{SQLITE}{database_of(root)}"


def database_of(root: Path) -> Path:
    """The file of a project's database."""
    return root / "mlflow.db"


def artifacts_of(root: Path) -> str:
    """The address of the folder in which a project's artifacts lie."""
    return (root / ARTIFACTS).as_uri()


@contextmanager
def locked_database(root: Path, make: Callable[[str], object]) -> Iterator[None]:
    """Lock the project's database, and let `make` create it, whole or not at all, by its address.

    Two processes that create it at once both fail, and one that is killed in the middle would
    leave tables that MLflow refuses for ever.

    Raises:
        UserError: it is damaged, or its path is none for MLflow.
        filelock.Timeout: another process holds it for too long.
        sqlite3.Error: it cannot be opened and written.
    """
    from filelock import FileLock

    database, partial = database_of(root), root / "mlflow.db.partial"
    if wrong := NO_ADDRESS.search(str(root)):
        raise UserError(
            f"MLflow finds no database in {root}, for the {wrong[0]} in its name; rename the "
            "folder, or set MLFLOW_TRACKING_URI"
        )
    with FileLock(root / "mlflow.db.lock", timeout=LOCK_SECONDS):
        if not database.exists() or not database.stat().st_size:
            partial.unlink(missing_ok=True)
            try:
                make(f"{SQLITE}{partial}")
                partial.replace(database)
            finally:
                partial.unlink(missing_ok=True)  # the disk may be full
        prepare_database(root, write=True)
        yield


def check_address(uri: str) -> None:
    """Open the database at an address of SQLite's once, before MLflow does; ask no server.

    Raises:
        sqlite3.Error: it is no database, or may not be read.
    """
    if uri.startswith(SQLITE):
        path = unquote(uri.removeprefix(SQLITE).partition("?")[0])
        with closing(sqlite3.connect(path, timeout=WRITER_SECONDS)) as database:
            database.execute("PRAGMA schema_version")


def prepare_database(root: Path, *, write: bool = False) -> None:
    """Open the project's database once, before MLflow does, so that it follows its folder.

    Raises:
        UserError: the file is no database, or a damaged one.
        sqlite3.Error: it may not be read, or not be written.
    """
    path = database_of(root)
    address = f"{path.as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=WRITER_SECONDS)) as database:
        try:
            database.execute("PRAGMA schema_version")  # the first look at the file
            with nullcontext() if write else suppress(sqlite3.OperationalError):
                _follow(database, root)
            database.commit()
            if write:
                database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path}: {error}; delete it, and it is made anew") from None


def _follow(database: sqlite3.Connection, root: Path) -> None:
    """Where the project's folder was moved or copied, let artifacts be those of the folder here.

    MLflow keeps whole addresses, and would go on writing to the folder that was. If the database
    alone was copied, only new artifacts lie here.
    """
    followed = PLACES if (root / ARTIFACTS).is_dir() else {EXPERIMENTS: PLACES[EXPERIMENTS]}
    new = artifacts_of(root)
    known = database.execute(
        "SELECT DISTINCT artifact_location FROM experiments "
        f"WHERE artifact_location LIKE 'file:%/{ARTIFACTS}' AND artifact_location != ?",
        (new,),
    ).fetchall()
    for (old,) in known:
        for table, column in followed.items():
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE substr({column} || '/', 1, ?) = ?",
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )
