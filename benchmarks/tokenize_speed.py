"""Tokenization of data/raw beside spaCy's own loop, in one run.

Ours is the stage's function: reading, all worker processes, numbering and writing included. spaCy's
loop runs over a sample in this process, after twice as many other texts; its time is scaled to all.
Of the sample both give the same tokens.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import spacy

from sentiformer.core.runtime import load_runtime
from sentiformer.text.params import TokenizeParams
from sentiformer.text.tokenizer import Tokenizer, tokenize


def main() -> None:
    """Measure both and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="what download wrote")
    parser.add_argument("--sample", type=int, default=1000, help="texts for spaCy's loop")
    options = parser.parse_args()
    workers = load_runtime().threads

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        corpus = tokenize(TokenizeParams(language="en"), options.raw, Path(folder), workers=workers)
    ours = time.perf_counter() - start
    splits = corpus["splits"].values()
    texts, tokens = (sum(facts[of] for facts in splits) for of in ("rows", "tokens"))

    reviews = pq.read_table(options.raw / "train.parquet", columns=["text"])["text"].to_pylist()
    sample, others = reviews[: options.sample], reviews[options.sample : 3 * options.sample]
    loop = spacy.blank("en").tokenizer
    for text in others:  # it remembers the chunks that it has cut
        spacy_tokens(loop, text)
    start = time.perf_counter()
    expected = [spacy_tokens(loop, text) for text in sample]
    theirs = (time.perf_counter() - start) * texts / len(sample)
    assert Tokenizer("en")(sample) == expected, "the tokens differ from spaCy's"

    print(f"{texts:,} texts, {tokens:,} tokens")
    print(f"ours, {workers} processes: {ours:.1f} s")
    print(f"spaCy's loop, scaled from {len(sample):,} texts: {theirs:.1f} s, {theirs / ours:.1f}x")


def spacy_tokens(loop: spacy.tokenizer.Tokenizer, text: str) -> list[str]:
    """A text's tokens by spaCy alone."""
    tokens = loop(text.replace("<br />", " "))
    return [token.text.lower() for token in tokens if not token.is_space]


if __name__ == "__main__":
    main()
