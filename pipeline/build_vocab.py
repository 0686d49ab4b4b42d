"""The most frequent types of data/tokens, written to data/vocab."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.params import Params
from sentiformer.stage import stage
from sentiformer.text.vocab import build_vocab

INPUT, OUTPUT = Path("data/tokens"), Path("data/vocab")


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write the vocabulary, and its coverage of each split."""
    with sealed_folder(OUTPUT) as folder:
        coverage = build_vocab(params.build_vocab, INPUT, folder)
    unknown = ", ".join(f"{split} {s:.2%}" for split, s in coverage["unknown_share"].items())
    say(f"vocabulary: {coverage['size']:,} words; unknown tokens: {unknown} → {OUTPUT}")


if __name__ == "__main__":
    main()
