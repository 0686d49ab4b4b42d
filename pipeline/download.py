"""Stage download: write the labelled texts of a source to data/raw."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.data.download import download
from sentiformer.data.quality import summarize
from sentiformer.params import Params
from sentiformer.stage import stage

OUTPUT = Path("data/raw")


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write a Parquet file for each split, near_duplicates.csv and dataset.json."""
    with sealed_folder(OUTPUT) as folder:
        dataset = download(params.download, folder, workers=runtime.threads)
    say(f"{summarize(dataset)} → {OUTPUT}")


if __name__ == "__main__":
    main()
