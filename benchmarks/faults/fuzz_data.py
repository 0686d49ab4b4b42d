"""Damaged and odd data files: each is refused in one line, or its rows are those of other readers.

The other readers are pandas for CSV, the module json, and pyarrow for Parquet.
"""

import bz2
import csv
import gzip
import io
import json
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sentiformer.core.columns import Columns
from sentiformer.core.text_files import guess_columns
from sentiformer.core.text_lines import format_of
from sentiformer.data.download import download, read_source
from sentiformer.data.params import DownloadParams
from sentiformer.data.source import Row, columns_of
from sentiformer.data.tables import store_source
from sentiformer.data.text_store import TextStore
from sentiformer.data.user_files import find_files

ROWS = 40
WHOLE = 10  # one in so many cases runs the whole stage
COMMITTED = {
    "source": "files",
    "hub_dataset": "a/b",
    "hub_revision": "main",
    "train": None,
    "validation": None,
    "test": None,
    "unlabeled": None,
    "labels": None,
    "min_texts": 1,
    "text_column": "text",
    "label_column": "label",
    "held_out": 0.2,
    "fold": 0,
}
TEXTS = [
    *("a fine film", 'he said "no"', "one, two; three", "two\nlines", "tab\there", "naïve café ☕"),
    *(
        "",
        " ",
        "\u200b",
        "NaN",
        "null",
        "1",
        "1e5",
        "=1+1",
        "<b>bold</b>",
        "a\u202eb",
        "\x1b[31mred",
    ),
    *(
        "x" * 200_000,
        "e\u0301",
        "\U0001f600",
        "\ud800",
        "it''s",
        "a|b",
        "#",
        "a\\n",
        "\u2028",
        "\x85",
    ),
]
LABELS = [
    *("", " ", "pos", "neg", "POS", "nan", "NA", "None", "?", "-1", "0", "1", "1.0", "01", "1e400"),
    *(
        "true",
        "False",
        "\x1b[31m",
        "a/b",
        "../x",
        "\u202e",
        "ｐｏｓ",
        "p\u200bos",
        "x" * 10_000,
        "\ud800",
    ),
]
VALUES: list[Any] = [
    *(None, True, 1, 0, -1, 1.0, 0.5, float("nan"), float("inf"), 2**70, "1", "", [], ["pos"]),
    *(["a", "b"], {}, {"a": 1}, [[]], "pos", "\ud800", 10**400),
]
MAGIC = [
    *(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        b"PK\x03\x04",
        b"PAR1",
    ),
    *(
        b"PARE",
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"BZh91AY&SY",
        b"\xfd7zXZ",
        b"%PDF-1.7",
        b"ARROW1",
    ),
    *(b"SQLite format 3\0", b"\xd0\xcf\x11\xe0", b"<!doctype html>", b"\xff\xfe", b"", b"\0" * 99),
    *(
        b"\x89PNG",
        b"\x7fELF",
        b"OggS",
        b"ustar",
        b"[",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"\n\n",
        b"text,label",
    ),
]
SUFFIXES = [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"]
Rows = list[tuple[Any, Any]]


def cases(folder: Path) -> Callable[[int], str]:
    """A function that tries the case of a number."""

    def run(number: int) -> str:
        place = folder / f"case{number}"
        place.mkdir()
        try:
            return wrong_rows(*make(number, place), place)
        finally:
            shutil.rmtree(place)

    return run


def make(number: int, place: Path) -> tuple[DownloadParams, int]:
    """Write the files of a case, and give its parameters."""
    rng = random.Random(f"data {number}")
    paths = {"train": place / f"train{rng.choice(SUFFIXES)}"}
    for split in ("validation", "test", "unlabeled"):
        if rng.random() < 0.2:
            paths[split] = place / f"{split}{rng.choice((*SUFFIXES, '.txt'))}"
    damaged = rng.choice((*paths, "train"))
    for split, path in paths.items():
        path.write_bytes(encoded(rng, _table(rng, odd=split == damaged), path.suffix))
    path = paths[damaged]
    _damage(rng, path)
    if rng.random() < 0.25:
        paths[damaged] = _rename(rng, path)
    named = {split: str(path) for split, path in paths.items()}
    if rng.random() < 0.2:
        named = {"train": str(place)}
    return DownloadParams.model_validate({**COMMITTED, **named}), number


def _table(rng: random.Random, *, odd: bool) -> list[dict[str, Any]]:
    """The rows of a table, some of which are odd."""
    rows: list[dict[str, Any]] = [
        {"text": f"text {n} {rng.choice('abc')}", "label": ("pos", "neg")[n % 2]}
        for n in range(ROWS)
    ]
    for _ in range(rng.choice((0, 1, 5)) if odd else 0):
        row, column = rng.choice(rows), rng.choice(("text", "label"))
        row[column] = rng.choice({"text": TEXTS, "label": LABELS}[column])
        if rng.random() < 0.3:
            row[column] = rng.choice(VALUES)
    names = rng.choice(
        (("text", "label"),) * 8 + (("review", "stars"), ("label", "text"), ("a", "b"))
    )
    names = names if odd else ("text", "label")
    extra = {"id": 1, "": "x", "Text": "y"} if odd and rng.random() < 0.1 else {}
    return [{names[0]: row["text"], names[1]: row["label"], **extra} for row in rows]


def encoded(rng: random.Random, rows: list[dict[str, Any]], suffix: str) -> bytes:
    """A table in the format of a suffix."""
    import pandas as pd

    table = pd.DataFrame(rows, dtype=object)
    if suffix == ".parquet":
        return _parquet(rng, table)
    if suffix in (".csv", ".tsv", ".txt"):
        separator = "\t" if suffix == ".tsv" else rng.choice(",,,,;|\t")
        text = table.to_csv(sep=separator, index=rng.random() < 0.1)
        return text.encode("utf-8", "surrogatepass")
    lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in rows]
    text = "\n".join(lines)
    if suffix == ".json":
        text = "[" + ",\n".join(lines) + "]" if rng.random() < 0.8 else f'{{"data": [{lines[0]}]}}'
    return text.encode("utf-8", "surrogatepass")


def _parquet(rng: random.Random, table: Any) -> bytes:
    """Parquet, with columns of many types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for name in table.columns:
        column = [v if isinstance(v, str) else None for v in table[name]]
        column = [v and v.encode("utf-8", "replace").decode() for v in column]
        columns[str(name)] = pa.array(column)
        if rng.random() < 0.3:
            columns[str(name)] = rng.choice(_odd_arrays(column))
    given = pa.table(columns)
    if rng.random() < 0.2:
        given = given.replace_schema_metadata({b"pandas": pickle.dumps(Row), b"x": b"\xff"})
    file = io.BytesIO()
    codec = rng.choice(("snappy", "gzip", "zstd", "none"))
    pq.write_table(given, file, compression=codec, row_group_size=rng.choice((1, 7, 1000)))
    return file.getvalue()


def _odd_arrays(column: Sequence[str | None]) -> list[Any]:
    """Columns that hold other values than texts."""
    import pyarrow as pa

    count = len(column)
    numbers = [n % 2 for n in range(count)]
    types = (pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.decimal128(30, 2))
    texts = pa.array(column)
    bad = pa.array([b"\xff\xfe"] * count).view(pa.string())
    arrays = [pa.array(numbers).cast(kind) for kind in types]
    arrays += [
        pa.array(numbers, kind) for kind in (pa.date32(), pa.timestamp("us"), pa.duration("s"))
    ]
    arrays += [
        texts.cast(pa.large_string()),
        pa.array([v or "" for v in column]).dictionary_encode(),
        texts.cast(pa.binary()),
        bad,
    ]
    arrays += [
        pa.array([[value] for value in column]),
        pa.array([{"a": value} for value in column]),
    ]
    return [*arrays, pa.nulls(count), pa.array([float("nan")] * count), pa.array([2**62] * count)]


def _damage(rng: random.Random, path: Path) -> None:
    """Change the bytes of a file."""
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    at, row = rng.randrange(len(data) + 1), rng.randrange(len(lines))
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 1, 4))):
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    header = lines[0]
    sign = rng.choice(
        [b'"', b'""', b"'", b",", b"\n", b"\r", b"\\", b'\\"', b"\0", b"\x80", b"\xef\xbb\xbf"]
    )
    changed = [data, data, data, bytes(flipped), bytes(flipped), data[:at], data[at:]]
    changed += [data[:at] + sign + data[at:], data[:at] + sign + data[at:], data.replace(b'"', b"")]
    changed += [b"".join(lines[:row] + lines[row + 1 :]), b"".join(lines + lines), data + header]
    changed += [
        data.replace(b"text", b"label"),
        data.replace(b"label", b"Label "),
        data + b"," * 5000,
    ]
    changed += [
        data.replace(b"\n", b"\r\n"),
        data.replace(b"\n", b"\r"),
        data.replace(b"\n", b"\r\n", 9),
    ]
    changed += [
        data + "é\n".encode("cp1252"),
        b"sep=;\n" + data,
        b"\n \n" + data,
        b"\xef\xbb\xbf" + data,
    ]
    changed += [
        data.replace(b",", b";", 9),
        data.replace(b"pos", b"\x1b]8;;x\x07", 1),
        rng.randbytes(999),
    ]
    changed += [_recoded(data, code) for code in ("utf-16", "utf-32", "utf-16-le", "cp1252")]
    changed += [rng.choice(MAGIC) + data, rng.choice(MAGIC), _archive(rng, path.name, data)]
    changed += [
        b"[" * 5000 + data,
        data.replace(b'"pos"', b"NaN"),
        data.replace(b'"pos"', b"1e999"),
    ]
    path.write_bytes(rng.choice(changed))


def _recoded(data: bytes, code: str) -> bytes:
    return data.decode("utf-8", "replace").encode(code, "replace")


def _archive(rng: random.Random, name: str, data: bytes) -> bytes:
    """The file compressed or in an archive, perhaps cut off."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, data)
    forms = [gzip.compress(data), gzip.compress(data)[:-9], bz2.compress(data), packed.getvalue()]
    return rng.choice([*forms, gzip.compress(data) + b"rest", gzip.compress(data[:9]) * 3])


def _rename(rng: random.Random, path: Path) -> Path:
    """The same file under another name, or something that is no file."""
    suffix = rng.choice(
        (*SUFFIXES, ".gz", ".csv.gz", ".jsonl.zst", ".xlsx", ".txt", ".CSV", "", ".pkl")
    )
    other = path.with_name(path.stem + suffix)
    path.rename(other)
    match rng.randrange(8):
        case 0:
            other.unlink()
            other.mkdir()
        case 1:
            other.unlink()
            other.symlink_to(rng.choice(("nowhere", other.name, "/dev/null", "/dev/zero", "..")))
        case 2:
            link = other.with_name(f"link{other.suffix}")
            link.symlink_to(other)
    return other


def wrong_rows(params: DownloadParams, number: int, place: Path) -> str:
    """What is wrong with the rows that are read; empty if nothing is.

    Raises:
        UserError: the files are refused.
    """
    source = read_source(params)
    read = {split: list(stream.rows) for split, stream in source.streams.items()}
    for split, paths in find_files(params).items():
        columns = guess_columns(find_files(params)["train"][0], columns_of(split, params), _ignore)
        if split in read:
            expected = [row for path in paths for row in _other_rows(path, columns)]
            if problem := _difference(read[split], expected):
                return f"{split}: {problem}"
    with TemporaryFile(dir=place) as file:
        store_source(read_source(params), TextStore(file))
    if number % WHOLE:
        return ""
    (place / "raw").mkdir()
    about = download(params, place / "raw")
    counted = sum(split["rows"] for split in about["splits"].values())
    counted += sum(about["removed"].values())
    counted += sum(sum(counts.values()) for counts in about["left_out"].values())
    rows = sum(about["rows_read"].values())
    return "" if rows == counted else f"{rows} rows were read, but {counted} are accounted for"


def _ignore(_: str) -> None:
    pass


def _difference(read: list[Row], expected: Rows) -> str:
    """The first row that was read otherwise, or that was left out without a reason."""
    rows = iter(read)
    current = next(rows, None)
    for text, label in expected:
        if current and current.text == str(text) and str(current.label) == _spelled(label):
            current = next(rows, None)
        elif _is_usable(text, label):
            return f"the row {text!r:.80}, {label!r:.80} was read as {current!r:.200}"
    return f"the row {current!r:.200} is not in the file" if current else ""


def _spelled(value: Any) -> str:
    """A label as the stage should spell it."""
    if isinstance(value, list) and len(value) == 1:
        return _spelled(value[0])
    if isinstance(value, bool) or str(value).strip().lower() in ("true", "false"):
        return str(value).strip().lower()
    is_number = hasattr(value, "is_integer") or isinstance(value, Decimal)  # also those of NumPy
    return str(int(value)) if is_number and value == value // 1 else str(value)


def _is_usable(text: Any, label: Any) -> bool:
    """Whether a row has without doubt a text and a label."""
    texts = isinstance(text, str) and any(map(str.isalnum, text))
    return texts and (label == "None" or (isinstance(label, str | int) and str(label).isalnum()))


def _other_rows(path: Path, columns: Columns) -> Rows:
    """The values of the columns in each row of a file, by another reader."""
    import pyarrow.parquet as pq

    data, [text, *label] = path.read_bytes(), columns
    if format_of(path) == ".parquet":
        rows = pq.read_table(io.BytesIO(data), columns=[*columns]).to_pylist()
    else:
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        read = _csv_rows if format_of(path) in (".csv", ".tsv", ".txt") else _json_rows
        rows = read(data.decode("utf-8-sig"), [*columns], format_of(path))
    return [(row.get(text), row.get(*label) if label else "None") for row in rows]


def _json_rows(text: str, columns: list[str], _: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in io.StringIO(text, newline="") if line.strip()]
    if isinstance(value, dict) and not set(columns) & set(value):
        [value] = [part for part in value.values() if isinstance(part, list)]
    return value if isinstance(value, list) else [value]


def _csv_rows(text: str, columns: list[str], suffix: str) -> list[dict[str, Any]]:
    import pandas as pd

    if suffix == ".txt":
        return [{columns[0]: line.rstrip("\r\n")} for line in io.StringIO(text, newline="")]
    head, _, rest = text.partition("\n")
    if head.startswith("sep="):
        text = rest
    options = {"dtype": str, "na_filter": False, "engine": "python" if "\0" in text else "c"}
    for separator in ",;\t|":
        with suppress(pd.errors.ParserError):
            file = io.StringIO(text, newline="")
            table = pd.read_csv(file, sep=separator, index_col=False, **options)
            if set(columns) <= set(table.columns):
                return table.to_dict("records")
    # pandas refuses empty cells after the last column
    tables = [csv.DictReader(io.StringIO(text, newline=""), delimiter=sign) for sign in ",;\t|"]
    return next(list(table) for table in tables if set(columns) <= set(table.fieldnames or ()))
