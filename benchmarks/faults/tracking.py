"""Faults of MLflow's store while a stage logs to it.

A tiny training runs in front of a server or a database that fails. It must write the same model,
print one line, and be at most `SLOWER` seconds slower. Then the store is well again, and
`sentiformer track` must complete it: the same run, artifacts, model and version as without a fault.
"""

import hashlib
import importlib
import multiprocessing
import os
import random
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.faults import Row
from benchmarks.faults.project import Project, undisturbed
from benchmarks.faults.server import FAULTS, FaultyServer

SLOWER = 5.0  # seconds
NOISE = 2.0  # seconds that equal trainings differ by on a busy machine
LONGEST_SECONDS = 400.0  # of a training, and of `sentiformer track`
LINE_CHARACTERS = 1000
SECRET = "secret-password"
CONTEXT = multiprocessing.get_context("forkserver")  # its processes begin with all packages
PRELOADED = ["pipeline.train", "mlflow", "sentiformer.cli", "sentiformer.training.classification"]
PRELOADED += ["sentiformer.tracking.served_model", "mlflow.store.tracking.sqlalchemy_store"]
OF_A_RUN = (
    "mlflow.source.git.commit",
    "mlflow.user",
    "mlflow.note.content",
)  # tags that may differ


class Case(NamedTuple):
    """A fault, how the training's environment meets it, and when it begins."""

    fault: str
    arrange: Callable[["Bench"], Any]  # a context manager; its value is the address of the store


class Done(NamedTuple):
    """What a command did: its exit code, its output and errors, and the seconds it took."""

    code: int
    output: str
    seconds: float


def check(folder: Path, count: int) -> Iterator[Row]:
    """Try `count` of the cases, drawn by a seed, in an empty folder; each is a row."""
    with Bench.start(folder) as bench:
        cases = all_cases()
        drawn = random.Random(0).sample(range(len(cases)), min(count, len(cases)))
        for number in sorted(drawn):
            yield bench.row(cases[number])


def all_cases() -> list[Case]:
    """The faults of a server from the start and later, of its artifacts, and of a database."""
    cases = [Case(f"server: {name}", partial(at_server, name)) for name in FAULTS]
    later = ("hangs", "closes", "503, Retry-After: 3600", "drips the body", "is slow")
    for name in later:
        for after in (4, 25):
            title = f"server: {name} after {after} requests"
            cases.append(Case(title, partial(at_server, name, after=after)))
    for name in ("closes", "hangs", "500", "drips the body"):
        title = f"artifacts: {name}"
        cases.append(Case(title, partial(at_server, name, path="/mlflow-artifacts/")))
    cases.append(Case("server: https at a port of http", https_at_http))
    cases.append(Case("server: name that does not resolve", unknown_name))
    names = [name for name in DATABASES if name != "read-only" or os.geteuid()]  # root may write
    cases += [Case(f"database: {name}", partial(at_database, name)) for name in names]
    return cases


@contextmanager
def at_server(name: str, bench: "Bench", *, after: int = 0, path: str = "") -> Iterator[str]:
    """A server that fails in a way, from a request on, on some paths."""
    bench.server.fail(FAULTS[name], after=after, path=path)
    yield bench.server.address
    bench.server.recover()


@contextmanager
def https_at_http(bench: "Bench") -> Iterator[str]:
    """An address of https at a server of http."""
    yield bench.server.address.replace("http:", "https:")


@contextmanager
def unknown_name(bench: "Bench") -> Iterator[str]:
    """An address whose name no server of names knows."""
    yield bench.server.address.replace("127.0.0.1", "mlflow.invalid")


@contextmanager
def at_database(name: str, bench: "Bench") -> Iterator[str]:
    """The project's own database, damaged in a way; afterwards it is as its line says."""
    with DATABASES[name](bench.project.folder / "mlflow.db", bench):
        yield ""


def healthy(path: Path, bench: "Bench") -> None:
    """An empty database at a path."""
    shutil.copy(bench.empty, path)


@contextmanager
def locked(path: Path, bench: "Bench") -> Iterator[None]:
    """Another process writes all the time."""
    healthy(path, bench)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def replaced(content: bytes | None, path: Path, bench: "Bench") -> Iterator[None]:
    """The file has another content: a part of its own if None."""
    healthy(path, bench)
    path.write_bytes(path.read_bytes()[:50_000] if content is None else content)
    yield
    path.unlink()  # as the line says


@contextmanager
def of_version(version: str, path: Path, bench: "Bench") -> Iterator[None]:
    """The tables are those of another version of MLflow."""
    healthy(path, bench)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (version,))
    yield
    path.unlink()


@contextmanager
def a_folder(path: Path, bench: "Bench") -> Iterator[None]:
    """A folder has the name of the database."""
    path.mkdir()
    yield
    path.rmdir()


@contextmanager
def read_only(path: Path, bench: "Bench") -> Iterator[None]:
    """The database may not be written; the superuser of the system must become another user."""
    healthy(path, bench)
    path.chmod(0o444)
    yield
    path.chmod(0o644)


@contextmanager
def full(path: Path, bench: "Bench") -> Iterator[None]:
    """No file of the store may grow, as on a full disk."""
    healthy(path, bench)
    artifacts = path.with_name("mlartifacts")
    artifacts.symlink_to("/dev/full")
    yield
    artifacts.unlink()


@contextmanager
def in_the_middle(change: Callable[[Path], Any], path: Path, bench: "Bench") -> Iterator[None]:
    """The database changes as soon as the run of the training is in it."""
    healthy(path, bench)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            try:
                with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
                    if database.execute("SELECT count(*) FROM metrics").fetchone()[0]:
                        break
            except sqlite3.Error:
                continue
        kept.append(change(path))
        ended.wait()

    kept: list[Any] = []
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for connection in kept:
            if isinstance(connection, sqlite3.Connection):
                connection.close()
    if path.exists() and path.stat().st_size < 100_000:
        path.unlink()


def lock(path: Path) -> sqlite3.Connection:
    """Lock a database until the connection is closed."""
    connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


DATABASES: dict[str, Callable[[Path, "Bench"], Any]] = {
    "locked by another process": locked,
    "no database": partial(replaced, b"this is no database\n" * 1000),
    "truncated": partial(replaced, None),
    "of an older version": partial(of_version, "451aebb31d03"),
    "of a newer version": partial(of_version, "ffffffffffff"),
    "a folder": a_folder,
    "read-only": read_only,
    "full disk for artifacts": full,
    "deleted during the training": partial(in_the_middle, Path.unlink),
    "locked during the training": partial(in_the_middle, lock),
    "damaged during the training": partial(
        in_the_middle, lambda path: path.write_bytes(b"damage " * 1000)
    ),
}


class Bench:
    """A tiny project that is built, a tracking server behind a faulty one, and what is expected."""

    def __init__(self, project: Project, server: FaultyServer, empty: Path) -> None:
        self.project, self.server, self.empty = project, server, empty
        self.number = 0
        shutil.rmtree(project.folder / "data" / "finetuned")  # one model is enough
        self.seconds = {address: self.undisturbed(address) for address in (server.address, "")}
        self.model, self.content = self.hashes(), self.content_at("")

    def undisturbed(self, address: str) -> float:
        """The seconds of a training whose store works."""
        seconds = []
        for _ in range(3):
            self.number += 1
            self.clear()
            healthy(self.project.folder / "mlflow.db", self)
            seconds.append(self.train(address).seconds)
        print(f"undisturbed, {address or 'mlflow.db'}: {min(seconds):.1f} s", flush=True)
        return min(seconds)

    @classmethod
    @contextmanager
    def start(cls, folder: Path) -> "Iterator[Bench]":
        """Build the project, and start MLflow's server."""
        project = undisturbed()[0].copy(folder / "project")
        CONTEXT.set_forkserver_preload(PRELOADED)
        (folder / "mlflow").mkdir()
        empty = folder / "mlflow" / "empty.db"
        mlflow_client(f"sqlite:///{empty}").search_experiments()
        with FaultyServer.start(folder / "mlflow", empty) as server:
            yield cls(project, server, empty)

    def hashes(self) -> dict[str, str]:
        """The hash of each file that the training writes."""
        data = self.project.folder / "data"
        paths = [*(data / "model").iterdir(), *(data / "curves").iterdir()]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def run(self, address: str, module: str, *arguments: str) -> Done:
        """Run the `main` of a module in a process of its own, with the store at an address."""
        root = self.project.folder
        env = {
            "MLFLOW_TRACKING_URI": address.replace("://", f"://user:{SECRET}@"),
            "MLFLOW_EXPERIMENT_NAME": self.experiment if address else "",
            "DVC_ROOT": str(root),
        }
        log = root / ".dvc" / "tmp" / "output.txt"
        start = time.perf_counter()
        process = CONTEXT.Process(target=run_main, args=(root, env, log, module, *arguments))
        process.start()
        process.join(LONGEST_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        return Done(process.exitcode or 0, log.read_text("utf-8"), time.perf_counter() - start)

    @property
    def experiment(self) -> str:
        """The name of the case's experiment."""
        return f"case-{self.number}"

    def train(self, address: str) -> Done:
        """Train from the start."""
        root = self.project.folder
        for path in (root / "data/model", root / "data/curves", root / ".checkpoints"):
            shutil.rmtree(path, ignore_errors=True)
        return self.run(address, "pipeline.train")

    def row(self, case: Case) -> Row:
        """Train with the fault, track without it, and compare."""
        self.number += 1
        self.clear()
        with case.arrange(self) as address:
            done = self.train(address)
            usual = self.seconds[self.server.address if address else ""]
            problem = self.problem_of(done, usual)
        tracked = self.run(self.server.address if address else "", "sentiformer.__main__", "track")
        if tracked.code:
            problem = problem or f"`track` ends with {tracked.code}: {tracked.output[-500:]}"
        problem = problem or difference(self.content, self.content_at(address))
        late = done.seconds - usual
        print(f"{case.fault}: {late:+.1f} s, track {tracked.seconds:.1f} s", problem, flush=True)
        return Row(case.fault, 1, int(not problem), max(0.0, late), [problem] if problem else [])

    def content_at(self, address: str) -> dict[str, Any]:
        """What the well store has."""
        if address:
            return content_of(self.server.address, self.experiment)
        seen = self.empty.with_name(f"seen-{self.number}.db")  # MLflow keeps databases open
        shutil.copy(self.project.folder / "mlflow.db", seen)
        return content_of(f"sqlite:///{seen}", "sentiformer")

    def clear(self) -> None:
        """Forget the run and the model of the case before."""
        root = self.project.folder
        for path in root.glob("mlflow.db*"):
            path.unlink()
        shutil.rmtree(root / "mlartifacts", ignore_errors=True)
        client = mlflow_client(self.server.address)
        for model in client.search_registered_models():
            client.delete_registered_model(model.name)

    def problem_of(self, done: Done, usual: float) -> str:
        """What is wrong with a training whose store failed; empty if nothing is."""
        lines = [line for line in done.output.splitlines() if "`make track`" in line]
        for line in done.output.splitlines():
            print(f"    | {line[:400]}", flush=True)
        if done.code or self.hashes() != self.model:
            return f"exit code {done.code}, or another model: {done.output[-500:]}"
        if SECRET in done.output or "Traceback" in done.output:
            return "the output has the password, or a traceback"
        if not 1 <= len(lines) <= 2 or max(map(len, lines)) > LINE_CHARACTERS:
            return f"{len(lines)} lines on the store, or one over {LINE_CHARACTERS} characters"
        if done.seconds > usual + SLOWER + NOISE:
            return f"the training took {done.seconds:.1f} instead of {usual:.1f} s"
        return ""


def run_main(root: Path, env: dict[str, str], log: Path, module: str, *arguments: str) -> None:
    """In a new process: call the `main` of a module in a project; all its output goes to a file."""
    from sentiformer.training import classification

    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(root)
    os.environ.update(env)
    classification.LEAST_STEPS = 0
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()


def mlflow_client(uri: str) -> Any:
    """A client of MLflow, which prints nothing."""
    from sentiformer.tracking.store import import_mlflow

    return import_mlflow().MlflowClient(uri, registry_uri=uri)


def content_of(uri: str, experiment: str) -> dict[str, Any]:
    """What the store has of the only training, without ids, times and places."""
    client = mlflow_client(uri)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    stages = {run.data.tags["dvc.stage"]: run for run in runs}
    if "train" not in stages:
        return {"runs": sorted(stages)}
    run = stages["train"]
    points = {
        key: sorted((p.step, p.value) for p in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
        if not key.startswith("system/")
    }
    versions = client.search_model_versions("name = 'sentiformer-texts'")
    return {
        "runs": len(runs) == len(stages),
        "status": run.info.status,
        "name": run.info.run_name,
        "params": run.data.params,
        "tags": {k: v for k, v in run.data.tags.items() if k not in OF_A_RUN},
        "points": points,
        "inputs": len(run.inputs.dataset_inputs),
        "artifacts": sorted(paths_of(client, run.info.run_id)),
        "versions": [(int(v.version), v.tags) for v in versions],
        "models": sorted(
            item.path
            for v in versions
            for item in client.list_logged_model_artifacts(v.source[8:], "artifacts/model")
        ),
    }


def paths_of(client: Any, run_id: str, folder: str | None = None) -> Iterator[str]:
    """The paths of the artifacts of a run."""
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from paths_of(client, run_id, item.path)
        else:
            yield item.path


def difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """The first part that differs between what two stores have; empty if none does."""
    for key in expected:
        if expected[key] != found.get(key):
            return f"{key} differ: {str(found.get(key))[:200]}, not {str(expected[key])[:200]}"
    return ""
