"""Measure quickly how a change of parameters changes the accuracy, without validation or test.

    python benchmarks/quick_check.py -S train.epochs=4 -S train.word_dropout=0.3

It trains on a random part of train, without pseudo-labels, and evaluates on the rest, which
replaces validation and test.
It reads what the stages from tokenize to pretrain have written to `data/`. Those stages have read
the words of all texts of train, but no label. A change of the section word_vectors fits new word
vectors on the smaller part. A difference below twice the printed deviation is noise.
"""

import argparse
import os
import shutil
import tempfile
import time
from math import sqrt
from pathlib import Path

import numpy as np
from gpu import ROOT, set_up

from sentiformer.core.events import EpochEvent
from sentiformer.core.files import read_json, write_json
from sentiformer.core.runtime import load_runtime
from sentiformer.features.word_vectors import fit_word_vectors
from sentiformer.params import Params
from sentiformer.text.corpus import Block, Corpus, write_corpus
from sentiformer.training.classification import set_up_classifier

MAY_CHANGE = {"word_vectors", "model", "train"}  # sections


def main() -> None:
    """Train with the changed parameters, and print the accuracy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--texts", type=int, default=10_000, help="texts to train on")
    parser.add_argument("-S", dest="changes", action="append", default=[], metavar="SECTION.KEY=V")
    options = parser.parse_args()
    params = set_up(options.changes)
    taken = {change.split(".")[0] for change in options.changes} - MAY_CHANGE
    if taken:
        parser.error(
            f"{', '.join(sorted(taken))}: data/ was made with it; run its stages with the change"
        )
    with tempfile.TemporaryDirectory() as folder:
        evaluate(params, prepare(params, options, Path(folder) / "data"))


def prepare(params: Params, options: argparse.Namespace, data: Path) -> Path:
    """A folder like `data/`, with the rest of train as validation and test."""
    tokens, given = data / "tokens", options.data.resolve()
    shutil.copytree(given / "tokens", tokens, copy_function=os.symlink)
    for name in ("vocab", "pretrained"):
        (data / name).symlink_to(given / name)
    train = Corpus(given / "tokens" / "train.arrow")
    order = np.random.default_rng(0).permutation(len(train))
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    used, rest = np.split(order, [options.texts])
    for split, rows in (("train", used), ("validation", rest), ("test", rest)):
        write_rows(tokens / f"{split}.arrow", train, np.sort(rows))
        about["splits"][split]["rows"] = len(rows)
    (tokens / "corpus.json").unlink()
    write_json(tokens / "corpus.json", about)
    unchanged, asked = set_up([]), (params.word_vectors, params.model.d_model)
    if asked == (unchanged.word_vectors, unchanged.model.d_model):
        (data / "word_vectors").symlink_to(given / "word_vectors")
    else:
        (data / "word_vectors").mkdir()
        fit_word_vectors(*asked, data=data, folder=data / "word_vectors")
    return data


def write_rows(path: Path, corpus: Corpus, rows: np.ndarray) -> None:
    """Replace a file, or a link, by some texts of a corpus."""
    path.unlink()
    texts = np.concatenate([corpus[row] for row in rows.tolist()])
    write_corpus(path, [Block(texts, corpus.lengths[rows], corpus.labels[rows])])


def evaluate(params: Params, data: Path) -> None:
    """Train on labelled texts alone, and print the accuracy."""
    (data / "teacher").mkdir()
    write_json(data / "teacher" / "config.json", {"by": None})
    start = time.perf_counter()
    training = set_up_classifier(params.model, params.train, load_runtime(), data=data).training
    for event in training.run():
        if isinstance(event, EpochEvent):
            print(f"epoch {event.epoch}: {event.valid_accuracy:.2%}")
    right = training.best().valid_accuracy
    texts = len(Corpus(data / "tokens" / "validation.arrow"))
    deviation = sqrt(right * (1 - right) / texts)
    seconds = time.perf_counter() - start
    print(f"{right:.2%}, deviation {deviation:.2%}, of {texts:,} texts; {seconds:.0f} s")


if __name__ == "__main__":
    main()
