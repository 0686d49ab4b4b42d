"""How faithful explanations are: what a prediction loses without the tokens that they name.

    python benchmarks/explain.py --model data/model --raw data/raw

Of each test text, the tenth of the tokens that a method ranks highest is removed. The fall of the
predicted class's log-odds is compared with that after removing a random tenth. The methods:

- integrated gradients: what `sentiformer explain` shows
- leave-one-out: the fall of the log-odds without the token, for each token
- LIME (Ribeiro et al. 2016): the package lime, which is no requirement: `pip install lime`
- attention: the attention that the token receives

The time is that of one text, one text at a time, in SENTIFORMER_THREADS threads. On a busy machine
all times are too high; compare them with that of a prediction.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow.parquet as pq
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from sentiformer import load
from sentiformer.core.environment import processor_name
from sentiformer.serving.attention import attention as received_attention
from sentiformer.serving.explain import explain
from sentiformer.serving.model import Model
from sentiformer.serving.predictor import UNJUDGED, Prediction

Result = TypeVar("Result")
SHARE = 0.1  # of the tokens that are removed
SEED = 0
METHODS = ("integrated gradients", "leave-one-out", "LIME", "attention")


class Example(NamedTuple):
    """A text as its tokens, joined by spaces, and the number of its predicted class."""

    text: str
    tokens: list[str]
    label: int
    prediction: Prediction


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "data/model")
    parser.add_argument("--raw", type=Path, default=ROOT / "data/raw", help="its test.parquet")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--samples", type=int, default=1000, help="of LIME, for each text")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    options = parser.parse_args()
    model = load(options.model)
    examples = choose(model, options.raw, options.texts)
    print(f"{processor_name()}, threads: {torch.get_num_threads()}, torch {torch.__version__}")
    print(f"{len(examples)} test texts, {np.mean([len(e.tokens) for e in examples]):.0f} tokens")
    whole = log_odds(model, [e.tokens for e in examples], [e.label for e in examples])
    random = np.abs(whole - without(model, examples, random_scores(examples)))
    print(f"log-odds {whole.mean():.2f}; a random tenth moves them by {random.mean():.3f}")
    _, seconds = timed(lambda example: model([example.text]), examples)
    print(f"prediction: {seconds * 1e3:.0f} ms a text")
    scorers = dict(zip(METHODS, (gradients, leave_one_out, lime, attention), strict=True))
    for name in options.methods:
        scores, seconds = timed(lambda e, name=name: scorers[name](model, e, options), examples)
        fall = whole - without(model, examples, scores)
        error, times = 1.96 * fall.std() / len(fall) ** 0.5, fall.mean() / random.mean()
        found = f"falls by {fall.mean():.2f} ± {error:.2f}, {times:.1f} times a random tenth"
        print(f"{name:<20}  {found}; {seconds * 1e3:.0f} ms a text", flush=True)


def timed(
    function: Callable[[Example], Result], examples: list[Example]
) -> tuple[list[Result], float]:
    """The results for some texts, and the seconds for each."""
    function(examples[0])  # the first takes longer
    start = time.perf_counter()
    found = [function(example) for example in examples]
    return found, (time.perf_counter() - start) / len(examples)


def choose(model: Model, raw: Path, count: int) -> list[Example]:
    """Test texts, chosen at random, that the model can judge."""
    texts = pq.read_table(raw / "test.parquet", columns=["text"])["text"].to_pylist()
    rows = np.random.default_rng(SEED).permutation(len(texts))[: 2 * count]
    tokens = [words for words in model.tokens([texts[row] for row in rows]) if words]
    found = [" ".join(words) for words in tokens]
    labels = model.classifier.labels
    examples = [
        Example(text, words, labels.index(prediction.label), prediction)
        for text, words, prediction in zip(found, tokens, model(found), strict=True)
        if prediction.label != UNJUDGED
    ]
    return examples[:count]


def probabilities(model: Model, tokens: list[list[str]]) -> np.ndarray:
    """The (N, C) probabilities of the classes of texts of which the tokens are given."""
    classifier = model.classifier
    found = classifier.probabilities([" ".join(words) for words in tokens], tokens)
    ngrams = classifier.ngrams
    return found if ngrams is None else (found + ngrams.probabilities(tokens)) / 2


def log_odds(model: Model, tokens: list[list[str]], labels: Sequence[int]) -> np.ndarray:
    """The log-odds of a class of each text, (N,), of which the tokens are given."""
    found = probabilities(model, tokens)
    chosen = found[np.arange(len(found)), labels].clip(1e-12, 1 - 1e-12)
    return np.log(chosen) - np.log1p(-chosen)


def without(model: Model, examples: list[Example], scores: list[np.ndarray]) -> np.ndarray:
    """The log-odds without the tenth of the tokens that have the highest scores."""
    left = []
    for example, values in zip(examples, scores, strict=True):
        count = max(1, round(SHARE * len(values)))
        removed = set(np.argsort(-values, kind="stable")[:count].tolist())
        left.append([word for place, word in enumerate(example.tokens) if place not in removed])
    return log_odds(model, left, [example.label for example in examples])


def random_scores(examples: list[Example]) -> list[np.ndarray]:
    """Random scores of the tokens of each text."""
    rng = np.random.default_rng(SEED)
    return [rng.random(len(example.tokens)) for example in examples]


def gradients(model: Model, example: Example, _: argparse.Namespace) -> np.ndarray:
    """The contributions that `sentiformer explain` shows."""
    words, prediction = example.tokens, example.prediction
    return np.array(explain(model.classifier, example.text, words, prediction).contributions)


def leave_one_out(model: Model, example: Example, _: argparse.Namespace) -> np.ndarray:
    """The fall of the log-odds without each token."""
    words, label = example.tokens, example.label
    texts = [words, *(words[:place] + words[place + 1 :] for place in range(len(words)))]
    found = log_odds(model, texts, [label] * len(texts))
    return found[0] - found[1:]


def lime(model: Model, example: Example, options: argparse.Namespace) -> np.ndarray:
    """The weight of each token's word in LIME's linear model."""
    from lime.lime_text import LimeTextExplainer

    def classify(texts: list[str]) -> np.ndarray:
        return probabilities(model, [text.split() for text in texts])

    explainer = LimeTextExplainer(split_expression=str.split, random_state=SEED)
    chosen = {"labels": (example.label,), "num_features": len(example.tokens)}
    found = explainer.explain_instance(
        example.text, classify, num_samples=options.samples, **chosen
    )
    weights = dict(found.as_list(label=example.label))
    return np.array([weights.get(word, 0.0) for word in example.tokens])


def attention(model: Model, example: Example, _: argparse.Namespace) -> np.ndarray:
    """The attention that each token receives."""
    words, prediction = example.tokens, example.prediction
    return np.array(received_attention(model.classifier, example.text, words, prediction).shares)


if __name__ == "__main__":
    main()
