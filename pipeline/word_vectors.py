"""First vectors of words and n-grams, from train and unlabelled texts, to data/word_vectors."""

from pathlib import Path

from sentiformer.config import load_params, load_runtime
from sentiformer.console import say, stage
from sentiformer.files import whole_folder
from sentiformer.timings import keep_seconds
from sentiformer.word_vectors import FILE, STAGE, fit_word_vectors

DATA = Path("data")
OUTPUT = DATA / "word_vectors"


@stage
def main() -> None:
    """Write the first vectors of the words of a Transformer of this width."""
    params, runtime = load_params(), load_runtime()
    asked = params.word_vectors, params.model.d_model
    with whole_folder(OUTPUT) as folder:
        seconds = fit_word_vectors(*asked, data=DATA, folder=folder, workers=runtime.threads)
    keep_seconds(STAGE, OUTPUT / FILE, seconds)
    say(f"word vectors → {OUTPUT}")


if __name__ == "__main__":
    main()
