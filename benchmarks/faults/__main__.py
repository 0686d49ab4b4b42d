"""Try faults on a tiny project, and count how often it survives.

    python -m benchmarks.faults kills disk --count 10

It needs the packages of the tests, takes minutes, and writes to temporary folders alone. It ends
with 1 if a case does not hold; its line says how to reproduce it.
"""

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

from benchmarks.faults import Row

COUNTS = {  # by name of the module: how many cases it tries
    "kills": 100,
    "disk": 30,
    "damage": 300,
    "environments": 30,
    "tracking": 50,
    "fuzz": 10_000,
}


def main() -> None:
    """Try the faults that are asked for, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COUNTS)}")
    parser.add_argument("--count", type=int, help="cases of each; default: the full number")
    options = parser.parse_args()
    if unknown := set(options.names) - set(COUNTS):
        parser.error(f"{', '.join(sorted(unknown))}: no such faults; give some of {list(COUNTS)}")
    rows = []
    for name in options.names or COUNTS:
        rows += try_faults(name, options.count or COUNTS[name])
    show(rows)
    sys.exit(any(row.held < row.tried for row in rows))


def try_faults(name: str, count: int) -> list[Row]:
    """The rows of a module of this package; its scratch folder is deleted afterwards."""
    module = importlib.import_module(f"benchmarks.faults.{name}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as folder:
        found = list(module.check(Path(folder), count))
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return found


def show(rows: list[Row]) -> None:
    """Print the table, and a line for each case that did not hold."""
    width = max((len(row.fault) for row in rows), default=0)
    print(f"\n{'fault':{width}}  tried   held  longest")
    for row in rows:
        print(f"{row.fault:{width}} {row.tried:6,} {row.held:6,} {row.longest:6.1f} s")
    for row in rows:
        for failure in row.failures:
            print(f"{row.fault}: {failure}")


if __name__ == "__main__":
    main()
