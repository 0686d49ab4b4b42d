"""A tree of facts, as lines for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from sentiformer.core.errors import one_line


def tree(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each fact; the facts of a mapping follow its name.

    A fact that is None is unknown; of one that is "", only the name is shown.
    """
    for number, (name, value) in enumerate(facts.items(), start=1):
        branch, below = ("└─ ", "   ") if number == len(facts) else ("├─ ", "│  ")
        if isinstance(value, Mapping) and value:
            yield branch + one_line(name)
            yield from (below + line for line in tree(value))
        else:
            text = "unknown" if value is None else "none" if value == {} else str(value)
            yield branch + one_line(f"{name}: {text}" if text else name)
