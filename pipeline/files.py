"""Stage files: the hashes of the user's files, on which stage download depends."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.files import write_json
from sentiformer.core.runtime import Runtime
from sentiformer.data.file_hashes import hash_files
from sentiformer.params import Params
from sentiformer.stage import stage

OUTPUT = Path("data/source/files.json")


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write the name, size and SHA-256 of each file."""
    hashes = hash_files(params.download)
    write_json(OUTPUT, hashes)
    counts = ", ".join(f"{split} {len(files):,}" for split, files in hashes.items())
    say(f"your files: {counts or 'none'} → {OUTPUT}")


if __name__ == "__main__":
    main()
