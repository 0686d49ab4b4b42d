"""How n-grams of words are numbered; for NumPy arrays and torch tensors alike.

The number of a word is its id. The key of an n-gram is the number of its first n-1 words times V,
plus the id of its last word, where V is the size of the vocabulary. The number of a known n-gram
is 1 plus the position of its key among the sorted keys of its length. 0 is the number and the key
of an unknown word or n-gram.

T is the number of words in a row. All integers are int64.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


def ngram_keys(numbers: Array, words: Array, vocab_size: int) -> Array:
    """Return the keys of the n-grams that end at each word, (..., T).

    The key is 0 where the first words or the last word are unknown, and at the first word.
    `numbers` are those of the (n-1)-grams that end at each word, (..., T); of bigrams, `words`.
    """
    before, last = numbers[..., :-1], words[..., 1:]
    keys = words * 0
    keys[..., 1:] = (before * vocab_size + last) * ((before > 0) & (last > 0))
    return keys


def ngram_numbers(keys: Array, known: Array) -> Array:
    """Return the numbers of n-grams of one length: ids in the shape of `keys`.

    A number is 1 + the position of the key in `known`, or 0 for an unknown n-gram.

    Args:
        keys: keys of the n-grams.
        known: sorted keys of the known n-grams of this length, (N,).
    """
    if not len(known):
        return keys * 0
    if isinstance(known, np.ndarray):
        positions = np.searchsorted(known, keys)
    else:
        import torch

        positions = torch.searchsorted(known, keys)
    positions = positions.clip(max=len(known) - 1)
    return (positions + 1) * (known[positions] == keys)
