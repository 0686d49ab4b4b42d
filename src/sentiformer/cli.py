"""The command `sentiformer`: predict, fill, score, track, verify."""

import argparse
import codecs
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sentiformer.console import answer_interrupts, one_line_errors, say
from sentiformer.core.errors import ICONV, UserError, plain
from sentiformer.core.runtime import load_runtime

if TYPE_CHECKING:
    from sentiformer.serving.predictor import Prediction, Predictor

CHUNK_TEXTS = 256
SHOWN_CHARACTERS = 60
LABEL_WIDTH = 40  # at most; a longer label moves its own row alone


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    answer_interrupts()
    options = _parser().parse_args(arguments)
    with one_line_errors():
        options.run(options)


def predict(options: argparse.Namespace) -> None:
    """Classify texts from arguments, a file or standard input, a chunk at a time."""
    texts = writable(chosen_texts(options))
    predictor = load_predictor(options.model)
    found = False
    cut = chunks(texts, 1 if sys.stdin.isatty() and not options.file else CHUNK_TEXTS)
    workers = load_runtime().threads if options.file else 1
    for chunk, predictions in predictor.in_chunks(cut, workers=workers):
        found = True
        for text, prediction in zip(chunk, predictions, strict=True):
            print(as_json(text, prediction) if options.json else as_row(text, prediction))
        sys.stdout.flush()
    if not found:
        raise UserError("there is no text to classify; give one, or --file, or standard input")


def fill(options: argparse.Namespace) -> None:
    """Guess the words that `[MASK]` stands for."""
    from sentiformer.serving.cloze import LanguageModel

    gaps = LanguageModel(options.model, load_runtime()).fill(options.text, options.top)
    if options.json:
        print(_dumps([[guess.model_dump() for guess in gap] for gap in gaps]))
        return
    for number, gap in enumerate(gaps, start=1):
        for guess in gap:
            print(f"{number}  {guess.probability:7.2%}  {plain(guess.word)}")


def score(options: argparse.Namespace) -> None:
    """Say how likely a text is."""
    from sentiformer.serving.cloze import LanguageModel

    found = LanguageModel(options.model, load_runtime()).score(options.text)
    if options.json:
        print(_dumps(found.model_dump()))
        return
    for row in found.tokens:
        value = "unknown" if row.log_probability is None else f"{row.log_probability:.2f}"
        print(f"{value:>8}  {plain(row.token)}")
    print(f"{found.per_token:.3f} nats a token, perplexity {found.perplexity:,.1f}")


def track(options: argparse.Namespace) -> None:
    """Bring MLflow to the state of the files."""
    from sentiformer.tracking.sync import sync

    if not sync(options.data):
        sys.exit(1)


def verify(options: argparse.Namespace) -> None:
    """Compare rebuilt metrics with the committed ones."""
    from sentiformer.evaluation import verify as verification

    say(verification.verify(options.metrics, options.expected))


def load_predictor(model: str) -> "Predictor":
    """Load a model from a folder, or from MLflow's registry by a `models:/` or `runs:/` address."""
    from sentiformer.serving.predictor import Predictor

    if ":/" in model:
        from sentiformer.tracking.registry import download_model

        with TemporaryDirectory() as folder:
            return Predictor.load(download_model(model, Path(folder)), load_runtime())
    return Predictor.load(Path(model), load_runtime())


def chosen_texts(options: argparse.Namespace) -> Iterator[str]:
    """The texts that the command line names."""
    from sentiformer.core.text_files import read_texts

    if options.file is not None and options.texts:
        raise UserError("give texts or --file, not both")
    if options.file is not None:
        return read_texts(options.file, options.column)
    if options.texts:
        return iter(options.texts)
    return lines_of_standard_input()


def lines_of_standard_input() -> Iterator[str]:
    """The lines of standard input, a text each.

    Raises:
        UserError: a line is no UTF-8.
    """
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"standard input, line {number}: byte {error.object[error.start]:#04x} is no "
                f"UTF-8; convert it, for instance with `{ICONV}`"
            ) from None


def writable(texts: Iterable[str]) -> Iterator[str]:
    """The texts, which a JSON escape or bytes on the command line can fill with half characters.

    Raises:
        UserError: a text cannot be written as UTF-8.
    """
    from sentiformer.core.text_files import require_whole_characters

    for number, text in enumerate(texts, start=1):
        require_whole_characters(text, f"text {number}")
        yield text


def chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Cut texts into lists of at most `size`."""
    texts = iter(texts)
    while chunk := list(islice(texts, size)):
        yield chunk


def as_json(text: str, prediction: "Prediction") -> str:
    """One JSON object on one line."""
    return _dumps({"text": text, **prediction.model_dump()})


def _dumps(value: object) -> str:
    """JSON on one line, which escapes what standard output cannot write."""
    return json.dumps(value, ensure_ascii=codecs.lookup(sys.stdout.encoding).name != "utf-8")


def as_row(text: str, prediction: "Prediction") -> str:
    """Label, probability and the text's beginning, aligned."""
    shown = plain(" ".join(text.split()))
    if len(shown) > SHOWN_CHARACTERS:
        shown = shown[: SHOWN_CHARACTERS - 1] + "…"
    width = min(LABEL_WIDTH, max(map(len, prediction.probabilities)))
    return f"{plain(prediction.label):<{width}} {prediction.probability:7.2%}  {shown}"


def _count(text: str) -> int:
    """A whole number above 0, or argparse's own line about it."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentiformer", description="Classify texts with a trained model, and look after it."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("predict", help="classify texts")
    command.add_argument(
        "texts", nargs="*", metavar="text", help="a text; without any, standard input"
    )
    command.add_argument(
        "--file", type=Path, help="a .csv, .jsonl, .parquet or .txt file (a text a line)"
    )
    command.add_argument(
        "--column", default="text", help="the file's column of texts (default: text)"
    )
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument(
        "--model",
        default="data/model",
        help="a folder, or an MLflow address such as models:/sentiformer@champion",
    )
    command.set_defaults(run=predict)
    for name, run, text in (
        ("fill", fill, "guess the words that [MASK] stands for in a text"),
        ("score", score, "how likely a text is to the language model, token by token"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("text")
        command.add_argument("--json", action="store_true", help="JSON on one line")
        command.add_argument(
            "--model",
            type=Path,
            default=Path("data/pretrained"),
            help="the folder of stage pretrain",
        )
        command.set_defaults(run=run)
        if name == "fill":
            command.add_argument("--top", type=_count, default=5, help="words a gap (default: 5)")
    command = commands.add_parser("track", help="bring MLflow to the state of the files in data/")
    command.add_argument("--data", type=Path, default=Path("data"))
    command.set_defaults(run=track)
    command = commands.add_parser("verify", help="compare rebuilt metrics with the committed ones")
    command.add_argument("--metrics", type=Path, default=Path("data/evaluation/metrics.json"))
    command.add_argument("--expected", type=Path, default=Path("docs/expected_metrics.json"))
    command.set_defaults(run=verify)
    return parser
