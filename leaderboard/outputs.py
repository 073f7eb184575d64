"""What a command may write to: no file that it reads, and none in place of something else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from leaderboard.errors import InputError

#: Ends the command as wrong usage with a line, as `argparse.ArgumentParser.error` does.
Fail = Callable[[str], NoReturn]


def keep_apart(
    fail: Fail, outputs: Iterable[tuple[str, Path | None]], inputs: Iterable[Path | None], folders: Iterable[Path] = ()
) -> None:
    """Call `fail` if an output is one of the inputs, lies in a folder that must not change, or is there twice.

    Args:
        fail: called with the line to print.
        outputs: the option that names each, as ``--csv``, and its path; None: not asked for.
        inputs: files that are read; None: not given.
        folders: nothing is written into these, however deep.
    """
    taken: list[Path] = []
    read, closed = [path for path in inputs if path], list(folders)
    for option, path in outputs:
        if path is None:
            continue
        if any(_same(path, other) for other in read):
            fail(f"{option} {path}: is a file that this command reads: choose another name")
        for folder in closed:
            if Path(os.path.realpath(folder)) in (own := Path(os.path.realpath(path)), *own.parents):
                fail(f"{option} {path}: lies in {folder}, which is examined and left as it is: choose another folder")
        if any(_same(path, other) for other in taken):
            fail(f"{option} {path}: is named twice: write to two files")
        taken.append(path)


def prepare_output(path: Path, begins: str = "") -> None:
    """Make the folder of a file that will be written.

    Args:
        path: of the file; its missing folders are made.
        begins: how a file begins that may be replaced (one that is empty may be, too).

    Raises:
        InputError: the file cannot be written, or holds something else: before the work, not after it.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder: give the name of a file")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a regular file, and is left as it is: give the name of another file")
    if begins and path.is_file():
        with path.open("rb") as file:
            found = file.read(4096).decode("utf-8-sig", errors="replace")
        if found and not found.startswith(begins):
            raise InputError(
                f"{path}: holds something else than this command writes, and is left as it is: choose another name, or "
                "remove it"
            )
    path = Path(os.path.realpath(path))  # a link is written through
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: its folder cannot be made ({error.strerror or error}): choose another") from None
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: its folder may not be written to: change its permissions or choose another")


def _same(one: Path, other: Path) -> bool:
    """Whether two names are those of one file, which need not exist yet."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
