"""Writes record.json: the hash of each file of the earlier stages, and their environment."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.runtime import Runtime
from sentiformer.params import Params
from sentiformer.stage import stage
from sentiformer.verification.record import RECORD, write_record


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Describe what the stages have written."""
    record = write_record(Path())
    files = sum(map(len, record.files.values()))
    say(f"{files} files → {RECORD}; next: commit it with dvc.lock, for `sentiformer verify`")


if __name__ == "__main__":
    main()
