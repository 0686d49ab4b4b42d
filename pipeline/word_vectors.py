"""First vectors of words and n-grams, from train and unlabelled texts, to data/word_vectors."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.environment import write_environment
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.features.word_vectors import fit_word_vectors
from sentiformer.params import Params
from sentiformer.stage import stage

DATA = Path("data")
OUTPUT = DATA / "word_vectors"


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write initial vectors of the width of the model."""
    with sealed_folder(OUTPUT) as folder:
        fit_word_vectors(
            params.word_vectors,
            params.model.d_model,
            data=DATA,
            folder=folder,
            workers=runtime.threads,
        )
        write_environment(folder)
    say(f"word vectors → {OUTPUT}")


if __name__ == "__main__":
    main()
