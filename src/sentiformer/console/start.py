"""A quick start of a command: most of its time is the import of packages."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

UNUSED = ("spacy.cli", "spacy.cli.info")  # spaCy's command line; spaCy imports it, nothing uses it


@contextmanager
def quick_start() -> Iterator[None]:
    """Import packages and load a model in two thirds of the time.

    Python's garbage collector does not look at what the imports make, neither now nor when the
    program ends, and spaCy is imported without its command line. Only for a program of our own:
    `spacy.info` is missing afterwards.
    """
    unused = {name: ModuleType(name) for name in UNUSED if name not in sys.modules}
    for module in unused.values():
        module.info = None  # type: ignore[attr-defined]
    sys.modules.update(unused)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        for name in unused:
            del sys.modules[name]
