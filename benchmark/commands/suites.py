"""A suite by the name that a command was given, and its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from benchmark.launchers import LAUNCHERS
from benchmark.rundir.locks import hold
from benchmark.rundir.names import LOCK
from benchmark.suite.config import SuiteConfig, read_suite
from benchmark.suite.config_files import find_config
from leaderboard.errors import InputError


def open_suite(name: str) -> SuiteConfig:
    """A suite's config, by path or by the name of a shipped one; it may have a section for each launcher.

    Raises:
        InputError: there is none, or with every fault of the file.
    """
    return read_suite(find_config(name), LAUNCHERS)


@contextlib.contextmanager
def suite_folder(root: Path) -> Iterator[None]:
    """Have a suite's folder to ourselves; a call that is refused leaves no empty one behind.

    Args:
        root: the folder, made where it is not there.

    Raises:
        InputError: it cannot be made, or another call works in it.
    """

    def busy(owner: str) -> None:
        raise InputError(f"{root}: another benchmark run works here ({owner}): wait for it, or give another --out")

    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{root}: cannot be created ({error.strerror or error}): give another --out") from None
    with hold(root, busy):
        try:
            yield
        except InputError:
            if made and [path.name for path in root.iterdir()] == [LOCK]:
                (root / LOCK).unlink()
                with contextlib.suppress(OSError):  # one that holds something else stays
                    for folder in made:
                        folder.rmdir()
            raise
