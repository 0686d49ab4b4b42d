"""The stages: each file connects one function of the library to its inputs and outputs."""

import sys
from pathlib import Path

# In a copy of the project, as `dvc exp run --temp` makes one, use the copy's library.
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sentiformer.console.interrupt import install_interrupt_handler

install_interrupt_handler()
