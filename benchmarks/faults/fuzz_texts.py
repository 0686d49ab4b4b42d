"""Generated texts: a tiny model answers each, alone and beside others, in every interface."""

import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO, TextIOWrapper
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
OTHERS = 2  # texts in the same batch
SAMPLE = 10  # one in so many cases also goes through the command line and the server
LARGE = 1000  # one in so many texts has a megabyte
WORDS = [
    "the",
    "film",
    "was",
    "great",
    "and",
    "awful",
    "boring",
    "3",
    "10/10",
    "[MASK]",
    "U.S.A.",
    ":-)",
]
JSON = {"Content-Type": "application/json"}
SURROGATE = re.compile("[\ud800-\udfff]")
PIECES = [
    *(
        "",
        " ",
        "\n",
        "\t",
        "\r\n",
        "\0",
        "\x1b[31m",
        "\x1b]8;;http://x\x07y\x1b]8;;\x07",
        "\x07",
        "\x7f",
    ),
    *(
        "\ud800",
        "\udcff",
        "\udfff\ud800",
        "\ufeff",
        "\ufffe",
        "\uffff",
        "\u200b",
        "\u200d",
        "\u00ad",
    ),
    *(
        "\u202e",
        "\u2066",
        "\u200f",
        "\u061c",
        "\u2028",
        "\x85",
        "\u3000",
        "\u00a0",
        "e" + "\u0301" * 50,
    ),
    *(
        "😀",
        "👩‍👩‍👧‍👦",
        "🇩🇪",
        "\U0010ffff",
        "\U000e0041",
        "これは映画です",
        "الفيلم رائع",
        "это",
        "ｆｕｌｌ",
    ),
    *(
        "<br />",
        "<script>alert(1)</script>",
        "<img src=x onerror=y>",
        "&amp;",
        "&#x0;",
        "]]>",
        "<!--",
    ),
    *(
        "{{x}}",
        "{% x %}",
        "${x}",
        "%s",
        "%(x)s",
        "\\",
        "\\u0000",
        "'",
        '"',
        "`",
        "$(x)",
        "; x",
        "--",
        "-",
    ),
    *(
        "a" * 5000,
        "!" * 500,
        "1" * 5000,
        "a." * 300,
        "http://a.b/c?d=e",
        "a@b.c",
        "<unk>",
        "<pad>",
        "1e400",
    ),
]


def cases(folder: Path) -> Callable[[int], str]:
    """A function that tries the case of a number."""
    model = Tried(folder)
    return model.run


def make(number: int) -> str:
    """The text of a case."""
    rng = random.Random(f"texts {number}")
    parts = [_piece(rng) for _ in range(rng.choice((0, 1, 1, 2, 5, 20, 60)))]
    text = rng.choice(("", " ", " ", "\n")).join(parts)
    if number % LARGE == LARGE - 1:
        text = (text or "a ") * (2**20 // max(len(text), 2))
    return text


def _piece(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(WORDS)
    if kind < 0.8:
        return rng.choice(PIECES)
    plane = rng.choice((0, 0, 0x100, 0x1000, 0x10000, 0x20000, 0xE0000, 0x10FF00))
    return "".join(chr(plane + rng.randrange(256)) for _ in range(rng.choice((1, 3, 30))))


class Tried:
    """A tiny model, its language model, its search and its server."""

    def __init__(self, folder: Path) -> None:
        import sentiformer
        from sentiformer.core.runtime import load_runtime
        from sentiformer.serving.cloze import LanguageModel
        from sentiformer.serving.explain import explain
        from sentiformer.serving.similar import open_neighbours, train_texts

        data = _build(folder)
        self.model = sentiformer.load(data / "model")
        self.masked = LanguageModel(data / "pretrained", load_runtime())
        self.texts = train_texts(self.model, data / "raw")
        self.near = open_neighbours(self.model, self.texts, data / "similar", map)
        self.explain = partial(self.model.each, compute=explain)
        self.client = self._client()
        self.commands = _commands(self)

    def _client(self) -> Any:
        from fastapi.testclient import TestClient

        from sentiformer.web.server import HOST, make_app

        nearest = SimpleNamespace(found=self.near, reason="", preparing=False)
        app = make_app(self.model, self.explain, "", nearest=nearest)
        return TestClient(app, base_url=f"http://{HOST}")

    def run(self, number: int) -> str:
        """What is wrong with the answers to the text of a case; empty if nothing is."""
        text, rng = make(number), random.Random(number)
        others = [make(rng.randrange(LARGE - 1)) for _ in range(OTHERS)]
        [own] = self.model([text])
        checks = [self.predicted(text, own, others), self.explained(text), self.similar(text, own)]
        checks.append(self.filled(text, rng))
        if number % SAMPLE == 0:
            checks += [self.served(text, own), *(run(text) for run in self.commands)]
        return next(filter(None, checks), "")

    def predicted(self, text: str, alone: Any, others: list[str]) -> str:
        """Whether a prediction is one, and the same beside other texts."""
        from sentiformer.console.predictions import as_json, as_row

        last = self.model([*others, text])[-1]
        shares = alone.probabilities.values()
        if not math.isclose(sum(shares), 1, abs_tol=1e-6) or min(shares) < 0:
            return f"the probabilities are {shares}"
        if (alone.label == "?") != bool(alone.reason) or alone.label not in (*self.labels, "?"):
            return f"the label is {alone.label}, the reason {alone.reason!r}"
        apart = [abs(a - b) for a, b in zip(shares, last.probabilities.values(), strict=True)]
        if max(apart) > 1e-5 or alone.label != last.label:
            return f"beside other texts, the prediction is another: {alone} and {last}"
        print(as_row(text, alone))
        if json.loads(as_json(text, alone))["text"] != text or "\n" in as_row(text, alone):
            return "the line of the prediction is not one, or does not hold the text"
        return ""

    @property
    def labels(self) -> list[str]:
        """The names of the classes."""
        return self.model.classifier.labels

    def explained(self, text: str) -> str:
        """Whether the contributions sum to the log-odds of the prediction."""
        [found] = self.explain([text])
        if found.label == "?":
            return "it is explained, but not judged" if found.tokens else ""
        if not len(found.tokens) == len(found.spaces) == len(found.contributions):
            return "the explanation has not a number for each token"
        share = found.prediction.probability
        odds, total = math.log(share / (1 - share)), found.baseline + sum(found.contributions)
        return "" if abs(odds - total) < 1e-2 else f"contributions sum to {total}, not {odds}"

    def similar(self, text: str, own: Any) -> str:
        """Whether the similar texts are training texts, the nearest first."""
        [found] = self.near.search([text], 3)
        values = [neighbour.similarity for neighbour in found]
        if any(self.texts.texts[neighbour.row] != neighbour.text for neighbour in found):
            return "a similar text is not that of its row"
        right = values == sorted(values, reverse=True) and len(found) == 3 * (own.label != "?")
        return "" if right else f"the similarities are {values}"

    def filled(self, text: str, rng: random.Random) -> str:
        """Whether each gap of a text gets words with probabilities."""
        from sentiformer.core.errors import UserError

        at = rng.randrange(len(text) + 1)
        text = f"{text[:at]} [MASK] {text[at:]}"
        try:
            gaps = self.masked.fill(text, 3)
        except UserError:
            return ""
        shares = [[guess.probability for guess in gap] for gap in gaps]
        right = all(len(gap) == 3 and gap == sorted(gap, reverse=True) for gap in shares)
        right = right and len(gaps) == text.count("[MASK]") and min(map(min, shares)) >= 0
        return (
            "" if right and max(map(max, shares)) <= 1 else f"the words of the gaps have {shares}"
        )

    def served(self, text: str, own: Any) -> str:
        """Whether the server gives the prediction, or refuses a long text."""
        for path, key in (
            ("predict", "predictions"),
            ("explain", "explanations"),
            ("similar", "similar"),
        ):
            body = json.dumps({"texts": [text]})
            answer = self.client.post(f"/{path}", content=body, headers=JSON)
            allowed = len(text) <= 100_000 and not SURROGATE.search(text)
            refused = not allowed and answer.status_code in (413, 422)
            if not refused and answer.status_code != 200:
                return f"the server answers /{path} by {answer.status_code}: {answer.text:.100}"
            if path == "predict" and not refused:
                given = answer.json()[key][0]
                if (
                    given["label"] != own.label
                    or abs(given["probability"] - own.probability) > 1e-3
                ):
                    return f"the server predicts {given}"
        return ""


def _build(folder: Path) -> Path:
    """A tiny project of the tests; its folder data."""
    sys.path.append(str(ROOT / "tests"))
    from conftest import made_up_reviews, run_stages, tiny_params, write_package

    write_package(folder / "site", made_up_reviews())
    sys.path.insert(0, str(folder / "site"))
    run_stages(tiny_params(), folder / "data")
    return folder / "data"


def _commands(tried: Tried) -> list[Callable[[str], str]]:
    """The commands of a text, which use models that are loaded already."""
    from sentiformer import cli

    cli.load = lambda _: tried.model
    cli.load_language_model = lambda _: tried.masked
    names = (["predict", "--json"], ["predict"], ["explain"], ["explain", "--json"], ["fill"])
    return [partial(_run_command, cli.main, name) for name in names]


def _run_command(main: Callable[[list[str]], None], name: list[str], text: str) -> str:
    """Whether a command ends with an answer or with one line."""
    with _no_input():
        try:
            main([*name, "--", text])
        except SystemExit as end:
            line = str(end.code)
            if not line.startswith("error: ") or len(line.splitlines()) > 1:
                return f"{' '.join(name)} ends with {line!r}"
    return ""


@contextmanager
def _no_input() -> Iterator[None]:
    before, sys.stdin = sys.stdin, TextIOWrapper(BytesIO())
    try:
        yield
    finally:
        sys.stdin = before
