"""Size, accuracy, speed and cold start of exported models, beside torch and the n-gram baseline.

    python benchmarks/export.py --data data --model model --texts 2000 --json export.json

Exports the model in `data / model` as fp32 and as int8 to a temporary folder. All models classify
the same texts, the first ones of test, in this process: they take turns at chunks of 64 texts for
accuracy, log loss and reviews per second, and then at single texts for the time of one review. Cold
start is the median time of `python -m sentiformer predict --model FOLDER TEXT`. `nb_trigrams` is
the baseline, which has no command of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from sentiformer.baselines.ngram_model import NgramModel
from sentiformer.core.environment import processor_name
from sentiformer.core.runtime import load_runtime
from sentiformer.export.export import export, size
from sentiformer.export.params import ExportParams
from sentiformer.serving.predictor import Predictor
from sentiformer.text.tokenizer import Tokenizer

CHUNK, WARM_UP = 64, 20
TEXT = "A wonderful film, superbly acted, and it's very moving."
COLUMNS = {  # of the table, and how a value is shown
    "MB": "{:.1f}",
    "accuracy": "{:.2%}",
    "log loss": "{:.4f}",
    "reviews/s": "{:.0f}",
    "p50 ms": "{:.2f}",
    "p99 ms": "{:.2f}",
    "cold start s": "{:.2f}",
}
Predict = Callable[[list[str]], np.ndarray]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--model", choices=("model", "finetuned"), default="model")
    parser.add_argument("--texts", type=int, default=2000, help="texts of accuracy and speed")
    parser.add_argument("--single", type=int, default=300, help="texts one at a time")
    parser.add_argument("--starts", type=int, default=5, help="cold starts of each model")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = pq.read_table(options.data / "raw/test.parquet", columns=["text", "label"])
    table = table.slice(0, options.texts)
    texts, labels = table["text"].to_pylist(), table["label"].to_numpy()
    print(f"{processor_name()}, {load_runtime().threads} threads, {len(texts):,} reviews")
    with TemporaryDirectory() as folder:
        folders = exports(options.data, options.model, Path(folder))
        models = predictors(options.data, folders)
        result = {name: {"MB": size(path) / 1e6} for name, path in folders.items()}
        in_bulk(models, texts, labels, result)
        one_at_a_time(models, texts[-options.single :], result)
        for name, path in folders.items():
            result[name]["cold start s"] = cold_start(path, options.starts, "bf16" in name)
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def exports(data: Path, model: str, folder: Path) -> dict[str, Path]:
    """The folder of each model; the exported ones are made."""
    source = data / model
    folders = {"torch fp32": source, "torch bf16": source}
    for precision in ("fp32", "int8"):
        (folder / precision).mkdir()
        export(ExportParams(format=precision, model=model), data, folder / precision)
        folders[f"exported {precision}"] = folder / precision
    return folders | {"nb_trigrams": data / "baseline" / "ngrams"}


def predictors(data: Path, folders: dict[str, Path]) -> dict[str, Predict]:
    """The probabilities of texts, (N, C), by each model."""
    found: dict[str, Predict] = {}
    for name, folder in folders.items():
        if name == "nb_trigrams":
            continue
        precision = "bf16" if name == "torch bf16" else "fp32"
        runtime = load_runtime().model_copy(update={"precision": precision})
        found[name] = network(Predictor.load(folder, runtime))
    config = json.loads((data / "tokens/corpus.json").read_text())
    tokenizer = Tokenizer(config["params"]["tokenize"]["language"])
    ngrams = NgramModel.load(folders["nb_trigrams"])
    found["nb_trigrams"] = lambda texts: ngrams.probabilities(tokenizer(texts))
    return found


def network(predictor: Predictor) -> Predict:
    """The probabilities by a predictor."""
    return lambda texts: np.array(
        [list(answer.probabilities.values()) for answer in predictor(texts)]
    )


def in_bulk(models: dict[str, Predict], texts: list[str], labels: np.ndarray, result: dict) -> None:
    """Add accuracy, log loss and reviews per second."""
    seconds, answers = dict.fromkeys(models, 0.0), {name: [] for name in models}
    for predict in models.values():
        predict(texts[:CHUNK])
    for start in range(0, len(texts), CHUNK):
        for name, predict in models.items():
            begun = time.perf_counter()
            answers[name].append(predict(texts[start : start + CHUNK]))
            seconds[name] += time.perf_counter() - begun
    for name in models:
        found = np.concatenate(answers[name])
        of_label = found[np.arange(len(labels)), labels]
        result[name] |= {
            "accuracy": float((found.argmax(axis=1) == labels).mean()),
            "log loss": float(-np.log(of_label.clip(min=1e-15)).mean()),
            "reviews/s": len(texts) / seconds[name],
        }


def one_at_a_time(models: dict[str, Predict], texts: list[str], result: dict) -> None:
    """Add the median and the 99th percentile of the time of one review."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for text in texts[:WARM_UP]:
        for predict in models.values():
            predict([text])
    for text in texts:
        for name, predict in models.items():
            begun = time.perf_counter()
            predict([text])
            times[name].append(time.perf_counter() - begun)
    for name in models:
        middle, most = np.percentile(times[name], [50, 99]) * 1e3
        result[name] |= {"p50 ms": float(middle), "p99 ms": float(most)}


def cold_start(folder: Path, count: int, bf16: bool) -> float | None:
    """The median seconds of a prediction on the command line; None for a baseline."""
    if folder.name == "ngrams":
        return None
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if bf16:
        env["SENTIFORMER_PRECISION"] = "bf16"
    command = [sys.executable, "-m", "sentiformer", "predict", "--model", str(folder), TEXT]
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        subprocess.run(command, env=env, check=True, capture_output=True)
        times.append(time.perf_counter() - begun)
    return median(times)


def show(result: dict[str, dict[str, float | None]]) -> None:
    """Print the table in Markdown."""
    print(f"| model | {' | '.join(COLUMNS)} |")
    print(f"|---|{'---|' * len(COLUMNS)}")
    for name, row in result.items():
        cells = ("-" if row.get(c) is None else form.format(row[c]) for c, form in COLUMNS.items())
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
