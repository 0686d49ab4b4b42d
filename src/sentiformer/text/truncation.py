"""The part of a long text that a network reads."""

import numpy as np


def truncate(ids: np.ndarray, max_len: int) -> np.ndarray:
    """Keep at most `max_len` ids: one half from the beginning, one half from the end."""
    if len(ids) <= max_len:
        return ids
    head = max_len // 2
    return np.concatenate([ids[:head], ids[head - max_len :]])
