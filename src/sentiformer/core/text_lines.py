"""Lines of a text file of any size, compressed or not; files of other kinds are recognised."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, TypeAlias

from sentiformer.core.errors import ICONV, UserError, first_line, listed

BUFFER_BYTES = 2**20
COMPRESSED = (".gz", ".zst")  # suffixes after the one of the format
CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # of pyarrow, by a file's first bytes
UTF_16 = "it is UTF-16; convert it, for instance with `iconv -f utf-16 -t utf-8`"
OTHER_FORMATS = {  # by a file's first bytes
    b"version https://git-lfs.github.com/spec/": "it is a Git LFS pointer, not the data; "
    "fetch the data with `git lfs pull` in the repository that it comes from",
    b"PK\x03\x04": "it is a zip archive, for example of Excel; unpack it, or export it as CSV",
    b"\xd0\xcf\x11\xe0": "it is a file of Excel or Word; export it as CSV in UTF-8",
    b"PAR1": "it is Parquet; rename it so that it ends in .parquet",
    b"ARROW1": "it is an Arrow file; convert it to Parquet",
    b"SQLite format 3": "it is a database of SQLite; export the table as CSV",
    b"%PDF": "it is a PDF; export the texts as CSV",
    b"BZh91AY&SY": "it is compressed by bzip2; decompress it with `bunzip2`",
    b"\xfd7zXZ": "it is compressed by xz; decompress it with `unxz`",
    b"\x80\x04\x95": "it is a pickle of Python, which can run any code; export the data as CSV",
    b"\xff\xfe\0\0": "it is UTF-32; convert it, for instance with `iconv -f utf-32 -t utf-8`",
    b"\xff\xfe": UTF_16,
    b"\xfe\xff": UTF_16,
}
WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|\?xml)", re.IGNORECASE)
Say: TypeAlias = Callable[[str], None]  # prints a line for the user
BAD_BYTE = re.compile("[\udc80-\udcff]")  # what the error handler surrogateescape makes of one


def bare_name(path: Path) -> str:
    """The file's name in lower case, without the suffix of a compression."""
    name = path.name.lower()
    return name.removesuffix(path.suffix.lower()) if path.suffix.lower() in COMPRESSED else name


def format_of(path: Path) -> str:
    """The suffix that is the format of a file, in lower case, without that of a compression."""
    return Path(bare_name(path)).suffix


def open_file(path: Path) -> BinaryIO:
    """Open a file or a pipe for reading.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    try:
        if path.is_dir() or not path.exists():
            raise UserError(f"{path} is not a file; check the path")
        return path.open("rb", buffering=BUFFER_BYTES)
    except PermissionError:
        raise UserError(f"{path} cannot be read; check its permissions") from None


def open_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file with their line breaks; a byte order mark is left out.

    The first bytes, not the name, tell whether the file is compressed.

    Raises:
        UserError: the file is empty, of another kind, damaged, or not UTF-8.
    """
    with open_file(path) as file:
        start = file.peek(16)  # type: ignore[attr-defined]  # it is buffered
        codec = next((name for magic, name in CODECS.items() if start.startswith(magic)), None)
        if codec is None:
            yield from _decode(file, path)
            return
        import pyarrow as pa

        try:
            with pa.CompressedInputStream(pa.PythonFile(file), codec) as stream:
                yield from _decode(io.BufferedReader(stream, BUFFER_BYTES), path)
        except OSError as error:
            if error.errno is not None:
                raise
            raise UserError(
                f"{path}: its compressed data are damaged or cut off ({first_line(error)}); "
                "copy or download it again"
            ) from None


def require_text(start: bytes, path: Path) -> None:
    """Check the first bytes of a file.

    Raises:
        UserError: there are none, or they are those of another kind of file.
    """
    if not start.removeprefix(b"\xef\xbb\xbf"):
        raise UserError(f"{path} is empty; write or download it again, or remove it")
    for magic, text in OTHER_FORMATS.items():
        if start.startswith(magic):
            raise UserError(f"{path}: {text}")
    if WEB_PAGE.match(start):
        raise UserError(
            f"{path}: it is a web page, not the data; download the file itself (its raw version)"
        )
    if start[:1] == b"\0" or start[1:2] == b"\0":
        order = "be" if start[:1] == b"\0" else "le"
        raise UserError(f"{path}: {UTF_16.replace('-f utf-16', f'-f utf-16{order}')}")
    if start.count(0) > len(start) // 4:
        raise UserError(f"{path}: it is binary, not a text; export it in UTF-8")


def _decode(file: IO[bytes], path: Path) -> Iterator[str]:
    """Yield lines; the error for a byte that is not UTF-8 names the line."""
    require_text(file.peek(4096)[:4096], path)  # type: ignore[attr-defined]  # it is buffered
    accented = 0  # lines with characters beyond ASCII that are UTF-8
    with io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.isascii():
                if BAD_BYTE.search(line):
                    raise UserError(_not_utf_8(path, number, line, accented, lines))
                accented += 1
            yield line


def _not_utf_8(path: Path, number: int, line: str, accented: int, rest: Iterator[str]) -> str:
    """The message for a line that is not UTF-8; it depends on the other lines of the file."""
    bad = [f"{number}"]
    for other, text in enumerate(rest, start=number + 1):
        if BAD_BYTE.search(text):
            bad.append(f"{other}")
        else:
            accented += not text.isascii()
    found = BAD_BYTE.search(line)
    at = found.start() if found else 0
    start = f"{path}, line {number}: byte {ord(line[at]) - 0xDC00:#04x} is not UTF-8"
    around = line[max(0, at - 20) : at + 20].encode("utf-8", "surrogateescape")
    read = " ".join(around.decode("cp1252", "replace").split())
    if len(bad) > max(1, accented):
        return (
            f"{start} (such lines: {len(bad):,}); the file has another encoding: convert it with "
            f"`{ICONV}` (if {read!r} reads well, ENCODING is windows-1252)"
        )
    lines = f", nor are the lines {listed(bad[1:])}" if bad[1:] else ", the only such line"
    return (
        f"{start}{lines} (in windows-1252 it reads {read!r}); correct it, or remove such bytes "
        "with `iconv -c -f utf-8 -t utf-8`; the rest of the file is UTF-8"
    )
