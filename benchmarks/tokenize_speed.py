"""Speed of tokenizing data/raw, compared with a loop over spaCy's tokenizer.

Our time is that of the stage's function, which includes reading, all worker processes, numbering
and writing. spaCy's loop runs over a sample in this process, after twice as many other texts as a
warm-up. Its time is scaled to all texts. Both must give the same tokens for the sample.
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
    """Measure both and print one line for each."""
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
    texts, tokens = (sum(facts[key] for facts in splits) for key in ("rows", "tokens"))

    reviews = pq.read_table(options.raw / "train.parquet", columns=["text"])["text"].to_pylist()
    sample, others = reviews[: options.sample], reviews[options.sample : 3 * options.sample]
    loop = spacy.blank("en").tokenizer
    for text in others:  # spaCy caches the chunks that it has split
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
