"""The database in which MLflow keeps its data.

The project's own database, `mlflow.db`, is created atomically, and follows its folder when that is
moved. Problems are found here before MLflow opens it, because MLflow retries for minutes.
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

LOCK_SECONDS = 30.0  # to wait for another process that may create all tables
WRITER_SECONDS = 2.0  # to wait for another process that writes
ARTIFACTS = "mlartifacts"
SQLITE = "sqlite:///"
SPECIAL = re.compile(r"""%[0-9A-Fa-f]{2}|[?"]""")  # characters of a path with a meaning in a URI
ARTIFACT_COLUMNS = {  # by table of MLflow: the column with the address of the artifacts
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}


def tracking_uri() -> str:
    """The address of the store: `MLFLOW_TRACKING_URI`, or else the project's database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_uri(project_root())


def database_of(root: Path) -> Path:
    """The file of a project's database."""
    return root / "mlflow.db"


def default_uri(root: Path) -> str:
    """The address of a project's database."""
    return f"{SQLITE}{database_of(root)}"


def artifacts_of(root: Path) -> str:
    """The address of the folder with a project's artifacts."""
    return (root / ARTIFACTS).as_uri()


@contextmanager
def locked_database(root: Path, create: Callable[[str], object]) -> Iterator[None]:
    """Lock the project's database; if it is missing, `create(address)` makes it.

    The database is created atomically. Otherwise two processes that create it at once would both
    fail, and a process that is killed while it creates it would leave a database that MLflow
    refuses.

    Raises:
        UserError: the database is damaged, or MLflow cannot use its path.
        filelock.Timeout: another process holds the lock for too long.
        sqlite3.Error: the database cannot be opened or written.
    """
    from filelock import FileLock

    database, partial = database_of(root), root / "mlflow.db.partial"
    if found := SPECIAL.search(str(root)):
        raise UserError(
            f"MLflow cannot use a database in {root}, because of {found[0]} in its name; rename "
            "the folder, or set MLFLOW_TRACKING_URI"
        )
    with FileLock(root / "mlflow.db.lock", timeout=LOCK_SECONDS):
        if not database.exists() or not database.stat().st_size:
            partial.unlink(missing_ok=True)  # of a process that was killed
            try:
                create(f"{SQLITE}{partial}")
                partial.replace(database)
            finally:
                partial.unlink(missing_ok=True)  # the disk may be full
        prepare_database(root, write=True)
        yield


def check_address(uri: str) -> None:
    """Check that the SQLite database at an address can be opened; other addresses pass.

    Raises:
        sqlite3.Error: the file is not a database, or cannot be read.
    """
    if uri.startswith(SQLITE):
        path = unquote(uri.removeprefix(SQLITE).partition("?")[0])
        with closing(sqlite3.connect(path, timeout=WRITER_SECONDS)) as database:
            database.execute("PRAGMA schema_version")


def prepare_database(root: Path, *, write: bool = False) -> None:
    """Check the project's database, and update its addresses if its folder was moved.

    Raises:
        UserError: the file is not a database, or is damaged.
        sqlite3.Error: the database cannot be read, or `write` is set and it cannot be written.
    """
    path = database_of(root)
    address = f"{path.as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=WRITER_SECONDS)) as database:
        try:
            database.execute("PRAGMA schema_version")  # this reads the file
            with nullcontext() if write else suppress(sqlite3.OperationalError):
                if write:
                    database.execute("BEGIN IMMEDIATE")
                _update_addresses(database, root)
            database.commit()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{path}: {error}; delete it, and `make track` creates it again"
            ) from None


def model_location(root: Path, name: str, version: str) -> str | None:
    """The address of a registered model's files, by its version or alias; None if unknown.

    Reading the project's database directly takes milliseconds; importing MLflow takes seconds.

    Raises:
        sqlite3.Error: the database cannot be read.
    """
    address = f"{database_of(root).as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=WRITER_SECONDS)) as database:
        found = database.execute(
            "SELECT storage_location FROM model_versions LEFT JOIN registered_model_aliases "
            "USING (workspace, name, version) WHERE name = ? AND ? IN (alias, version || '')",
            (name, version),
        ).fetchone()
    return found[0] if found else None


def _update_addresses(database: sqlite3.Connection, root: Path) -> None:
    """After the project was moved or copied, replace the artifacts' addresses by those of `root`.

    MLflow stores absolute addresses, and would still write to the old folder. If the database was
    copied without its artifacts, only the addresses of new artifacts are replaced.
    """
    tables = ARTIFACT_COLUMNS if (root / ARTIFACTS).is_dir() else ["experiments"]
    new = artifacts_of(root)
    known = database.execute(
        "SELECT DISTINCT artifact_location FROM experiments "
        f"WHERE artifact_location LIKE 'file:%/{ARTIFACTS}' AND artifact_location != ?",
        (new,),
    ).fetchall()
    for (old,) in known:
        for table in tables:
            column = ARTIFACT_COLUMNS[table]
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE substr({column} || '/', 1, ?) = ?",
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )
