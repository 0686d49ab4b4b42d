"""Unpacking a bundle, which may be hostile, into a folder."""

import errno
import json
import shutil
import stat
import struct
import zlib
from hashlib import sha256
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from sentiformer.core.errors import UserError, first_line, listed
from sentiformer.core.params import parse
from sentiformer.verification.bundle import MANIFEST, Bundle, File
from sentiformer.verification.lock import is_safe

MOST_MANIFEST_BYTES = 10_000_000
CHUNK_BYTES = 1 << 20
# What `zipfile` and `json` raise for a damaged file; the last for a place before its beginning.
DAMAGES = (BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OSError)


def open_bundle(path: Path, folder: Path) -> Bundle:
    """Unpack a bundle into an empty or new folder, and check each of its files.

    Nothing is written outside the folder, and no more than `bundle.json` states. Files that were
    unpacked before the bundle was refused remain.

    Raises:
        UserError: the bundle is missing or damaged, or has other files than it states, or the
            folder is not empty.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file; give a bundle, which `sentiformer bundle` writes")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; give a new folder")
    try:
        with ZipFile(path) as file:
            bundle = _stated(file)
            _require_stated(file.infolist(), bundle, folder)
            for name in bundle.files:
                _unpack(file, file.getinfo(name), bundle.files[name], folder / name)
    except DAMAGES as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise UserError(
            f"{path} is no bundle, or is damaged ({first_line(error)}); get it again from where it "
            "was published"
        ) from None
    return bundle


def _stated(file: ZipFile) -> Bundle:
    """What `bundle.json` says."""
    if MANIFEST not in file.namelist():
        raise BadZipFile(f"it has no {MANIFEST}")
    with file.open(MANIFEST) as content:
        text = content.read(MOST_MANIFEST_BYTES)
    return parse(Bundle, json.loads(text), where=f"{file.filename}: {MANIFEST}")


def _require_stated(infos: list[ZipInfo], bundle: Bundle, folder: Path) -> None:
    """Check the list of files before any is unpacked."""
    found = [info.filename for info in infos]
    stated = {MANIFEST, *bundle.files}
    if different := sorted(stated.symmetric_difference(found)):
        raise BadZipFile(f"{MANIFEST} does not agree about {listed(different)}")
    if len(found) != len(stated):
        raise BadZipFile("it holds a file twice")
    folders = {str(place) for name in found for place in PurePosixPath(name).parents}
    for info in infos:
        mode = info.external_attr >> 16
        is_file = stat.S_IFMT(mode) in (0, stat.S_IFREG) and info.filename not in folders
        if not is_file or not is_safe(info.filename):
            raise BadZipFile(f"{info.filename!r} is a link or a path that is not allowed")
        if info.filename != MANIFEST and info.file_size != bundle.files[info.filename].bytes:
            raise BadZipFile(f"{info.filename} is not as large as {MANIFEST} says")
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise BadZipFile(f"{info.filename} is compressed by a method that is not allowed")
    size, free = sum(file.bytes for file in bundle.files.values()), shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f"the bundle has {size:,} bytes, and the disk of {folder} {free:,} free")


def _unpack(file: ZipFile, info: ZipInfo, stated: File, path: Path) -> None:
    """Unpack a file; `zipfile` reads no more bytes than the size that was checked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = sha256()
    with file.open(info) as content, path.open("xb") as written:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
            written.write(chunk)
    if digest.hexdigest() != stated.sha256:
        raise BadZipFile(f"{info.filename} has another SHA-256 than {MANIFEST} says")
    path.chmod(0o755 if info.external_attr >> 16 & stat.S_IXUSR else 0o644)
