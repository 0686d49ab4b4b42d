"""The command `sentiformer`: predict, explain, find similar texts, compare, serve, and others."""

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer import __version__, load
from sentiformer.console.errors import one_line_errors
from sentiformer.console.inputs import is_standard_input, lines_of_standard_input
from sentiformer.console.neighbours import as_json as neighbours_as_json
from sentiformer.console.neighbours import as_rows
from sentiformer.console.output import note, print_results, say
from sentiformer.console.predictions import Summary, as_json, as_row, json_line
from sentiformer.console.start import quick_start
from sentiformer.core.errors import UserError, one_line, plain
from sentiformer.core.runtime import load_runtime

if TYPE_CHECKING:
    from sentiformer.evaluation.evaluated import Evaluated
    from sentiformer.serving.cloze import LanguageModel

CHUNK_TEXTS = 256
TRACK_SECONDS = 300.0  # by which the answers of a tracking server may be late, all together
DEFAULT_COLUMN = "text"
NEXT = {  # what to do next, by whether a file was classified and whether JSON was printed
    (False, False): "--file classifies a file, --json prints JSON",
    (False, True): "--file classifies a file",
    (True, False): "--json prints JSON with all probabilities",
    (True, True): "pandas.read_json(file, lines=True) reads these lines",
}

NEXT_EXPLAIN = {  # by whether JSON was printed
    False: "--json prints the contributions of all tokens",
    True: NEXT[True, True],
}
NEXT_ATTENTION = "attention does not explain the class; without --attention, its reasons are shown"
EPILOG = """example: sentiformer predict "A film to remember."
The README and docs/ in the project's root explain all commands; each has its own --help."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    with one_line_errors():
        options = _parsed(sys.argv[1:] if arguments is None else arguments)
        options.run(options)


def predict(options: argparse.Namespace) -> None:
    """Classify texts from arguments, a file or standard input, chunk by chunk."""
    texts = chosen_texts(options)
    with quick_start():
        model = load(options.model)
    lowest = model.lowest_confidence(options.min_confidence, options.max_errors)
    cut = chunks(texts, 1 if sys.stdin.isatty() and not options.file else CHUNK_TEXTS)
    workers = load_runtime().threads if options.file else 1
    show, summary = as_json if options.json else as_row, Summary()
    for chunk, predictions in model.predict_chunks(cut, workers=workers, min_confidence=lowest):
        print_results(map(show, chunk, predictions))
        summary.count(predictions)
    if not summary.texts:
        raise _no_text(options, "classify")
    note(f"{summary}; {NEXT[bool(options.file), options.json]}")


def explain_texts(options: argparse.Namespace) -> None:
    """Print which tokens of each text decided its class."""
    from sentiformer.console.explanations import attention_lines, explanation_lines

    texts = chosen_texts(options)
    with quick_start():
        model = load(options.model)
    compute: Any = model.attention if options.attention else model.explain
    show: Any = attention_lines if options.attention else explanation_lines
    summary = Summary()
    for text in texts:
        found = compute(text)
        row = {"text": text, **found.model_dump()}
        print_results([json_line(row)] if options.json else show(found))
        summary.count([found.prediction])
    if not summary.texts:
        raise _no_text(options, "explain")
    note(f"{summary}; {NEXT_ATTENTION if options.attention else NEXT_EXPLAIN[options.json]}")


def fill(options: argparse.Namespace) -> None:
    """Print the most probable words for each `[MASK]`."""
    gaps = load_language_model(options.model).fill(options.text, options.top)
    if options.json:
        print_results([json_line([[guess.model_dump() for guess in gap] for gap in gaps])])
        return
    print_results(
        f"{number}  {guess.probability:7.2%}  {plain(guess.word)}"
        for number, gap in enumerate(gaps, start=1)
        for guess in gap
    )
    note(f"the {options.top} best words for each of {len(gaps)} [MASK]; --top shows more")


def score(options: argparse.Namespace) -> None:
    """Print the log-probability of each token of a text, and their mean."""
    result = load_language_model(options.model).score(options.text)
    if options.json:
        print_results([json_line(result.model_dump())])
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
    say(
        f"params.yaml: the texts come from {options.file}; download.validation, test, unlabeled "
        "and labels are null; next: make, or dvc repro"
    )


def track(options: argparse.Namespace) -> None:
    """Update MLflow from the files."""
    from sentiformer.tracking.tracker import sync_all

    if not sync_all(options.data, seconds=TRACK_SECONDS):
        sys.exit(1)


def verify(options: argparse.Namespace) -> None:
    """Prove that a result is real: rebuild it, and compare it with what the commit says."""
    from sentiformer.core.files import write_json
    from sentiformer.verification.verify import RESULT, verify

    found = verify(options.bundle, here=options.here, from_remote=options.pull)
    write_json(Path(RESULT), found.as_dict())
    print_results(map(one_line, found.lines()))
    if not found.holds:
        raise UserError(f"not verified: {found.of}; {found.advice}; table → {RESULT}")
    say(f"verified: {found.summary} → {RESULT}")


def lineage(options: argparse.Namespace) -> None:
    """Print what made a model."""
    from tempfile import TemporaryDirectory

    from sentiformer.tracking.registry import download_model, find_run
    from sentiformer.verification.lineage import as_tree, lineage

    with TemporaryDirectory() as temporary, quick_start():
        if ":/" in options.model:
            folder = download_model(options.model, Path(temporary))
        else:
            from sentiformer.serving.model import find_model

            folder = find_model(Path(options.model))
        facts = lineage(folder, find_run)
    shown = [json.dumps(facts, indent=2)] if options.json else as_tree(options.model, facts)
    print_results(shown)
    note("next: sentiformer verify rebuilds the project and compares; --json has whole hashes")


def bundle(options: argparse.Namespace) -> None:
    """Write what a reviewer needs without Git or DVC to a ZIP file."""
    from sentiformer.verification.bundle import write_bundle

    written = write_bundle(options.file, Path.cwd())
    for line in written.summary():
        say(line)
    say(f"bundle → {options.file}; next: sentiformer verify {options.file}")


def compare(options: argparse.Namespace) -> None:
    """Compare two models that were evaluated on the same texts."""
    with quick_start():
        from sentiformer.evaluation.compare import compare

        found = compare(answers_of(options.a), answers_of(options.b))
    if options.json:
        print_results([json.dumps(found.as_dict(options.count))])
        return
    print_results([*found.lines(options.count), "", found.verdict])
    note(f"{found.summary(options.count)}; --json is for programs")


def answers_of(name: str) -> "Evaluated":
    """The answers on test of the model in a folder, in MLflow, or of a Git revision."""
    from tempfile import TemporaryDirectory

    from sentiformer.evaluation.evaluated import evaluated, of_evaluation

    if ":/" not in name:
        return evaluated(name)
    from sentiformer.tracking.registry import download_evaluation

    with TemporaryDirectory() as folder:
        return of_evaluation(name, *download_evaluation(name, Path(folder)))


def search(options: argparse.Namespace) -> None:
    """Train with other parameters, and keep the best on validation as an experiment of DVC."""
    from sentiformer.experiments.search import search

    search(
        options.space, trials=options.trials, minutes=options.minutes, folder=Path("data/search")
    )


def folds(options: argparse.Namespace) -> None:
    """Train and evaluate with other held-out texts."""
    from sentiformer.experiments.folds import run_folds

    run_folds(options.count, Path("data/folds"))


def publish(options: argparse.Namespace) -> None:
    """Publish a model with its model card in a folder, or on the Hugging Face Hub."""
    from tempfile import TemporaryDirectory

    from sentiformer.publish.publish import publish
    from sentiformer.serving.model import find_model

    name, to = options.model, (options.to, options.license)
    with TemporaryDirectory() as temporary, quick_start():
        if ":/" not in name:
            model = find_model(Path(name))
            say(publish(model, model.parent / "evaluation", *to))
            return
        from sentiformer.tracking.registry import download_evaluation, download_model

        model = download_model(name, Path(temporary) / "model")
        say(publish(model, download_evaluation(name, Path(temporary))[0], *to))


def demo(options: argparse.Namespace) -> None:
    """Serve a page on which a person tries a model, and answers for programs, until Ctrl-C."""
    from sentiformer.serving.explain import explain
    from sentiformer.web.nearest import NearestTexts
    from sentiformer.web.page import render_page
    from sentiformer.web.server import open_port, serve

    with open_port(options.port, options.host) as listener:
        with quick_start():
            model = load(options.model)
        classifier = model.classifier
        nearest = NearestTexts(model, data_folder(options.model))
        page = render_page(options.model, classifier.config, classifier.thresholds)
        explained = partial(model.each, compute=explain)
        serve(listener, model, explained, page, names=options.name, nearest=nearest)


def similar(options: argparse.Namespace) -> None:
    """Print the texts that are nearest to texts."""
    if options.column is not None and not options.file:
        raise UserError("--column is only for a table; leave it out, or give a table with --texts")
    if len(options.texts) == 1 and is_file(name := options.texts[0]):
        raise UserError(f"{name!r} is a file; give a text, or search the file with --texts {name}")
    with quick_start():
        model = load(options.model)
        from sentiformer.serving.similar import FOLDER, open_neighbours, own_texts, train_texts
    given = [*with_whole_characters(options.texts)]
    data, file = data_folder(options.model), options.file
    column = options.column or DEFAULT_COLUMN
    searched = own_texts(file, column) if file else train_texts(model, data / "raw")
    map_chunks = partial(model.map_chunks, workers=load_runtime().threads)
    neighbours = open_neighbours(model, searched, data / FOLDER, map_chunks)
    for text, found in zip(given, neighbours.search(given, options.count), strict=True):
        print_results([neighbours_as_json(text, found)] if options.json else as_rows(text, found))
    more = "" if options.json else ", --json prints whole texts"
    note(f"the nearest of {neighbours}; --count shows more{more}")


def data_folder(model: str) -> Path:
    """The folder beside a model that has the texts; of an MLflow address, that of the project."""
    return Path("data") if ":/" in model else Path(model).parent


def load_language_model(folder: Path) -> "LanguageModel":
    """Load the output of stage pretrain."""
    with quick_start():
        from sentiformer.serving.cloze import LanguageModel

        return LanguageModel(folder, load_runtime())


def chosen_texts(options: argparse.Namespace) -> Iterable[str | None]:
    """The texts of the command line, of the file that it names, or of standard input.

    Raises:
        UserError: the options contradict each other, or, while the texts are read, one cannot be
            read or has a lone surrogate, from an escape in JSON or bytes on the command line.
    """
    from sentiformer.core.text_files import TABLES, read_texts
    from sentiformer.core.text_lines import format_of

    texts, file = options.texts, options.file
    if file is not None and texts:
        raise UserError("texts and --file are both given; give one of the two")
    if len(texts) > 1 and "-" in texts:
        raise UserError("- is standard input; give it alone, or give texts")
    is_table = file is not None and file.suffix and format_of(file) != ".txt"
    if options.column is not None and not is_table:
        raise UserError("--column is only for a table; leave it out, or give a table with --file")
    if file is not None and not is_standard_input(file):
        return with_whole_characters(read_texts(file, options.column or DEFAULT_COLUMN, note))
    if len(texts) == 1 and not is_standard_input(texts[0]) and is_file(texts[0]):
        raise UserError(f"{texts[0]!r} is a file; classify its texts with --file {texts[0]}")
    if len(texts) == 1 and _is_word(texts[0]) and format_of(Path(texts[0])) in (*TABLES, ".txt"):
        raise UserError(
            f"there is no file {texts[0]!r}; --file takes a file; if it is a text, give it through "
            "standard input"
        )
    reads_input = not texts or is_standard_input(texts[0])
    return with_whole_characters(lines_of_standard_input() if reads_input else texts)


def with_whole_characters(texts: Iterable[str | None]) -> Iterator[str | None]:
    """Yield the texts; raise a UserError at one with a lone surrogate."""
    from sentiformer.core.text_files import require_whole_characters

    for number, text in enumerate(texts, start=1):
        if text is not None:
            require_whole_characters(text, f"text {number}")
        yield text


def chunks(texts: Iterable[str | None], size: int) -> Iterator[list[str | None]]:
    """Cut texts into lists of at most `size`."""
    texts = iter(texts)
    while chunk := list(islice(texts, size)):
        yield chunk


def is_file(name: str) -> bool:
    """Whether a file has this name; texts may be too long for a name, or have a null byte."""
    with suppress(OSError, ValueError):
        return Path(name).is_file()
    return False


def _is_word(text: str) -> bool:
    """Whether a text has no white space."""
    return len(text.split()) == 1


def _no_text(options: argparse.Namespace, verb: str) -> UserError:
    """The error for a file or for standard input that has no text at all."""
    if options.file is not None and not is_standard_input(options.file):
        return UserError(f"{options.file} has no rows; give a file that has some")
    return UserError(f"there is no text to {verb}; give a text, --file, or standard input")


def _share(text: str) -> float:
    """A number, as a type of argparse; the model checks its range."""
    try:
        return float(text)
    except ValueError:
        message = f"{text!r} is not a number from 0 to 1, such as 0.03"
        raise argparse.ArgumentTypeError(message) from None


def _count(text: str) -> int:
    """A whole number above 0, as a type of argparse."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _license(text: str) -> str:
    """A licence in the Hub's spelling, as a type of argparse; the Hub knows which there are."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", text):
        message = f"{text!r} is not a name of the Hub such as apache-2.0; "
        message += "https://huggingface.co/docs/hub/repositories-licenses lists them"
        raise argparse.ArgumentTypeError(message)
    return text


def _path(text: str) -> Path:
    """The path of a file or folder, as a type of argparse."""
    if not text:
        raise argparse.ArgumentTypeError("give a path, for example `make own FILE=reviews.csv`")
    return Path(text)


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """The options; a mistake ends the program with the usage of the command and one line."""
    parser, name = _parser(), arguments[0] if arguments else "-"
    commands: dict[str, argparse.ArgumentParser] = parser.get_default("commands")
    if not name.startswith("-") and name not in commands:
        near = difflib.get_close_matches(name, commands, n=1)
        fix = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(commands)}"
        parser.error(f"there is no command {name!r}; {fix}")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        commands.get(name, parser).error(f"unknown arguments: {' '.join(unknown)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentiformer",
        description="Classify texts with a trained model, and manage its files.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="command")
    parser.set_defaults(run=lambda _: parser.print_help(), commands=commands.choices)

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        return command

    command = add("predict", predict, "classify texts")
    _add_texts(command)
    _add_thresholds(command)
    command = add("explain", explain_texts, "show which words decided the class of a text")
    _add_texts(command)
    attention = "show the attention that each token receives, which is not an explanation"
    command.add_argument("--attention", action="store_true", help=attention)
    _add_similar(add("similar", similar, "find the training texts that are nearest to a text"))
    _add_compare(add("compare", compare, "compare two models on the test texts"))
    _add_demo(add("demo", demo, "try a model on a web page, and serve its answers as JSON"))
    _add_use(add("use", use, "train on a file of your own: changes params.yaml"))
    _add_search(add("search", search, "find better parameters by trials, scored on validation"))
    _add_folds(add("folds", folds, "cross-validation: mean and deviation over other test texts"))
    _add_publish(add("publish", publish, "write a model and its card to a folder or the Hub"))
    command = add("track", track, "update MLflow from the files in data/")
    command.add_argument("--data", type=Path, default=Path("data"), help="default: data")
    _add_verify(add("verify", verify, "rebuild the last commit, and compare the results"))
    _add_lineage(add("lineage", lineage, "print what made a model"))
    command = add("bundle", bundle, "write code, data and results to a ZIP file for a reviewer")
    command.add_argument("file", type=_path, help="a new file, such as out.zip")
    _add_fill(add("fill", fill, "guess the words at each [MASK] in a text (needs pretraining)"))
    help_text = "log-probability of each token of a text (needs pretraining)"
    _add_language_model(add("score", score, help_text))
    return parser


def _add_texts(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("texts", nargs="*", metavar="text", help="a text; without one, or with -, standard input")
    add("--file", type=Path, help="a CSV, TSV, JSON, Parquet or .txt file (one text per line)")
    add("--column", help=f"column of the texts in the file (default: {DEFAULT_COLUMN})")
    add("--json", action="store_true", help="print one JSON object per line")
    _add_model(command)


def _add_thresholds(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    help_text = 'answer "unsure" if the most probable class is less probable than this, as in 0.9'
    add("--min-confidence", type=_share, metavar="P", help=help_text)
    help_text = "the same, so that at most this share of the answers is wrong, as in 0.03"
    add("--max-errors", type=_share, metavar="SHARE", help=help_text)


def _add_compare(command: argparse.ArgumentParser) -> None:
    help_text = "a folder of a model, of data or of a project, an MLflow address such as "
    help_text += "models:/sentiformer/3, or a Git revision such as HEAD~1"
    command.add_argument("a", metavar="A", help=help_text)
    command.add_argument("b", metavar="B", help="the same")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    help_text = "texts that are shown, of those on which one model alone is right (default: 10)"
    command.add_argument("--count", type=_count, default=10, help=help_text)


def _add_search(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    help_text = "choices as in model.num_layers=1,2, or a range as in model.dropout=0.1..0.5"
    add("space", nargs="+", metavar="section.key=values", help=help_text)
    add("--trials", type=_count, default=20, help="with those of before (default: 20)")
    help_text = "begin no trial after so many minutes (default: no limit)"
    add("--minutes", type=_count, help=help_text)


def _add_verify(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    help_text = "a ZIP file of `sentiformer bundle` (default: the last commit of this project)"
    add("bundle", nargs="?", type=Path, metavar="bundle.zip", help=help_text)
    either = command.add_mutually_exclusive_group()
    help_text = "compare the files of this folder as they are; rebuild nothing"
    either.add_argument("--here", action="store_true", help=help_text)
    help_text = "take what DVC's default remote has, and rebuild only the rest"
    either.add_argument("--pull", action="store_true", help=help_text)


def _add_publish(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    help_text = "a folder (default: data/model), or an MLflow address such as models:/sentiformer/3"
    add("model", nargs="?", default="data/model", help=help_text)
    help_text = "a folder, or owner/name, a repository of the Hugging Face Hub"
    add("--to", required=True, metavar="FOLDER|OWNER/NAME", help=help_text)
    help_text = "licence of the model by its name on the Hub, such as apache-2.0"
    add("--license", type=_license, metavar="NAME", help=help_text)


def _add_lineage(command: argparse.ArgumentParser) -> None:
    help_text = "a folder (default: data/model), or an MLflow address such as models:/sentiformer/3"
    command.add_argument("model", nargs="?", default="data/model", help=help_text)
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _add_folds(command: argparse.ArgumentParser) -> None:
    help_text = "the first folds of the 1/download.held_out folds (default: all)"
    command.add_argument("count", nargs="?", type=_count, metavar="N", help=help_text)


def _add_similar(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("texts", nargs="+", metavar="text")
    add("--count", type=_count, default=5, help="texts to find (default: 5)")
    help_text = "search a CSV, TSV, JSON, Parquet or .txt file instead of the training texts"
    add("--texts", dest="file", metavar="FILE", type=Path, help=help_text)
    add("--column", help=f"column of the texts in the file (default: {DEFAULT_COLUMN})")
    add("--json", action="store_true", help="print one JSON object per line")
    _add_model(command)


def _add_demo(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    _add_model(command)
    add("--port", type=int, default=8000, help="default: 8000")
    add("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: 127.0.0.1)")
    help_text = "a name that other machines call this one by, such as api.example.org; repeatable"
    add("--name", action="append", default=[], help=help_text)


def _add_model(command: argparse.ArgumentParser) -> None:
    help_text = "a folder (default: data/model), or an MLflow address such as "
    help_text += "models:/sentiformer@champion"
    command.add_argument("--model", default="data/model", help=help_text)


def _add_use(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("file", type=_path, help="a CSV, TSV, JSON or Parquet file, or a folder of splits")
    add("--text", help="column of the texts (default: text, or the only one that it can be)")
    add("--label", help="column of the labels (default: label, or the only one that it can be)")
    add("--language", help="spaCy language code of the texts (default: unchanged)")


def _add_fill(command: argparse.ArgumentParser) -> None:
    command.add_argument("--top", type=_count, default=5, help="words per [MASK] (default: 5)")
    _add_language_model(command)


def _add_language_model(command: argparse.ArgumentParser) -> None:
    add, help_text = command.add_argument, "folder of stage pretrain (default: data/pretrained)"
    add("text")
    add("--json", action="store_true", help="print JSON on one line")
    add("--model", type=Path, default=Path("data/pretrained"), help=help_text)
