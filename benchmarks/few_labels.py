"""Accuracy with few labels: a frozen encoder, fine-tuning, the Transformer, n-gram models.

    python benchmarks/few_labels.py --source FOLDER --encoder FOLDER --out labels --tests 5000

FOLDER of `--source` has the splits train and test as files. For each number of labels, texts of
train are drawn at random, three times; a tenth of them is validation, by which each method chooses.
All methods see the same texts, and are evaluated on the same random texts of test. `frozen` is a
logistic regression of the encoder's mean vectors. Each draw leaves a line in `out/labels.csv`; a
run that was stopped continues with the next one. `out/labels.svg` is the picture of all lines. The
encoder is fine-tuned for three epochs, with 10,000 labels or more for one.
"""

import argparse
import csv
import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from gpu import set_up

from sentiformer.baselines.logistic_regression import fit_baselines
from sentiformer.core.device import Device, prepare_device
from sentiformer.core.runtime import load_runtime
from sentiformer.data.download import download
from sentiformer.encoder.batches import EncoderBatches
from sentiformer.encoder.fetch import fetch_encoder
from sentiformer.encoder.finetune import finetune
from sentiformer.encoder.network import load_encoder
from sentiformer.encoder.tokens import EncoderTokenizer
from sentiformer.evaluation.evaluate import evaluate
from sentiformer.features.word_vectors import fit_word_vectors
from sentiformer.model.classifier import mean_of_tokens
from sentiformer.params import Params
from sentiformer.text.tokenizer import tokenize
from sentiformer.text.vocab import build_vocab
from sentiformer.training.classification import set_up_classifier
from sentiformer.training.pretrain import pretrain
from sentiformer.training.run import run_training

MANY = 10_000
COLUMNS = ["labels", "draw", "method", "accuracy"]
TITLES = {
    "ensemble": "fine-tuned encoder and nb_trigrams",
    "finetuned": "fine-tuned encoder",
    "frozen": "frozen encoder, logistic regression",
    "nb_trigrams": "nb_trigrams",
    "transformer": "Transformer",
    "tfidf": "tfidf",
}


class NoTracker:
    """A tracker that logs nothing."""

    def live_run(self, about: dict[str, Any]) -> AbstractContextManager[Any]:
        """Listen to no event."""
        return nullcontext(lambda event: None)

    def sync(self, stage: str, data: Path) -> None:
        """Do nothing."""


def draw_texts(options: argparse.Namespace, labels: int, draw: int, folder: Path) -> None:
    """Write the splits of a draw to a folder."""
    rng = np.random.default_rng([labels, draw])
    train = read_split(options.source, "train").drop_duplicates("text")
    chosen = train.iloc[rng.permutation(len(train))[:labels]]
    held_out = max(20, labels // 10)
    test = read_split(options.source, "test")
    test = test.iloc[np.random.default_rng(0).permutation(len(test))[: options.tests]]
    parts = {"validation": chosen[:held_out], "train": chosen[held_out:], "test": test}
    for name, part in parts.items():
        part.to_parquet(folder / f"{name}.parquet", index=False)


def read_split(source: Path, split: str) -> pd.DataFrame:
    """The texts and labels of a split."""
    (path,) = source.glob(f"{split}*.parquet")
    return pd.read_parquet(path, columns=["text", "label"])


def run_stages(params: Params, data: Path) -> None:
    """Run the stages of the pipeline from download to evaluate, without DVC."""
    runtime = load_runtime()
    names = (
        "raw",
        "tokens",
        "baseline",
        "vocab",
        "word_vectors",
        "encoder",
        "teacher",
        "evaluation",
    )
    made = {name: data / name for name in names}
    for path in made.values():
        path.mkdir(parents=True)
    download(params.download, made["raw"])
    tokenize(params.tokenize, made["raw"], made["tokens"], workers=runtime.threads)
    fit_baselines(made["tokens"], made["baseline"], workers=runtime.threads)
    build_vocab(params.build_vocab, made["tokens"], made["vocab"])
    fit_word_vectors(
        params.word_vectors, params.model.d_model, data=data, folder=made["word_vectors"]
    )
    (made["teacher"] / "config.json").write_text('{"by": null}')
    pretrain(
        params.model,
        params.pretrain,
        params.train.precision,
        runtime,
        output=data / "pretrained",
        tracker=NoTracker(),
    )
    fetch_encoder(params.encoder, made["encoder"])
    output = data / "finetuned"
    finetune(params.finetune, params.train, runtime, output=output, tracker=NoTracker())
    setup = set_up_classifier(params.model, params.train, runtime, data=data)
    run_training(setup, data / "model", runtime, tracker=NoTracker())
    evaluate(runtime, data=data, folder=made["evaluation"])


def accuracies(data: Path) -> dict[str, float]:
    """The accuracy of each method on test."""
    (row,) = csv.DictReader((data / "evaluation" / "by_source.csv").open())
    others = {name: float(row[f"{name}_accuracy"]) for name in TITLES if f"{name}_accuracy" in row}
    return {"transformer": float(row["accuracy"]), "frozen": frozen_accuracy(data), **others}


def frozen_accuracy(data: Path) -> float:
    """The accuracy of a logistic regression of the vectors of the encoder; C by validation."""
    from sklearn.linear_model import LogisticRegression

    device = prepare_device(load_runtime(), "auto")
    model = load_encoder(data / "encoder").to(device.device).eval()
    tokenizer = EncoderTokenizer(data / "encoder")
    sets = {}
    with TemporaryDirectory() as folder:
        for split in ("train", "validation", "test"):
            texts = tokenizer.tokenize(data / "raw", split, Path(folder))
            batches = EncoderBatches(texts, tokenizer, batch_size=32, max_len=256, seed=0)
            sets[split] = vectors_of(model, batches, device), texts.labels
    mean, scale = sets["train"][0].mean(axis=0), sets["train"][0].std(axis=0) + 1e-6
    sets = {split: ((vectors - mean) / scale, labels) for split, (vectors, labels) in sets.items()}
    fitted = [
        LogisticRegression(C=c, max_iter=2000).fit(*sets["train"]) for c in (0.001, 0.01, 0.1, 1)
    ]
    return max(fitted, key=lambda found: found.score(*sets["validation"])).score(*sets["test"])


@torch.inference_mode()
def vectors_of(model: torch.nn.Module, batches: EncoderBatches, device: Device) -> np.ndarray:
    """The (N, D) means of the encoder's vectors over the tokens of each text."""
    result = np.empty((batches.items, model.config.hidden_size), dtype=np.float32)
    for batch in batches.in_order_of_length():
        token_ids, padding = batch.to(device.device)[:2]
        mask = None if padding is None else (~padding).long()
        with device.autocast():
            hidden = model(input_ids=token_ids, attention_mask=mask).last_hidden_state
            result[batch.rows] = mean_of_tokens(hidden, padding).float().cpu().numpy()
    return result


def draw_picture(table: pd.DataFrame, path: Path) -> None:
    """Mean accuracy by number of labels, with the range over the draws."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for method, title in TITLES.items():
        groups = table[table["method"] == method].groupby("labels")["accuracy"]
        if len(groups):
            mean, low, high = 100 * groups.mean(), 100 * groups.min(), 100 * groups.max()
            axes.errorbar(
                mean.index, mean, [mean - low, high - mean], marker="o", capsize=3, label=title
            )
    axes.set(xscale="log", xlabel="labels", ylabel="accuracy on test, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run the draws that have no line yet, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--tests", type=int, default=5000)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="parameters")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    path = options.out / "labels.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    for labels in options.labels:
        for draw in range(1, options.draws + 1):
            if ((table["labels"] == labels) & (table["draw"] == draw)).any():
                continue
            with TemporaryDirectory() as folder:
                os.environ["DVC_ROOT"] = folder  # the place of checkpoints
                source, data = Path(folder) / "source", Path(folder) / "data"
                source.mkdir()
                draw_texts(options, labels, draw, source)
                given = ["download.source=files", f"download.train={source}"]
                epochs = 3 if labels < MANY else 1
                given += [f"encoder.name={options.encoder}", f"finetune.epochs={epochs}"]
                given += options.set
                run_stages(set_up(given), data)
                found = accuracies(data)
            rows = [(labels, draw, method, accuracy) for method, accuracy in found.items()]
            table = pd.concat([table, pd.DataFrame(rows, columns=COLUMNS)])
            table.to_csv(path, index=False)
            print(json.dumps({"labels": labels, "draw": draw, **found}))
    draw_picture(table, options.out / "labels.svg")


if __name__ == "__main__":
    main()
