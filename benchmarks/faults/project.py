"""A tiny project in a scratch folder, with all stages at work and nothing outside the folder."""

import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

import psutil

from sentiformer.core.git import git, names
from sentiformer.core.params import read_yaml

ROOT = Path(__file__).parents[2]
TEXTS = 300
SHORTER = {  # trainings on few texts take no more steps than the parameters say
    "src/sentiformer/training/classification.py": "LEAST_STEPS = 400",
    "src/sentiformer/encoder/finetune.py": "LEAST_STEPS = 200",
}
SECTIONS: dict[str, dict[str, Any]] = {  # and those of the tests, see `tests/conftest.py`
    "download": {"source": "files", "train": "texts.csv"},
    "encoder": {"name": "checkpoint"},
    "finetune": {"max_len": 16},
    "teach": {"by": "ensemble"},
    "export": {"format": "int8"},
}
NOT_PASSED_ON = ("GIT_", "SENTIFORMER_", "DVC_", "MLFLOW_", "PYTHON")  # variables
GIT = ("--exclude-standard", "--", ":!docs", ":!data/*.dvc")


_kept: list[TemporaryDirectory[str]] = []  # deleted at the end of this process


class Done(NamedTuple):
    """What a command did: its exit code, its output and errors, and the seconds it took."""

    code: int
    output: str
    seconds: float


class Project:
    """A copy of the project's tracked files with a tiny source, encoder and parameters.

    Attributes:
        folder: the project's root; its cache of DVC, its MLflow and its home are inside.
        env: the environment of its commands.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        home = self.folder / ".dvc" / "tmp" / "home"
        self.env = {
            **{
                key: value for key, value in os.environ.items() if not key.startswith(NOT_PASSED_ON)
            },
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(home.with_name("site")),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "OMP_NUM_THREADS": "1",
            "SENTIFORMER_THREADS": "1",
            "SENTIFORMER_DEVICE": "cpu",
            "SENTIFORMER_CHECKPOINT_SECONDS": "0",
        }
        for person in ("AUTHOR", "COMMITTER"):
            self.env |= {f"GIT_{person}_NAME": "faults", f"GIT_{person}_EMAIL": "faults@localhost"}

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Write a project that is not built yet to a new folder."""
        sys.path.append(str(ROOT / "tests"))
        from checkpoints import make_checkpoint
        from conftest import TINY, made_up_reviews

        project = cls(folder)
        for name in names(git(ROOT, "ls-files", "--cached", "--others", "-z", *GIT)):
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        for name, line in SHORTER.items():
            text = (folder / name).read_text()
            assert line in text, name
            (folder / name).write_text(text.replace(line, "LEAST_STEPS = 0"))
        (folder / "dvc.lock").unlink(missing_ok=True)
        made_up_reviews(TEXTS).to_csv(folder / "texts.csv", index=False)
        make_checkpoint(folder / "checkpoint")
        for section in (TINY, SECTIONS):
            for name, keys in section.items():
                project.set(name, **keys)
        for command in ("init -q -b main", "add -A", "commit -qm tiny"):
            project.run("git", *command.split())
        return project

    def copy(self, folder: Path) -> Self:
        """The project as it stands, in another new folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return type(self)(folder)

    def set(self, section: str, **keys: Any) -> None:
        """Change keys of a section of `params.yaml`."""
        from ruamel.yaml import YAML

        yaml, path = YAML(), self.folder / "params.yaml"
        values = yaml.load(path.read_text(encoding="utf-8"))
        values[section] |= keys
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(values, file)

    def start(self, *command: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command in the project, in a session of its own; see `run`."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        given = {"cwd": self.folder, "env": self.env, "start_new_session": True, **streams}
        return subprocess.Popen(command, **{**given, **options})

    def run(self, *command: str, seconds: float = 300.0, **options: Any) -> Done:
        """Run a command in the project; options are those of `Popen`.

        A command that takes longer than `seconds` is killed, and has the exit code -9.
        """
        start = time.perf_counter()
        with self.start(*command, **options) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
        return Done(process.returncode, output or "", time.perf_counter() - start)

    def build(self) -> dict[str, float]:
        """Run all stages; returns the seconds that each took, by its address."""
        seconds, output, begun = dict[str, float](), "", 0.0
        with self.start("dvc", "repro") as process:
            for line in process.stdout:
                output += line
                if line.startswith("Running stage '"):
                    stage, begun = line.split("'")[1], time.perf_counter()
                if line.startswith("Updating lock file"):
                    seconds[stage] = time.perf_counter() - begun
        if process.returncode:
            raise RuntimeError(f"the undisturbed project cannot be built:\n{output}")
        for command in ("add -A", "commit -qm built"):
            self.run("git", *command.split())
        return seconds

    @property
    def lock(self) -> dict[str, Any]:
        """What DVC recorded of each stage, by its name."""
        path = self.folder / "dvc.lock"
        return read_yaml(path)["stages"] if path.exists() else {}

    def processes(self) -> list[psutil.Process]:
        """The processes that work in the project's folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(self.folder):
                    found.append(process)
            except psutil.Error:  # it has ended, or is of another user
                continue
        return found


@cache
def undisturbed() -> tuple[Project, dict[str, float]]:
    """A project that nothing disturbed while it was built, and the seconds of each stage.

    It is made once in a process. Cases take copies of it.
    """
    _kept.append(TemporaryDirectory(prefix="faults-"))
    project = Project.make(Path(_kept[0].name) / "undisturbed")
    print("the tiny project is built without faults; this takes a minute or two", flush=True)
    return project, project.build()
