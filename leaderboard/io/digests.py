"""Digests of files, and of the program that makes something of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from importlib.resources.abc import Traversable
from pathlib import Path


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def program_digest(files: Iterable[Traversable], packages: Iterable[str]) -> str:
    """SHA-256 of some of a program's files, in this order, and of the versions of the packages that it calls."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    for package in packages:
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    return digest.hexdigest()
