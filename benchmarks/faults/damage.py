"""Damaged files at every boundary between two stages, in models, in DVC's cache and in checkpoints.

Either DVC makes the file again, or its reader names it in one line and does nothing.
"""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sentiformer
from benchmarks.faults import Row
from benchmarks.faults.kills import kill_training, make_outdated
from benchmarks.faults.project import Project, undisturbed
from sentiformer.console.progress import progress
from sentiformer.core.params import read_yaml
from sentiformer.core.runtime import Runtime
from sentiformer.serving.cloze import LanguageModel
from sentiformer.verification.lock import file_hashes

MODELS = {"model": "train", "finetuned": "finetune", "exported": "export", "pretrained": "pretrain"}
WITH_DVC = 30  # a run of DVC takes as long as so many other cases
Damage = Callable[[Path, Project, random.Random], None]


def _empty(path: Path, *_: object) -> None:
    path.write_bytes(b"")


def _missing(path: Path, *_: object) -> None:
    path.unlink()


def _truncated(path: Path, _: Project, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def _torn(path: Path, _: Project, rng: random.Random) -> None:
    """Zeros in place of the last part, as after a power cut."""
    content = path.read_bytes()
    kept = rng.randrange(len(content))
    path.write_bytes(content[:kept] + bytes(len(content) - kept))


def _flipped(path: Path, _: Project, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _swapped(path: Path, project: Project, rng: random.Random) -> None:
    """The contents of another file of the same kind, of this stage or another."""
    others = sorted((project.folder / "data").glob(f"*/**/*{path.suffix}"))
    content = path.read_bytes()
    others = [other for other in others if other.is_file() and other.read_bytes() != content]
    if others:  # else the file stays, and another one is damaged
        path.write_bytes(rng.choice(others).read_bytes())


DAMAGES: list[Damage] = [_empty, _missing, _truncated, _torn, _flipped, _swapped]


def check(folder: Path, count: int) -> Iterator[Row]:
    """Damage `count` files before a stage, as many before a model is loaded, fewer before DVC."""
    built, _ = undisturbed()
    project, few = built.copy(folder / "project"), max(1, count // WITH_DVC)
    yield row("damaged file, stage run alone", count, before_stage, project)
    yield row("damaged file of a model", count, before_model, project)
    yield row("damaged file, dvc repro", few, before_dvc, project)
    yield row("damaged file in DVC's cache", few, in_cache, project)
    yield row("damaged checkpoint", few, in_checkpoint, project)


def row(fault: str, count: int, case: Callable[[Project, random.Random], str], at: Project) -> Row:
    """Try cases with seeds from 0; each returns what is wrong, if anything."""
    failures, longest = [], 0.0
    for seed in progress(range(count), total=count, what=fault):
        start = time.perf_counter()
        if problem := case(at, random.Random(seed)):
            failures.append(f"seed {seed}: {problem}")
        longest = max(longest, time.perf_counter() - start)
    return Row(fault, count, count - len(failures), longest, failures)


def damage_one(paths: list[Path], project: Project, rng: random.Random) -> tuple[Path, str]:
    """Damage one of the files, and keep its time; returns it, and what was done in words."""
    while True:
        path, damage = rng.choice(sorted(paths)), rng.choice(DAMAGES)
        content, times = path.read_bytes(), path.stat()
        if content:
            damage(path, project, rng)
        if not path.exists():
            break
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        if path.read_bytes() != content:
            break
    return path, f"{path.relative_to(project.folder)} {damage.__name__.strip('_')}"


def restore(project: Project, path: Path) -> None:
    """Copy a file from the undisturbed project."""
    shutil.copy2(undisturbed()[0].folder / path.relative_to(project.folder), path)


def before_stage(project: Project, rng: random.Random) -> str:
    """Run a stage without DVC on a damaged file that an earlier stage wrote."""
    stages = read_yaml(project.folder / "dvc.yaml")["stages"]
    stage = rng.choice([name for name in stages if name not in ("download", "encoder")])
    folders = [project.folder / dep for dep in stages[stage]["deps"]]
    data = project.folder / "data"
    files = [p for f in folders if data in f.parents for p in f.rglob("*") if p.is_file()]
    files += [data / "model" / "config.json"] * (stage == "export")
    outs = [project.folder / str(out) for out in stages[stage]["outs"] if isinstance(out, str)]
    before = [file_hashes(out) for out in outs]
    path, done = damage_one(files, project, rng)
    answer = project.run("python", "-m", f"pipeline.{stage}")
    problem = wrong_with(answer.output, path) if answer.code == 1 else f"exit code {answer.code}"
    if [file_hashes(out) for out in outs] != before:
        problem = "its output has changed"
        shutil.rmtree(data)
        shutil.copytree(undisturbed()[0].folder / "data", data)
    restore(project, path)
    return problem and f"{stage}, {done}: {problem}"


def wrong_with(output: str, path: Path) -> str:
    """What is wrong with the message about a damaged file, if anything."""
    line = output.strip().rpartition("\n")[2]
    is_about_folder = path.name in ("config.json", "files.json") or "files.json is" in line
    named = path.parent.name if is_about_folder else path.name
    has_fix = "`dvc repro " in line or "`make` " in line
    is_clear = line.startswith("error: ") and named in line and has_fix
    return "" if is_clear and "Traceback" not in output else f"it says {output.strip()!r}"


def before_model(project: Project, rng: random.Random) -> str:
    """Load a model with a damaged file, and predict."""
    name = rng.choice(sorted(MODELS))
    folder = project.folder / "data" / name
    path, done = damage_one([p for p in folder.rglob("*") if p.is_file()], project, rng)
    try:
        if name == "pretrained":
            LanguageModel(folder, Runtime(threads=1, device="cpu"))
        else:
            sentiformer.load(folder).predict("a great film")
        problem = "it is used"
    except sentiformer.UserError as error:
        problem = wrong_with(f"error: {error}", path)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    restore(project, path)
    return problem and f"{done}: {problem}"


def before_dvc(project: Project, rng: random.Random) -> str:
    """Damage an output, and let DVC make it again."""
    data = project.folder / "data"
    path, done = damage_one([p for p in data.glob("*/**/*") if is_output(p)], project, rng)
    if path.exists():
        path.touch()
    problem = after_repro(project)
    return problem and f"{done}: {problem}"


def is_output(path: Path) -> bool:
    """Whether a file in `data` is written by a stage and kept in DVC's cache."""
    return path.is_file() and "source" not in path.parts


def after_repro(project: Project) -> str:
    """Run `dvc repro`; returns what is not as in the undisturbed project, if anything."""
    answer, built = project.run("dvc", "repro"), undisturbed()[0]
    if answer.code:
        return f"`dvc repro` fails: {answer.output.strip().splitlines()[-3:]}"
    wrong = [name for name in built.lock if project.lock.get(name) != built.lock[name]]
    for folder in (built.folder / "data").iterdir():
        if folder.is_dir() and file_hashes(project.folder / "data" / folder.name) != file_hashes(
            folder
        ):
            wrong.append(folder.name)
    return f"other hashes: {wrong}" if wrong else ""


def in_cache(project: Project, rng: random.Random) -> str:
    """Damage a file in DVC's cache, and let DVC bring it back to a folder that is gone."""
    objects = [p for p in (project.folder / ".dvc/cache/files").rglob("*") if p.is_file()]
    outs = [path for path in (project.folder / "data").iterdir() if (path / "files.json").exists()]
    out = rng.choice(sorted(outs))
    wanted = set(file_hashes(out).values())
    objects = [path for path in objects if path.parent.name + path.name in wanted]
    path = rng.choice(sorted(objects))
    path.chmod(0o644)
    path, done = damage_one([path], project, rng)
    shutil.rmtree(out)
    problem = after_repro(project)
    restore(project, path)
    return problem and f"{out.name}, {done}: {problem}"


def in_checkpoint(project: Project, rng: random.Random) -> str:
    """Damage the checkpoint of a stopped training, and let DVC go on."""
    stage = rng.choice(["pretrain", "finetune", "train"])
    make_outdated(project, stage)
    kill_training(project, stage)
    checkpoints = sorted((project.folder / ".checkpoints").glob("*.safetensors"))
    if not checkpoints:
        return f"{stage}: there is no checkpoint"
    _, done = damage_one(checkpoints, project, rng)
    problem = after_repro(project)
    return problem and f"{stage}, {done}: {problem}"
