"""The stages under DVC, on a tiny project in a folder of its own."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from graphlib import TopologicalSorter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import ROOT, TINY, classifier, made_up_reviews, tiny_params, train

from sentiformer import stage as stage_module
from sentiformer.verification.lock import file_hashes, hash_of
from sentiformer.verification.record import OUTPUTS, RECORD

PARTS = (
    ".dvc/config",
    ".dvc/plots/by_class.json",
    ".dvcignore",
    ".gitignore",
    "data/.gitignore",
    "data/source/bundled.json",
    "data/source/dvc.yaml",
    "data/source/hub.json",
    "dvc.yaml",
    "params.yaml",
)
PACKAGES = {  # of the library, and which others each may import
    "core": set(),
    "console": {"core"},
    "data": {"core", "console"},
    "text": {"core", "console"},
    "features": {"core", "console", "text"},
    "baselines": {"core", "console", "text"},
    "model": {"core", "console", "text"},
    "training": {"core", "console", "text", "model"},
    "encoder": {"core", "console", "text", "baselines", "model", "training"},
    "serving": {"core", "console", "text", "baselines", "model", "training", "encoder"},
    "evaluation": {"core", "console", "text", "baselines", "model", "training", "serving"},
    "export": {"core", "text", "encoder", "model", "training", "serving"},
    "publish": {
        *("core", "console", "baselines", "training", "encoder", "serving", "evaluation"),
    },
    "tracking": {"core", "console", "text", "serving", "publish"},
    "experiments": {"core", "console", "data", "evaluation", "params"},
    "web": {"core", "console", "serving"},
    "verification": {"core", "console", "evaluation", "experiments", "serving", "params"},
    "__init__": set(),
    "__main__": set(),
    "params": set(),
    "stage": set(),
    "cli": set(),
}
METRICS = "metrics.json"
TOP = ("__init__", "__main__", "params", "stage", "cli")  # which may import all packages
DECIDE_NOTHING = {
    "pipeline/__init__.py",
    "src/sentiformer/__init__.py",
    "src/sentiformer/params.py",
    "src/sentiformer/stage.py",
}
STAGES = ["download", "tokenize", "baseline", "build_vocab", "word_vectors", "pretrain"]
STAGES += ["encoder", "finetune", "teach", "train", "evaluate", "export", "report", "record"]
TRAIN = {"train", "evaluate", "export", "report", "record"}  # a stage and those that follow it
PRETRAIN = {"pretrain"} | TRAIN
VECTORS = {"word_vectors"} | PRETRAIN
FINETUNE = {"finetune", "teach"} | TRAIN
VOCAB = {"build_vocab"} | VECTORS | FINETUNE
TOKENIZE = set(STAGES) - {"download", "encoder"}
DOWNLOAD = {"download"} | TOKENIZE
RERUN = {  # the stages that a change of each key reruns
    "download.source": DOWNLOAD,
    "download.hub_dataset": DOWNLOAD,
    "download.hub_revision": DOWNLOAD,
    "download.train": DOWNLOAD,
    "download.validation": DOWNLOAD,
    "download.test": DOWNLOAD,
    "download.unlabeled": DOWNLOAD,
    "download.text_column": DOWNLOAD,
    "download.label_column": DOWNLOAD,
    "download.labels": DOWNLOAD,
    "download.min_texts": DOWNLOAD,
    "download.held_out": DOWNLOAD,
    "download.fold": DOWNLOAD,
    "tokenize.language": TOKENIZE,
    "build_vocab.max_size": VOCAB,
    "word_vectors.window": VECTORS,
    "word_vectors.pairs": VECTORS,
    "word_vectors.triples": VECTORS,
    "model.d_model": VECTORS,
    "model.num_heads": PRETRAIN,
    "model.num_layers": PRETRAIN,
    "model.d_ff": PRETRAIN,
    "model.norm": PRETRAIN,
    "model.dropout": TRAIN,
    "model.token_dropout": TRAIN,
    "model.max_len": TRAIN,
    "pretrain.epochs": PRETRAIN,
    "encoder.name": {"encoder"} | FINETUNE,
    "finetune.epochs": FINETUNE,
    "finetune.max_len": FINETUNE,
    "finetune.layers": FINETUNE,
    "finetune.frozen": FINETUNE,
    "finetune.learning_rate": FINETUNE,
    "finetune.ensemble": FINETUNE,
    "teach.by": {"teach"} | TRAIN,
    "train.seed": FINETUNE,
    "train.epochs": TRAIN,
    "train.batch_size": TRAIN,
    "train.optimizer": TRAIN,
    "train.learning_rate": TRAIN,
    "train.word_dropout": TRAIN,
    "train.class_weights": FINETUNE,
    "train.patience": FINETUNE,
    "train.precision": PRETRAIN | FINETUNE,
    "export.format": {"export", "record"},
    "export.model": {"export", "record"},
}


class Project:
    """A copy of this project with tiny parameters, and the made-up reviews for its source."""

    def __init__(self, folder: Path, package: Path) -> None:
        self.folder = folder
        for name in PARTS:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
        for name in ("src", "pipeline"):
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        path = folder / "src/sentiformer/training/classification.py"
        text = path.read_text()  # train no longer than the parameters say
        path.write_text(text.replace("LEAST_STEPS = 400", "LEAST_STEPS = 0"))
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "SENTIFORMER_"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(package),
            "HOME": str(folder / ".dvc" / "tmp"),
            "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp" / "site"),
            "SENTIFORMER_THREADS": "1",
            "SENTIFORMER_CHECKPOINT_SECONDS": "0",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        for person in ("AUTHOR", "COMMITTER"):
            self.env |= {f"GIT_{person}_NAME": "test", f"GIT_{person}_EMAIL": "test@localhost"}
        for section, keys in TINY.items():
            for key, value in keys.items():
                self.set(f"{section}.{key}", value)
        self.run("git", "init", "-q", "-b", "main")
        self.commit("tiny")

    @property
    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()

    def run(self, *command: str, fails: bool = False) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, output
        return output

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def set(self, name: str, value: object) -> None:
        path, (section, key) = self.folder / "params.yaml", name.split(".")
        params = yaml.safe_load(path.read_text())
        params[section][key] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Project:
    """A project that `dvc repro` has built; tests leave it as it is."""
    project = Project(tmp_path_factory.mktemp("built"), package)
    project.run("dvc", "repro")
    project.commit("built")
    return project


@pytest.fixture
def project(tmp_path: Path, built: Project, package: Path) -> Project:
    """A copy of the built project with its data, for tests that change it."""
    copy = Project.__new__(Project)
    copy.folder, copy.env = tmp_path / "copy", dict(built.env)
    shutil.copytree(built.folder, copy.folder, symlinks=True)
    return copy


def use_remote(project: Project, address: str, **options: str) -> None:
    """Make an address the project's DVC remote."""
    lines = ["[core]", "remote = far", "['remote \"far\"']", f"url = {address}"]
    lines += [f"{key} = {value}" for key, value in options.items()]
    (project.folder / ".dvc" / "config.local").write_text("\n".join(lines))


def other_machine(project: Project, folder: Path, address: str, **options: str) -> Project:
    """A clone with nothing but what Git has and a remote at this address."""
    project.run("git", "clone", "--quiet", str(project.folder), str(folder))
    clone = Project.__new__(Project)
    clone.folder = folder
    clone.env = {**project.env, "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp" / "site")}
    use_remote(clone, address, **options)
    return clone


@pytest.fixture
def remote(project: Project, tmp_path: Path) -> Path:
    """A folder to which the project has pushed its data."""
    use_remote(project, str(tmp_path / "remote"))
    project.run("dvc", "push")
    return tmp_path / "remote"


def imports_of(path: Path) -> set[Path]:
    """The project's own files that a file imports, anywhere in it, and their packages."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            prefixes = [parts[:length] for length in range(1, len(parts) + 1)]
            for base, part in product((ROOT / "src", ROOT), prefixes):
                module = base.joinpath(*part)
                files = (module.with_suffix(".py"), module / "__init__.py")
                found.update(file for file in files if file.exists())
    return found


def import_closure(path: Path) -> set[Path]:
    """All files that a file's work depends on; what decides no byte is left out."""
    closure, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file not in closure and not decides_nothing(file):
            closure.add(file)
            todo += imports_of(file)
    return closure


def decides_nothing(path: Path) -> bool:
    """Whether a file belongs to the console, to the tracking, or to what validates `params.yaml`.

    The class of each section is in the package that reads it.
    """
    place = path.relative_to(ROOT).as_posix()
    packages = ("src/sentiformer/console/", "src/sentiformer/tracking/")
    return place in DECIDE_NOTHING or place.startswith(packages)


def is_training_in(folder: Path, process: psutil.Process) -> bool:
    try:
        return "pipeline.train" in process.cmdline() and process.cwd() == str(folder)
    except psutil.Error:  # it has ended
        return False


def stages() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_import_closure(stage):
    places = [path.relative_to(ROOT) for path in import_closure(ROOT / f"pipeline/{stage}.py")]
    expected = {place.parent if place.parts[0] == "src" else place for place in places}
    deps = {dep for dep in stages()[stage]["deps"] if not dep.startswith(("data/", "metrics"))}
    assert deps == {place.as_posix() for place in expected}


def test_no_stage_depends_on_console_or_tracking():
    deps = {dep for stage in stages().values() for dep in stage["deps"]}
    assert not any(dep in DECIDE_NOTHING for dep in deps)
    assert not any(package in dep for dep in deps for package in ("console", "tracking"))


def test_every_stage_has_its_file_its_params_and_a_description():
    assert list(stages()) == STAGES
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, stage in stages().items():
        assert stage["desc"], name
        assert stage["cmd"] == f"python -m pipeline.{name}"
        assert (name in stage.get("params", [])) is (name in sections)
        assert len(stage["desc"]) <= 80, name


def test_plots_with_a_curve_per_class_do_not_join_the_classes():
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    template_of = {name: plot.get("template") for entry in plots for name, plot in entry.items()}
    for name in ("ROC", "precision and recall"):
        template = json.loads((ROOT / f".dvc/plots/{template_of[name]}.json").read_text())
        assert template["encoding"]["detail"] == {"field": "class"}


def test_entry_points_only_connect():
    for path in (ROOT / "pipeline").glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 45, path
        assert not any(
            isinstance(node, ast.If)
            for node in ast.walk(ast.parse(text))
            if "__main__" not in ast.unparse(node)
        ), path


def package_of(path: Path) -> str:
    """The package of the library that a file is in, or the file's name without its suffix."""
    return path.relative_to(ROOT / "src/sentiformer").parts[0].removesuffix(".py")


def test_packages_import_only_downward():
    files = sorted((ROOT / "src/sentiformer").rglob("*.py"))
    others = {path: {other for other in imports_of(path) if "src" in other.parts} for path in files}
    package = ROOT / "src/sentiformer/__init__.py"  # each import begins with it, and it is on top
    below = {path: others[path] - {path, package} for path in files}
    TopologicalSorter(below).prepare()  # refuses a cycle
    assert {package_of(path) for path in files} == PACKAGES.keys()
    for path in files:
        imported = {package_of(other) for other in others[path]} - {package_of(path), "__init__"}
        if package_of(path) not in TOP:
            assert imported <= PACKAGES[package_of(path)], path
        if package_of(path) != "tracking":
            assert "mlflow" not in packages_of(path), path


def packages_of(path):
    """The packages from which a file imports, in functions and for type checkers, too."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def test_house_sizes():
    assert len((ROOT / "src/sentiformer/model/classifier.py").read_text().splitlines()) <= 200
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("pipeline/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 40, f"{path.name}, {node.name}"


@pytest.mark.slow
def test_repro_builds_everything_and_a_second_one_runs_nothing(built):
    metrics = json.loads((built.folder / "data/evaluation/metrics.json").read_text())
    assert metrics["roc_auc"] > 0.6, "accuracy is too uncertain on 40 texts"
    summary = json.loads((built.folder / "metrics.json").read_text())
    assert summary["accuracy"] == metrics["accuracy"]
    assert len(summary) <= 8
    names = "model/model.safetensors curves/history.csv baseline/choices.csv report/report.html"
    for name in names.split():
        assert (built.folder / "data" / name).stat().st_size > 0
    assert (built.folder / "mlflow.db").exists()
    assert not list((built.folder / ".checkpoints").iterdir()), "a finished training leaves none"
    again = built.run("dvc", "repro")
    assert again.count("didn't change, skipping") == len(STAGES)
    assert built.run("git", "status", "--porcelain") == ""


def test_the_record_is_of_all_outputs_of_all_other_stages():
    outputs = {
        name: [path for out in stage["outs"] for path in ([out] if isinstance(out, str) else out)]
        for name, stage in stages().items()
    }
    assert outputs.pop("record") == [RECORD]
    assert outputs == OUTPUTS
    made = {path for paths in OUTPUTS.values() for path in paths}
    assert made <= set(stages()["record"]["deps"])


@pytest.mark.slow
def test_the_files_of_a_built_project_are_verified(built):
    output = built.run(sys.executable, "-m", "sentiformer", "verify", "--here")
    (built.folder / "verify.json").unlink()
    assert f"{len(OUTPUTS)} of {len(OUTPUTS)} stages equal, all metrics equal" in output
    assert built.run("git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_rebuild_finds_a_metric_that_is_false_in_all_files_of_the_commit(project, remote):
    """All stages but `evaluate` and `report` come from the remote, to save time."""

    def edit(name, old, new):
        path = project.folder / name
        path.write_text(path.read_text().replace(old, new))
        return hash_of(file_hashes(path))

    before = {name: hash_of(file_hashes(project.folder / name)) for name in (METRICS, RECORD)}
    files = json.loads((project.folder / RECORD).read_text())["files"]
    for path in ("data/evaluation/predictions.parquet", "data/report/report.html"):
        folder, _, name = path.rpartition("/")
        digest = files[folder][name]
        (remote / "files/md5" / digest[:2] / digest[2:]).unlink()
    accuracy = json.loads((project.folder / METRICS).read_text())["accuracy"]
    after = edit(METRICS, f'"accuracy": {accuracy}', f'"accuracy": {accuracy + 0.01}')
    edit("dvc.lock", before[METRICS], after)
    edit("dvc.lock", before[RECORD], edit(RECORD, before[METRICS], after))
    project.commit("false")
    output = project.run(sys.executable, "-m", "sentiformer", "verify", "--pull", fails=True)
    found = json.loads((project.folder / "verify.json").read_text())
    assert found["taken"] == [name for name in OUTPUTS if name not in ("evaluate", "report")]
    assert [row["stage"] for row in found["stages"] if row["result"] != "equal"] == ["evaluate"]
    assert not found["contradictions"]
    assert "first difference is at stage evaluate" in output


def test_each_source_has_its_dependency_of_download():
    """`bundled` and `hub` have files in Git, and a stage makes that of `files`."""
    assert "data/source/${download.source}.json" in stages()["download"]["deps"]
    folder = ROOT / "data/source"
    bundled = json.loads((folder / "bundled.json").read_text())
    pinned = "{package}=={version}".format(**bundled)
    assert pinned in (ROOT / "requirements.lock").read_text().splitlines()
    assert (folder / "hub.json").exists()
    (stage,) = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values()
    assert stage["cmd"] == "python -m pipeline.files"
    assert stage["outs"] == [{"data/source/files.json": {"cache": False}}]


@pytest.mark.slow
def test_changed_files_of_the_user_rerun_download_and_no_old_rows_come_back(project):
    """In the workspace, in an experiment, and in its copy, which does not have the file."""
    path = project.folder / "mine" / "own.csv"
    path.parent.mkdir()
    (project.folder / ".git/info/exclude").write_text("/mine/\n")

    def output(count: int, *command: str) -> str:
        made_up_reviews(count).to_csv(path, index=False)
        return project.run(*command, "download")

    experiment = ("dvc", "exp", "run", "-S", "download.source=files")
    experiment += ("-S", "download.train=mine/*.csv")
    assert " of 60 rows;" in output(60, *experiment)
    assert " of 70 rows;" in output(70, "dvc", "repro")
    assert "Stage 'download' is cached" in output(60, "dvc", "repro")
    about = json.loads((project.folder / "data/raw/dataset.json").read_text())
    assert about["rows_read"] == {"train": 60}
    assert " of 80 rows;" in output(80, *experiment, "--temp")
    shutil.rmtree(path.parent)
    failed = project.run("dvc", "repro", "download", fails=True)
    assert "error: download.train is 'mine/*.csv': there is no such file" in failed


def test_an_experiment_in_a_copy_of_a_shallow_clone_is_refused(tmp_path, monkeypatch):
    """DVC would run it and then lose it."""
    root, copy, ran = tmp_path / "root", tmp_path / "copy", []
    run = stage_module.stage(lambda params, runtime: ran.append(Path.cwd()))
    copy.mkdir()
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / ".git" / "shallow").write_text("0" * 40)
    monkeypatch.setenv("DVC_ROOT", str(root))
    for folder, name in product((root, copy), ("params.yaml", "dvc.yaml")):
        shutil.copyfile(ROOT / name, folder / name)
    monkeypatch.chdir(copy)
    with pytest.raises(SystemExit, match=r"root is a shallow clone, .*`git fetch --unshallow`"):
        run()
    monkeypatch.chdir(root)
    run()
    (root / ".git" / "shallow").unlink()
    monkeypatch.chdir(copy)
    run()
    assert ran == [root, copy]


@pytest.mark.slow
def test_every_key_reruns_exactly_the_stages_that_it_touches(built):
    script = """
import json, sys
from pathlib import Path
import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
path = Path("params.yaml")
text = path.read_text()
graph = Repo().index.graph
params_of = [(s, dep) for s in graph for dep in s.deps if isinstance(dep, ParamsDependency)]
rerun = {}
for section, keys in yaml.safe_load(text).items():
    for key in keys:
        params = yaml.safe_load(text)
        params[section][key] = "changed"
        path.write_text(yaml.safe_dump(params))
        todo, found = [stage for stage, dep in params_of if dep.status()], set()
        while todo:
            stage = todo.pop()
            found.add(stage.name)
            todo += graph.predecessors(stage)
        rerun[f"{section}.{key}"] = sorted(found)
        path.write_text(text)
json.dump(rerun, sys.stdout)
"""
    rerun = json.loads(built.run(sys.executable, "-W", "ignore", "-c", script))
    assert {key: set(stages) for key, stages in rerun.items()} == RERUN


@pytest.mark.slow
def test_another_baseline_does_not_rerun_the_training(project):
    path = project.folder / "src/sentiformer/baselines/logistic_regression.py"
    path.write_text(path.read_text().replace("ALPHA = 1.0", "ALPHA = 9.0"))
    before = (project.folder / "data/baseline/nb_trigrams.parquet").read_bytes()
    output = project.run("dvc", "repro", "train")
    assert (project.folder / "data/baseline/nb_trigrams.parquet").read_bytes() != before
    assert "Running stage 'baseline'" in output
    assert "Stage 'train' didn't change, skipping" in output


@pytest.mark.slow
def test_a_changed_message_reruns_nothing_and_a_changed_report_no_training(project):
    def change(*names):
        for name in names:
            with (project.folder / "src/sentiformer" / name).open("a") as file:
                file.write("# changed\n")
        return set(json.loads(project.run("dvc", "status", "--json", *STAGES)))

    assert change("console/training.py", "console/output.py", "tracking/store.py") == set()
    assert change("evaluation/report.py") == {"evaluate", "report"}
    changed = {"pretrain", "finetune", "teach", "train", "evaluate", "export"}
    assert change("training/loop.py") == {"report"} | changed


def contents(folder):
    """The bytes of each file in a folder, without the key of a training and what depends on it.

    The key depends on which modules the process has imported.
    """
    other = rb'(training_key|"config\.json":).*'
    return {
        path.relative_to(folder).as_posix(): re.sub(other, b"", path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_stages_in_processes_of_their_own_write_the_same_bytes_as_in_this_one(built, data):
    for folder in data.iterdir():
        made, expected = contents(built.folder / "data" / folder.name), contents(folder)
        added = made.keys() - expected.keys()
        assert added <= {"files.json", "environment.json"}  # by the entry point
        for name in {*added, "files.json"} if added else ():
            made.pop(name)
            expected.pop(name, None)
        assert made == expected, folder.name


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_bits_and_leaves_no_orphan(project, tmp_path):
    long = {"epochs": 12, "patience": 12}  # to be killed twice, well before its end
    for key, value in long.items():
        project.set(f"train.{key}", value)
    expected = tmp_path / "expected/data/model"
    train(classifier(tiny_params(train=long), project.folder / "data"), expected)
    for shell in (
        "/bin/sh",
        "/bin/bash",
    ):  # DVC starts a stage through it; bash replaces itself by the stage
        project.env["SHELL"] = shell
        again = bool(checkpoints(project))
        assert ("resuming at step" in kill_training(project)) is again
        assert not (project.folder / "data/model").exists()
        assert (project.folder / "data/curves/steps.csv").read_text().count("\n") > 1
    assert "resuming at step" in project.run("dvc", "repro", "train")
    for name in ("model", "curves"):
        assert contents(project.folder / "data" / name) == contents(expected.with_name(name))
    assert not list((project.folder / ".checkpoints").iterdir())


def checkpoints(project):
    """When each checkpoint was written."""
    paths = (project.folder / ".checkpoints").glob("*.safetensors")
    return {path.name: path.stat().st_mtime_ns for path in paths}


def kill_training(project):
    """Kill DVC once its training has left a checkpoint; the training ends with it.

    Returns what they said.
    """
    command, before = ("dvc", "repro", "train"), checkpoints(project)
    said = project.folder / ".dvc" / "tmp" / "said"
    with (
        said.open("w") as file,
        subprocess.Popen(
            command,
            cwd=project.folder,
            env=project.env,
            start_new_session=True,
            stdout=file,
            stderr=file,
        ) as running,
    ):
        while checkpoints(project) == before:
            assert running.poll() is None, "it ended before its first checkpoint"
            time.sleep(0.01)
        running.kill()
    deadline = time.monotonic() + 5
    while any(is_training_in(project.folder, process) for process in psutil.process_iter()):
        assert time.monotonic() < deadline, "the training outlived DVC"
        time.sleep(0.1)
    return said.read_text()


@pytest.mark.slow
def test_restored_from_the_cache_tracking_finds_the_run_from_the_files_alone(project):
    for name in ("mlflow.db", "data/model", "data/evaluation", "data/report"):
        path = project.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "Running stage" not in project.run("dvc", "repro", "--pull", "--allow-missing")
    project.run("dvc", "checkout")
    first, second = project.run("sentiformer", "track"), project.run("sentiformer", "track")
    run_id = first.split("MLflow run ")[1].split()[0]
    assert run_id in second


def assert_restored(clone: Project, project: Project) -> None:
    """DVC restores all results in a clone, and runs no stage."""
    assert "Running stage" not in clone.run("dvc", "repro", "--pull")
    for name in ("model", "report"):
        assert contents(clone.folder / "data" / name) == contents(project.folder / "data" / name)


class Silent(SimpleHTTPRequestHandler):
    """Serves files, and does not log the requests."""

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_a_clone_restores_all_from_a_folder_that_a_web_server_serves(project, remote, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(remote))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        clone = other_machine(project, tmp_path / "clone", address)
        assert_restored(clone, project)
        server.shutdown()
    told = clone.run("sentiformer", "predict", "A film to remember.")
    assert told == project.run("sentiformer", "predict", "A film to remember.")
    assert "film reviews" in clone.run("sentiformer", "track")
    assert clone.run("git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_clone_restores_all_from_s3(project, tmp_path):
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed")
    moto = pytest.importorskip("moto.server", reason="moto[s3], flask and flask-cors are missing")
    import boto3

    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    keys = {"aws_access_key_id": "name", "aws_secret_access_key": "secret"}
    address, port = "s3://bucket/sentiformer", server.get_host_and_port()[1]
    endpoint = f"http://127.0.0.1:{port}"
    boto3.client("s3", "us-east-1", endpoint_url=endpoint, **keys).create_bucket(Bucket="bucket")
    options = {"endpointurl": endpoint, "region": "us-east-1"}
    project.env |= {key.upper(): value for key, value in keys.items()}
    use_remote(project, address, **options)
    project.run("dvc", "push")
    assert_restored(other_machine(project, tmp_path / "clone", address, **options), project)
    server.stop()


@pytest.mark.slow
def test_an_experiment_in_a_copy_logs_to_the_store_of_the_original(project):
    from mlflow import MlflowClient

    project.run(
        "dvc", "exp", "run", "--temp", "-n", "slower", "-S", "train.learning_rate=0.005", "train"
    )
    assert "/slower\n" in project.run("git", "for-each-ref", "refs/exps")
    store = MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    experiment = store.get_experiment_by_name("sentiformer")
    runs = store.search_runs([experiment.experiment_id], "tags.`dvc.stage` = 'train'")
    assert {
        run.data.params["train.learning_rate"]: run.data.tags.get("dvc.experiment") for run in runs
    } == {"0.005": "slower", "0.01": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "stage", "message"),
    [
        ("model.d_model", 17, "train", "params.yaml: model: d_model 17 is not divisible by"),
        ("tokenize.language", "klingon", "tokenize", "tokenize.language is 'klingon'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_half_written(project, name, value, stage, message):
    lock = project.lock
    project.set(name, value)
    output = project.run("dvc", "repro", stage, fails=True)
    assert f"error: {message}" in output
    assert "Traceback" not in output
    assert project.lock == lock
    assert not list(project.folder.glob("data/.*.partial"))


def test_documents_are_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert len(" ".join(lines).split()) <= 1200
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 160
    assert (
        sum(len(keys) for keys in yaml.safe_load((ROOT / "params.yaml").read_text()).values()) <= 46
    )
    for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert len(line) <= 120 or line.startswith("|"), f"{path.name}:{number}"
