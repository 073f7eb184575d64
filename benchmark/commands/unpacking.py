"""Archives of a release, unpacked with the paths that they hold, none of which may lead elsewhere."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from rich.filesize import decimal

from leaderboard.errors import InputError, listed
from leaderboard.io.archive import leads_out

Progress = Callable[[int, int], None]


def unpack(archive: Path, target: Path, progress: Progress) -> None:
    """Unpack a whole ``.zip`` or ``.7z`` into a folder, without what macOS adds.

    Args:
        archive: what to unpack.
        target: an existing folder.
        progress: called with the bytes unpacked and the bytes of all.

    Raises:
        InputError: a member would lie outside the folder or is a link, the archive is damaged, or the disk too small.
    """
    unpacker = _unpack_7z if archive.suffix == ".7z" else _unpack_zip
    unpacker(archive, target.resolve(), progress)


def require_room(folder: Path, needed: int, what: str) -> None:
    """Refuse what would fill the disk.

    Args:
        folder: on that disk; it need not exist yet.
        needed: bytes.
        what: what they are for.

    Raises:
        InputError: fewer are free.
    """
    free = free_bytes(folder)
    if free < needed:
        raise InputError(
            f"{folder}: {what} takes {decimal(needed)} and {decimal(free)} are free: make room, or give a folder on "
            "another disk"
        )


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder that need not exist yet."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def require_reader(name: str) -> None:
    """Refuse an archive of that name for which nothing is installed.

    Raises:
        InputError: it is a ``.7z``, and py7zr is missing.
    """
    if name.endswith(".7z") and find_spec("py7zr") is None:
        raise InputError(f"{name}: is unpacked by py7zr: pip install py7zr, and give the same command again")


def _unpack_zip(archive: Path, target: Path, progress: Progress) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            members = file.infolist()
            links = (member.filename for member in members if not _is_ordinary(member))
            _require_within(archive, (member.orig_filename for member in members), links)
            wanted = [member for member in members if not member.is_dir() and not _is_clutter(member.filename)]
            total = sum(member.file_size for member in wanted)
            require_room(target, total, f"what {archive.name} holds")
            done = 0
            for member in wanted:
                file.extract(member, target)
                done += member.file_size
                progress(done, total)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(archive, error) from None


def _unpack_7z(archive: Path, target: Path, progress: Progress) -> None:
    require_reader(archive.name)
    import py7zr
    from py7zr.callbacks import ExtractCallback

    class Counted(ExtractCallback):
        """Tells how far it is."""

        done = 0

        def report_update(self, decompressed_bytes: str) -> None:
            self.done += int(decompressed_bytes)
            progress(self.done, total)

        def _nothing(self, *_: Any) -> None:
            pass

        report_start_preparation = report_start = report_end = report_warning = report_postprocess = _nothing

    try:
        with py7zr.SevenZipFile(archive) as file:
            members = file.list()
            links = (member.filename for member in members if not (member.is_file or member.is_directory))
            _require_within(archive, (member.filename for member in members), links)
            total = sum(member.uncompressed for member in members)
            require_room(target, total, f"what {archive.name} holds")
            wanted = [member.filename for member in members if not _is_clutter(member.filename)]
            file.extract(target, wanted, callback=Counted())
    except (py7zr.exceptions.ArchiveError, py7zr.exceptions.PasswordRequired, EOFError, ValueError) as error:
        raise _damaged(archive, error) from None
    progress(total, total)


def _is_ordinary(member: zipfile.ZipInfo) -> bool:
    """Whether it is a file or a folder; archives of other systems have no mode."""
    return stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


def _require_within(archive: Path, names: Iterable[str], links: Iterable[str]) -> None:
    """Refuse an archive as a whole that means to write elsewhere: whoever made it meant no good."""
    if outside := [name for name in names if leads_out(name)]:
        raise InputError(f"{archive}: {listed(outside, 3)} lead out of the archive: do not use it, tell its authors")
    if found := list(links):
        raise InputError(f"{archive}: {listed(found, 3)} are no ordinary files: do not use it, tell its authors")


def _is_clutter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1:] == (".DS_Store",)


def _damaged(archive: Path, error: BaseException) -> InputError:
    return InputError(f"{archive}: cannot be unpacked ({error}): unpack it by hand, or tell the authors of the release")
