"""The Parquet file of a split in `data/raw`: text, label and source of each row."""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.data.labels import NO_LABEL
from sentiformer.data.quality import length_quantiles
from sentiformer.data.text_store import blocks

if TYPE_CHECKING:
    import pandas as pd

DIGEST_BYTES = 32


def write_split(
    path: Path,
    texts: Iterable[str],
    table: "pd.DataFrame",
    labels: Sequence[str],
    sources: Sequence[str],
) -> dict[str, Any]:
    """Write a split as Parquet; return its entry in `dataset.json`.

    Args:
        texts: N texts.
        table: N rows, with the columns label, a number in the list `labels` of names or -1, and
            source, a number in the list `sources` of names.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers, source_of = table["label"].to_numpy(), table["source"].to_numpy()
    schema = pa.schema([("text", pa.string()), ("label", pa.int64()), ("source", pa.string())])
    digests, lengths, size = bytearray(), array("q"), 0
    with pq.ParquetWriter(path, schema) as writer:
        for block in blocks(zip(texts, map(int, numbers), strict=True)):
            for text, label in block:
                digests += digest(text, label)
                lengths.append(len(text))
                size += len(text.encode())
            names = np.array(sources)[source_of[len(lengths) - len(block) : len(lengths)]]
            arrays = [pa.array(column) for column in (*zip(*block, strict=True), names)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    by_label = np.bincount(numbers[numbers != NO_LABEL], minlength=len(labels)).tolist()
    by_source = np.bincount(table["source"], minlength=len(sources)).tolist()
    return {
        "rows": len(numbers),
        "bytes": size,
        "label_counts": dict(zip(labels, by_label, strict=True)),
        "source_counts": dict(zip(sources, by_source, strict=True)),
        "fingerprint": fingerprint(digests),
        "characters": length_quantiles(np.array(lengths)),
    }


def digest(text: str, label: int) -> bytes:
    """The hash of a labelled text, from which `fingerprint` is computed."""
    return hashlib.sha256(f"{label}\0{text}".encode()).digest()


def fingerprint(digests: bytearray) -> str:
    """A hash of labelled texts in any order, from the `digest` of each; it sorts them in place."""
    import numpy as np

    np.frombuffer(digests, dtype=f"S{DIGEST_BYTES}").sort()
    return hashlib.sha256(digests).hexdigest()
