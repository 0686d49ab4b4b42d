"""What a change of parameters brings, judged cheaply and away from validation and test.

    python benchmarks/small_test.py -S train.epochs=4 -S train.word_dropout=0.3

Some of train's texts are learnt from, by chance, and all its others judged by; they take the place
of validation and test for every stage that this runs: the teacher, if `teach.by` names one, then
the training. The unlabelled texts are those at hand. It reads what the stages from tokenize to
pretrain left in `data/`; the last two have read the words of all these texts, but no label. Other
word vectors are fitted to those that are learnt from and the unlabelled alone, a disadvantage.
A difference of less than twice the deviation that is printed is noise.
"""

import argparse
import os
import shutil
import tempfile
from math import sqrt
from pathlib import Path

import numpy as np
from gpu import ROOT, set_up

from sentiformer.baselines.linear import fit_baselines
from sentiformer.core.files import read_json, write_json
from sentiformer.core.pseudo_labels import write_pseudo_labels
from sentiformer.core.runtime import load_runtime
from sentiformer.features.word_vectors import fit_word_vectors
from sentiformer.params import Params
from sentiformer.text.corpus import Block, Corpus, write_corpus
from sentiformer.training.job import TrainingJob

MAY_CHANGE = {"word_vectors", "model", "teach", "train"}  # sections


def main() -> None:
    """Print what the module's head says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--texts", type=int, default=10_000, help="to learn from")
    parser.add_argument("-S", dest="changes", action="append", default=[], metavar="SECTION.KEY=V")
    options = parser.parse_args()
    params = set_up(options.changes)
    taken = {change.split(".")[0] for change in options.changes} - MAY_CHANGE
    if taken:
        parser.error(f"{', '.join(sorted(taken))}: data/ decides it; run the stages before with it")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder  # where times are kept
        judge(params, prepare(params, options, Path(folder) / "data"))


def prepare(params: Params, options: argparse.Namespace, data: Path) -> Path:
    """A folder like `data/`, in which the judged texts are validation and test."""
    tokens, given = data / "tokens", options.data.resolve()
    shutil.copytree(given / "tokens", tokens, copy_function=os.symlink)
    for name in ("vocab", "pretrained"):
        (data / name).symlink_to(given / name)
    train = Corpus(given / "tokens" / "train.arrow")
    order = np.random.default_rng(0).permutation(len(train))
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    learnt, judged = np.split(order, [options.texts])
    for split, rows in (("train", learnt), ("validation", judged), ("test", judged)):
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
    """Write some texts of a corpus in place of the file, or the link, that is there."""
    path.unlink()
    texts = np.concatenate([corpus[row] for row in rows.tolist()])
    write_corpus(path, [Block(texts, corpus.lengths[rows], corpus.labels[rows])])


def judge(params: Params, data: Path) -> None:
    """Fit the teacher, if there is one, then the model; every epoch prints how it does."""
    runtime, checkpoints = load_runtime(), data / "checkpoints"
    for name in ("baseline", "teacher"):
        (data / name).mkdir()
    write_pseudo_labels(data / "teacher", None, None)
    if params.teach.by:
        fit_baselines(params.teach, data / "tokens", data / "baseline", data / "teacher", workers=2)
    job = TrainingJob(params.model, params.train, runtime, data=data, checkpoints=checkpoints)
    for _ in job.run():
        pass
    right = job.training.best().valid_accuracy
    texts = len(Corpus(data / "tokens" / "validation.arrow"))
    deviation = sqrt(right * (1 - right) / texts)
    print(f"{right:.2%}, deviation {deviation:.2%}, of {texts:,} texts; {job.seconds:.0f} s")


if __name__ == "__main__":
    main()
