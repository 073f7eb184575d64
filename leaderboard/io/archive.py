"""Zip archives from strangers, unpacked without trusting them.

Nothing of the archive names a file on disk: members are written under numbers of our own, so no path can leave the
target. Counts and sizes have limits that hold before anything is unpacked and again while it is; links, encrypted
members and methods of compression that may claim any amount of memory are never opened.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from leaderboard.errors import InputError, MachineError, is_of_machine
from leaderboard.io import ENDINGS

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".tar.gz")
#: The end of an archive: its last record, a comment of up to 65535 bytes and the 64-bit records before it.
_END_BYTES = 22 + 65535 + 20 + 56
_DRIVE = re.compile(r"[A-Za-z]:")
#: How files begin that are sent under the name of a zip, and what they are.
_NO_ZIPS = {b"Rar!": "a RAR archive", b"7z\xbc\xaf": "a 7z archive", b"\x1f\x8b": "a gzip file"}


class _DamagedError(Exception):
    """A member cannot be unpacked."""


@dataclass(frozen=True)
class Limits:
    """What an archive may ask for.

    Attributes:
        members: files and folders.
        file_bytes: of one unpacked mask; the largest case of ISLES in 64-bit voxels takes 12 MB.
        total_bytes: of all unpacked masks together.
        listing_bytes: of the archive's own table of contents.
    """

    members: int = 10_000
    file_bytes: int = 1 << 30
    total_bytes: int = 1 << 32
    listing_bytes: int = 1 << 23


@dataclass
class Listing:
    """Members worth unpacking, and a line for each that may not be.

    Attributes:
        members: sound ones with a wanted name.
        problems: what is wrong with others; members that are neither wanted nor dangerous have none.
        others: paths within the archive of the harmless files that are not wanted, hidden ones apart.
    """

    members: list[zipfile.ZipInfo] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def list_members(archive: Path, wanted: Callable[[str], bool], limits: Limits = Limits()) -> Listing:
    """What an archive holds, from its table of contents alone.

    Args:
        archive: the zip file.
        wanted: whether a file of that name (without folders) is to be unpacked.
        limits: what it may ask for.

    Raises:
        InputError: it is no zip archive, is damaged, or goes beyond a limit.
    """
    with _opened(archive, limits) as file:
        return _sort_out(archive, file, wanted, limits)


def unpack(
    archive: Path,
    target: Path,
    wanted: Callable[[str], bool],
    limits: Limits = Limits(),
) -> tuple[dict[Path, Path], list[str], list[Path]]:
    """Unpack the wanted members into an existing folder.

    Args:
        archive: the zip file.
        target: where the files go, as ``00000`` and so on with the ending of their name.
        wanted: whether a file of that name (without folders) is to be unpacked.
        limits: what it may ask for.

    Returns:
        The file on disk of each path within the archive (``archive.zip/folder/name``), a line a problem, and the
        paths of the files that are not wanted.

    Raises:
        InputError: it is no zip archive, is damaged as a whole, or goes beyond a limit.
        MachineError: there is no room for it, or it cannot be read to its end.
    """
    files: dict[Path, Path] = {}
    with _opened(archive, limits) as file:
        listing = _sort_out(archive, file, wanted, limits)
        for number, member in enumerate(listing.members):
            inside = path_within(member)
            path = target / f"{number:05d}{_ending(inside.name)}"
            try:
                with path.open("wb") as sink:
                    for block in _blocks(file, member):
                        sink.write(block)
            except _DamagedError:
                path.unlink(missing_ok=True)
                listing.problems.append(f"{archive / inside}: is damaged: pack the archive again")
            except OSError as error:
                raise MachineError(
                    f"{archive}: cannot be unpacked ({error.strerror or error}): make room in {target}"
                ) from None
            else:
                files[archive / inside] = path
    return files, listing.problems, [archive / other for other in listing.others]


def read_members(archive: Path, wanted: Callable[[str], bool], most_bytes: int) -> list[bytes]:
    """The content of small members, nothing of which is written to disk.

    Args:
        archive: the zip file.
        wanted: whether a file of that name (without folders) is read.
        most_bytes: of a member; larger ones are left out, and so are damaged or hostile ones.

    Raises:
        InputError: as `list_members`.
    """
    found = []
    with _opened(archive, Limits()) as file:
        for member in _sort_out(archive, file, wanted, Limits()).members:
            if member.file_size <= most_bytes:
                with contextlib.suppress(_DamagedError):
                    found.append(b"".join(_blocks(file, member)))
    return found


def path_within(member: zipfile.ZipInfo) -> PurePosixPath:
    """The path of a member; some programs on Windows write it with backslashes."""
    return PurePosixPath(_name(member))


def leads_out(name: str) -> bool:
    """Whether a member of that name would lie outside the folder that it is unpacked into, on this system or another.

    Args:
        name: as it is stored in the archive.
    """
    return name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name or bool(_DRIVE.match(name))


def _opened(archive: Path, limits: Limits) -> zipfile.ZipFile:
    try:
        if _listing_bytes(archive) > limits.listing_bytes:
            raise InputError(f"{archive}: lists more files than the {limits.members} allowed: pack the masks alone")
        return zipfile.ZipFile(archive)
    except FileNotFoundError:
        raise InputError(f"{archive}: does not exist: check the path") from None
    except PermissionError:
        raise InputError(f"{archive}: may not be read: change its permissions") from None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, struct.error) as error:
        _refuse_machine(archive, error)
        raise InputError(f"{archive}: {_no_zip(archive)}") from None


def _no_zip(archive: Path) -> str:
    """What is wrong with a file that cannot be opened as a zip, and what to do."""
    begin = b"PK"
    with contextlib.suppress(OSError), archive.open("rb") as file:
        begin = file.read(max(map(len, _NO_ZIPS)))
    kind = "" if begin else "an empty file"
    kind = next((what for start, what in _NO_ZIPS.items() if begin.startswith(start)), kind)
    if kind:
        return f"is no zip archive but {kind}: pack the masks as a zip"
    return "is no zip archive, or a damaged one: pack it again"


def _refuse_machine(archive: Path, error: Exception) -> None:
    """Say so where it is the machine that cannot read an archive.

    Raises:
        MachineError: it is.
    """
    if is_of_machine(error):
        fault = getattr(error, "strerror", None) or error
        raise MachineError(f"{archive}: cannot be read ({fault}): check the disk") from None


def _listing_bytes(archive: Path) -> int:
    """The largest table of contents that any end record of the archive claims; zipfile would read it whole."""
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _END_BYTES, 0))
        end = file.read()
    claims = [0]
    for signature, form, offset in ((b"PK\x05\x06", "<I", 12), (b"PK\x06\x06", "<Q", 40)):
        place = end.find(signature)
        while place >= 0:
            field_bytes = end[place + offset : place + offset + struct.calcsize(form)]
            if len(field_bytes) == struct.calcsize(form):
                claims.append(struct.unpack(form, field_bytes)[0])
            place = end.find(signature, place + 1)
    # a 32-bit field of ones refers to the 64-bit record; nothing longer than the archive can be read from it
    return max(claim for claim in claims if claim < size or claim == 0)


def _sort_out(archive: Path, file: zipfile.ZipFile, wanted: Callable[[str], bool], limits: Limits) -> Listing:
    members = file.infolist()
    if len(members) > limits.members:
        raise InputError(
            f"{archive}: holds {len(members)} files where {limits.members} are allowed: pack the masks alone"
        )
    listing = Listing()
    seen: set[str] = set()
    for member in members:
        problem = _fault(member, wanted, limits)
        name = _name(member)
        if problem is None and _is_wanted(member, wanted):
            if name in seen:
                problem = "is in the archive twice: keep one of them"
            else:
                listing.members.append(member)
            seen.add(name)
        elif problem is None and not _is_dir(member) and not _is_hidden(path_within(member)):
            listing.others.append(name)
        if problem:
            listing.problems.append(f"{archive}/{member.filename}: {problem}")
    total = sum(member.file_size for member in listing.members)
    if total > limits.total_bytes:
        raise InputError(
            f"{archive}: would unpack to {_gigabytes(total)} where {_gigabytes(limits.total_bytes)} are allowed: "
            "store the masks as 8-bit integers, or hand in fewer at a time"
        )
    return listing


def _is_wanted(member: zipfile.ZipInfo, wanted: Callable[[str], bool]) -> bool:
    path = path_within(member)
    return not _is_dir(member) and "__MACOSX" not in path.parts and wanted(path.name)


def _is_hidden(path: PurePosixPath) -> bool:
    return path.name.startswith(".") or "__MACOSX" in path.parts


def _is_dir(member: zipfile.ZipInfo) -> bool:
    return _name(member).endswith("/")


def _name(member: zipfile.ZipInfo) -> str:
    return _slashed(member.filename)


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _fault(member: zipfile.ZipInfo, wanted: Callable[[str], bool], limits: Limits) -> str | None:
    """What is wrong with a member, and the remedy. Members that nobody wants are at fault only if they are hostile."""
    name = _name(member)
    if not name:
        return "has no name: pack the masks again"
    parts = PurePosixPath(name).parts
    # zipfile may cut a name: as stored it is checked, too
    if leads_out(name) or leads_out(_slashed(member.orig_filename)):
        return "leads out of the archive: pack the masks without absolute paths, '..' or drives"
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "is a link: pack the file that it points to"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is no ordinary file: pack masks alone"
    if not _is_dir(member) and "__MACOSX" not in parts and name.lower().endswith(_ARCHIVES):
        return "is an archive within the archive: pack the masks themselves"
    if not _is_wanted(member, wanted):
        return None
    if member.flag_bits & 0x1:
        return "is encrypted: pack it without a password"
    if member.compress_type not in _METHODS:
        return "is compressed in a way that is not read: pack it with deflate, the ordinary zip method"
    if member.file_size > limits.file_bytes:
        return f"would unpack to {_gigabytes(member.file_size)}, no mask is that large: pack the mask alone"
    return None


def _blocks(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The unpacked bytes of a member, never more than it promises.

    Raises:
        _DamagedError: they cannot be read, their checksum is wrong, or there are more or fewer than promised.
    """
    left = member.file_size
    try:
        with file.open(member) as source:
            while block := source.read(1 << 20):
                left -= len(block)
                if left < 0:
                    raise _DamagedError
                yield block
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError, struct.error) as error:
        _refuse_machine(Path(file.filename or member.filename), error)
        raise _DamagedError from None
    if left:
        raise _DamagedError


def _ending(name: str) -> str:
    """All that a file on disk keeps of its name."""
    return next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")


def _gigabytes(size: int) -> str:
    return f"{size / (1 << 30):.3g} GB"
