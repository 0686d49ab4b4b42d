"""Stub."""

from pathlib import Path


def open_bundle(path: Path, folder: Path) -> None:
    """Stub."""
