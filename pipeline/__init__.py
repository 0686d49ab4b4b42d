"""The stages: each file wires one function of the library to its inputs and outputs."""

import sys
from pathlib import Path

# A copy of the project, as `dvc exp run --temp` makes one, runs its own library, not the installed.
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sentiformer.console import answer_interrupts

answer_interrupts()
