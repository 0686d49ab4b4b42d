"""MinHash: estimates how similar sets are, and finds candidates among many in little memory.

The similarity of two sets is their Jaccard similarity. The package `rensa` computes signatures, of
which the share of equal values estimates it (Broder 1997, On the resemblance and containment of
documents). Candidates are the sets whose signatures agree in all values of a band (Leskovec,
Rajaraman and Ullman 2014, Mining of Massive Datasets, chapter 3).
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BANDS, BAND_VALUES = 30, 3  # find 98 % of the sets with similarity 0.5, 99.9 % with 0.6
VALUES = BANDS * BAND_VALUES
SEED = 1
BLOCK_SETS = 256
FACTORS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # odd, for a hash of the values of a band


class Index:
    """The signatures of N sets in a file, and for each band their order in memory, 240 N bytes."""

    def __init__(self, sets: Iterable[Iterable[str]], file: IO[bytes]) -> None:
        """Write the signatures of the sets, at least one, to an empty file."""
        import numpy as np

        keys = []
        for block in signatures(sets):
            file.write(block.tobytes())
            keys.append(_band_keys(block))
        file.flush()
        self._signatures = np.memmap(file, np.uint32, mode="r").reshape(-1, VALUES)
        self._keys = np.concatenate(keys, axis=1)
        self._order = np.empty_like(self._keys)
        for keys_of_band, order in zip(self._keys, self._order, strict=True):
            order[:] = np.argsort(keys_of_band, kind="stable")
            keys_of_band[:] = keys_of_band[order]

    def search(self, sets: Iterable[Iterable[str]]) -> Iterator[tuple[int, int, float]]:
        """Yield the number of a set, that of a candidate in the index, and their estimate."""
        import numpy as np

        first = 0
        for block in signatures(sets):
            pairs = [*zip(self._keys, _band_keys(block), strict=True)]
            starts, ends = (
                np.stack([np.searchsorted(known, keys, side) for known, keys in pairs])
                for side in ("left", "right")
            )
            for row in np.flatnonzero((starts < ends).any(axis=0)):
                slices = zip(self._order, starts[:, row], ends[:, row], strict=True)
                found = np.unique(
                    np.concatenate([order[start:end] for order, start, end in slices])
                )
                estimates = (self._signatures[found] == block[row]).mean(axis=1)
                for candidate, estimate in zip(found.tolist(), estimates.tolist(), strict=True):
                    yield first + int(row), candidate, estimate
            first += len(block)


def signatures(sets: Iterable[Iterable[str]]) -> "Iterator[np.ndarray]":
    """Yield the signatures of sets in blocks, (B, `VALUES`)."""
    import numpy as np

    values = map(_signature, sets)
    while block := list(islice(values, BLOCK_SETS)):
        yield np.array(block, np.uint32)


def _signature(elements: Iterable[str]) -> list[int]:
    from rensa import RMinHash

    found = RMinHash(num_perm=VALUES, seed=SEED)
    found.update(elements)
    return found.digest()


def _band_keys(signatures: "np.ndarray") -> "np.ndarray":
    """A hash of the values of each band, (`BANDS`, B), from signatures (B, `VALUES`)."""
    import numpy as np

    values = signatures.reshape(-1, BANDS, BAND_VALUES) * np.array(FACTORS, np.uint32)
    return values.sum(axis=2, dtype=np.uint32).T
