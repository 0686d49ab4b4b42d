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

from sentiformer.console.errors import install_interrupt_handler, one_line_errors
from sentiformer.console.output import print_results, say
from sentiformer.core.errors import ICONV, UserError, plain
from sentiformer.core.runtime import load_runtime

if TYPE_CHECKING:
    from sentiformer.serving.predictor import Prediction, Predictor

CHUNK_TEXTS = 256
SHOWN_CHARACTERS = 60
LABEL_WIDTH = 40  # at most; a longer label shifts only its own row


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    install_interrupt_handler()
    options = _parser().parse_args(arguments)
    with one_line_errors():
        options.run(options)


def predict(options: argparse.Namespace) -> None:
    """Classify texts from arguments, a file or standard input, chunk by chunk."""
    texts = chosen_texts(options)
    predictor = load_predictor(options.model)
    show, empty = as_json if options.json else as_row, True
    cut = chunks(texts, 1 if sys.stdin.isatty() and not options.file else CHUNK_TEXTS)
    workers = load_runtime().threads if options.file else 1
    for chunk, predictions in predictor.predict_chunks(cut, workers=workers):
        empty = False
        print_results(map(show, chunk, predictions))
    if empty:
        raise UserError("there is no text to classify; give a text, --file, or standard input")


def fill(options: argparse.Namespace) -> None:
    """Print the most probable words for each `[MASK]`."""
    from sentiformer.serving.cloze import LanguageModel

    gaps = LanguageModel(options.model, load_runtime()).fill(options.text, options.top)
    if options.json:
        print_results([_json_line([[guess.model_dump() for guess in gap] for gap in gaps])])
        return
    print_results(
        f"{number}  {guess.probability:7.2%}  {plain(guess.word)}"
        for number, gap in enumerate(gaps, start=1)
        for guess in gap
    )


def score(options: argparse.Namespace) -> None:
    """Print the log-probability of each token of a text, and their mean."""
    from sentiformer.serving.cloze import LanguageModel

    result = LanguageModel(options.model, load_runtime()).score(options.text)
    if options.json:
        print_results([_json_line(result.model_dump())])
        return
    for row in result.tokens:
        value = "unknown" if row.log_probability is None else f"{row.log_probability:.2f}"
        print_results([f"{value:>8}  {plain(row.token)}"])
    print_results([f"{result.per_token:.3f} nats per token, perplexity {result.perplexity:,.1f}"])


def use(options: argparse.Namespace) -> None:
    """Change `params.yaml` so that the pipeline trains on a file or folder."""
    from sentiformer.params import use_files

    columns = {"text": options.text, "label": options.label, "language": options.language}
    use_files(options.file, **columns, path=Path("params.yaml"))
    say(f"params.yaml: the texts come from {options.file}; next: make, or dvc repro")


def track(options: argparse.Namespace) -> None:
    """Update MLflow from the files."""
    from sentiformer.tracking.tracker import sync_all

    if not sync_all(options.data):
        sys.exit(1)


def verify(options: argparse.Namespace) -> None:
    """Compare rebuilt metrics with the committed ones."""
    from sentiformer.evaluation.verify import verify

    say(verify(options.metrics, options.expected))


def load_predictor(model: str) -> "Predictor":
    """Load a model from a folder, or from MLflow's registry by a `models:/` or `runs:/` address."""
    from sentiformer.serving.predictor import Predictor

    if ":/" in model:
        from sentiformer.tracking.registry import download_model

        with TemporaryDirectory() as folder:
            return Predictor.load(download_model(model, Path(folder)), load_runtime())
    return Predictor.load(Path(model), load_runtime())


def chosen_texts(options: argparse.Namespace) -> Iterator[str]:
    """Yield the texts of the command line, of the file that it names, or of standard input.

    Raises:
        UserError: a text cannot be read, or has a lone surrogate, from an escape in JSON or bytes
            on the command line.
    """
    from sentiformer.core.text_files import read_texts, require_whole_characters

    if options.file is not None and options.texts:
        raise UserError("texts and --file are both given; give one of the two")
    texts: Iterable[str] = options.texts or lines_of_standard_input()
    if options.file is not None:
        texts = read_texts(options.file, options.column)
    for number, text in enumerate(texts, start=1):
        require_whole_characters(text, f"text {number}")
        yield text


def lines_of_standard_input() -> Iterator[str]:
    """Yield the lines of standard input, which must be UTF-8."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"standard input, line {number}: byte {error.object[error.start]:#04x} is not "
                f"UTF-8; convert the input, for instance with `{ICONV}`"
            ) from None


def chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Cut texts into lists of at most `size`."""
    texts = iter(texts)
    while chunk := list(islice(texts, size)):
        yield chunk


def as_json(text: str, prediction: "Prediction") -> str:
    """A text and its prediction as a JSON object on one line."""
    return _json_line({"text": text, **prediction.model_dump()})


def _json_line(value: object) -> str:
    """JSON on one line; characters that standard output cannot write are escaped."""
    return json.dumps(value, ensure_ascii=codecs.lookup(sys.stdout.encoding).name != "utf-8")


def as_row(text: str, prediction: "Prediction") -> str:
    """Label, probability and the beginning of the text, in columns."""
    shown = plain(" ".join(text.split()))
    if len(shown) > SHOWN_CHARACTERS:
        shown = shown[: SHOWN_CHARACTERS - 1] + "…"
    width = min(LABEL_WIDTH, max(map(len, prediction.probabilities)))
    return f"{plain(prediction.label):<{width}} {prediction.probability:7.2%}  {shown}"


def _count(text: str) -> int:
    """A whole number above 0, as a type of argparse."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _path(text: str) -> Path:
    """The path of a file or folder, as a type of argparse."""
    if not text:
        raise argparse.ArgumentTypeError("give a path, for example `make own FILE=reviews.csv`")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentiformer", description="Classify texts with a trained model, and manage its files."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        return command

    _add_predict(add("predict", predict, "classify texts"))
    command = add("fill", fill, "guess the words at each [MASK] in a text")
    command.add_argument("--top", type=_count, default=5, help="words per [MASK] (default: 5)")
    _add_language_model(command)
    _add_language_model(add("score", score, "log-probability of each token of a text"))
    _add_use(add("use", use, "train on a file of your own: changes params.yaml"))
    command = add("track", track, "update MLflow from the files in data/")
    command.add_argument("--data", type=Path, default=Path("data"), help="default: data")
    command = add("verify", verify, "compare rebuilt metrics with the committed ones")
    command.add_argument("--metrics", type=Path, default=Path("data/evaluation/metrics.json"))
    command.add_argument("--expected", type=Path, default=Path("docs/expected_metrics.json"))
    return parser


def _add_predict(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("texts", nargs="*", metavar="text", help="a text; without one, standard input is read")
    add("--file", type=Path, help="a .csv, .jsonl, .parquet or .txt file (one text per line)")
    add("--column", default="text", help="column of the texts in the file (default: text)")
    add("--json", action="store_true", help="print one JSON object per line")
    example = "an MLflow address such as models:/sentiformer@champion"
    add("--model", default="data/model", help=f"a folder (default: data/model), or {example}")


def _add_use(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("file", type=_path, help="a CSV, TSV, JSON or Parquet file, or a folder of splits")
    add("--text", help="column of the texts (default: text, or the only one that it can be)")
    add("--label", help="column of the labels (default: label, or the only one that it can be)")
    add("--language", help="spaCy language code of the texts (default: unchanged)")


def _add_language_model(command: argparse.ArgumentParser) -> None:
    add, help_text = command.add_argument, "folder of stage pretrain (default: data/pretrained)"
    add("text")
    add("--json", action="store_true", help="print JSON on one line")
    add("--model", type=Path, default=Path("data/pretrained"), help=help_text)
