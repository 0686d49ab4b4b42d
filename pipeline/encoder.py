"""Stage encoder: fetch the pretrained encoder from the Hub or a folder to data/encoder."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.encoder.fetch import fetch_encoder
from sentiformer.params import Params
from sentiformer.stage import stage

OUTPUT = Path("data/encoder")


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write the files of the checkpoint and source.json; without encoder.name only the latter."""
    with sealed_folder(OUTPUT) as folder:
        fetch_encoder(params.encoder, folder)
    say(f"→ {OUTPUT}")


if __name__ == "__main__":
    main()
