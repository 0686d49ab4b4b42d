"""Texts of data/raw to integers in data/tokens."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.params import Params
from sentiformer.stage import stage
from sentiformer.text.tokenizer import tokenize

INPUT, OUTPUT = Path("data/raw"), Path("data/tokens")


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write a corpus of type ids for each split, the list of types, and corpus.json."""
    with sealed_folder(OUTPUT) as folder:
        corpus = tokenize(params.tokenize, INPUT, folder, workers=runtime.threads)
    tokens = sum(facts["tokens"] for facts in corpus["splits"].values())
    by = f"spaCy's {corpus['segmenter']}, language {params.tokenize.language}"
    say(f"tokens: {tokens:,} of {corpus['types']:,} types by {by} → {OUTPUT}")


if __name__ == "__main__":
    main()
