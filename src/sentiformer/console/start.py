"""A quick start of a command: most of its time is the import of packages."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

UNUSED = (  # what spaCy and torch import, and no prediction uses
    "spacy.cli",  # spaCy's command line, with an HTTP client
    "spacy.cli.info",
    "torch._meta_registrations",  # shapes of results, for torch's compiler
)


@contextmanager
def quick_start() -> Iterator[None]:
    """Import packages and load a model in about half of the time.

    Python's garbage collector does not look at what the imports make, neither now nor when the
    program ends, and modules that are not used are replaced by empty ones. Only for a program of
    our own: `spacy.info` and tensors on torch's device `meta` do not work afterwards.
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
