"""Memory and speed of the data stages on a corpus that is larger than the memory they may use.

    python benchmarks/large_corpus.py --megabytes 3000 --limit 300

It generates reviews, and runs download, tokenize and build_vocab on them, each in a process of its
own, and before on 2 MB. The limit is for the growth of anonymous memory from the small corpus to
the large one, summed over the processes of a stage. Pages of mapped files are not counted, because
the system takes them back when memory is short. A stage beyond the limit makes the exit code 1.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import yaml

ROOT = Path(__file__).parents[1]
STAGES = ("download", "tokenize", "build_vocab")
WORDS = 50_000  # different words, with frequencies by Zipf's law
REVIEW = 200  # words of a review
SECONDS = 0.05  # between two measurements
MB = 1_000_000
SMALL = 2 * MB  # of the corpus that the large one is compared with


def main() -> None:
    """Generate the corpus, run the stages, and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100, help="of text (default: 100)")
    parser.add_argument("--limit", type=int, default=300, help="of memory in MB (default: 300)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        small, large = Path(temporary, "small"), Path(temporary, "large")
        prepare(small, SMALL)
        rows = prepare(large, options.megabytes * MB)
        size = (large / "reviews.csv").stat().st_size
        print(f"{rows:,} reviews, {size / MB:,.0f} MB; limit {options.limit} MB", flush=True)
        growths = []
        for stage in STAGES:
            before, _ = run(stage, small)
            peak, seconds = run(stage, large)
            growths.append(peak - before)
            print(
                f"{stage:<12} {before / MB:5.0f} MB grow to {peak / MB:5.0f} MB, {seconds:6.1f} s, "
                f"{rows / seconds:,.0f} rows/s",
                flush=True,
            )
    sys.exit(max(growths) > options.limit * MB)


def generate(path: Path, size: int) -> int:
    """Write a CSV of random reviews of about `size` bytes; returns their number."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{number:x}" for number in range(WORDS)])
    weights = 1 / np.arange(1, WORDS + 1)
    cumulative, rows = np.cumsum(weights / weights.sum()), 0
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        while file.tell() < size:
            places = np.searchsorted(cumulative, rng.random((1000, REVIEW)) * cumulative[-1])
            for row in words[places]:
                file.write(f"{' '.join(row)},{('bad', 'good')[rows % 2]}\n")
                rows += 1
    return rows


def prepare(folder: Path, size: int) -> int:
    """Make a folder a project on a corpus of about `size` bytes; returns its number of rows."""
    (folder / "data").mkdir(parents=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["download"] |= {"source": "files", "train": "reviews.csv"}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(ROOT / "dvc.yaml", folder)
    return generate(folder / "reviews.csv", size)


def run(stage: str, folder: Path) -> tuple[int, float]:
    """Run a stage; returns its largest anonymous memory in bytes, and its seconds."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    command, begun, peak = [sys.executable, "-m", f"pipeline.{stage}"], time.monotonic(), 0
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=sys.stderr) as process:
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(SECONDS)
    if process.returncode:
        sys.exit(f"error: the stage {stage} failed; see its message above")
    return peak, time.monotonic() - begun


def anonymous(pid: int) -> int:
    """The anonymous memory of a process and its children in bytes; shared pages count once."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(OSError):  # it has ended
                text = Path(f"/proc/{each.pid}/smaps_rollup").read_text()
                total += sum(int(kib) * 1024 for kib in re.findall(r"Pss_Anon: +(\d+) kB", text))
    return total


if __name__ == "__main__":
    main()
