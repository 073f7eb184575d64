"""A public release of a cohort: fetched, checked against the record's digests and unpacked, ready for `check`.

Everything on its way lies in ``DIR/unfinished-<release>``; it moves to ``DIR`` once it is whole, and ``fetched.json``
says where it came from. A command that was interrupted is given again.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal

from benchmark.commands.progress import counted
from benchmark.commands.releases import RELEASES, Release
from benchmark.commands.transfer import RemoteFile, fetch_file, read_record
from benchmark.commands.unpacking import free_bytes, require_reader, require_room, unpack
from benchmark.rundir.locks import hold
from leaderboard.cohort.formats import FORMATS
from leaderboard.errors import InputError, listed
from leaderboard.io.images import write_text

API = "https://zenodo.org/api/records"
#: Written last: where the files came from.
FETCHED = "fetched.json"
_ARCHIVES = (".zip", ".7z")


def fetch(
    name: str,
    folder: Path,
    agree: Callable[[], bool],
    console: Console,
    *,
    api: str = API,
    pause_s: float = 2.0,
) -> Path:
    """Fetch a release into a folder, or go on where an earlier call ended.

    Args:
        name: one of `RELEASES`.
        folder: new, empty, or that of an earlier call.
        agree: called once size and licence are told, and before anything is written.
        console: where it is told what happens.
        api: address of the API's records.
        pause_s: before a broken transfer is taken up again.

    Returns:
        The folder of the cohort: `folder`, or one within.

    Raises:
        InputError: the user does not agree, the record or the disk does not allow it, or no cohort came of it; what
            has arrived stays for the next call.
    """
    release = RELEASES[name]
    unfinished = folder / f"unfinished-{name}"
    tell = partial(console.print, soft_wrap=True, highlight=False, markup=False)
    _require_ours(folder, name)
    if not (folder / FETCHED).is_file():
        record = read_record(api, release.record)
        files = _wanted(release, record.files)
        for file in files:
            require_reader(file.name)
        _announce(release, record.licence, files, folder, unfinished, tell)
        if not agree():
            raise InputError(f"{release.title}: nothing was fetched: answer y, or give --yes, if you want it")
        with _held(unfinished):
            for file in files:
                with counted(file.name, console, "bytes") as progress:
                    fetch_file(file, unfinished / file.name, progress, tell, pause_s)
            _unpack_all(files, folder, unfinished, console)
            write_text(folder / FETCHED, _origin(name, release, files))
    shutil.rmtree(unfinished, ignore_errors=True)
    cohort = _cohort_in(folder, name)
    tell(f"{release.title} is in {cohort}")
    return cohort


def _require_ours(folder: Path, name: str) -> None:
    """Refuse a folder in which the release would be mixed with something else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file: give a folder")
    if (folder / FETCHED).is_file():
        try:
            found = json.loads((folder / FETCHED).read_text(encoding="utf-8"))["release"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{folder / FETCHED}: cannot be read: give a new folder") from None
        if found != name:
            raise InputError(f"{folder}: holds {found}: give a folder of its own to {name}")
    elif not (folder / f"unfinished-{name}").is_dir() and (others := sorted(path.name for path in folder.iterdir())):
        raise InputError(f"{folder}: holds other files ({listed(others, 3)}): give a new or an empty folder")


def _wanted(release: Release, offered: Mapping[str, RemoteFile]) -> list[RemoteFile]:
    """The files of a record that are needed.

    Raises:
        InputError: one is not there.
    """
    found: dict[str, RemoteFile] = {}
    for pattern in release.files:
        matching = {file: offered[file] for file in sorted(offered) if re.fullmatch(pattern, file)}
        if not matching:
            raise InputError(
                f"{release.doi}: has no file {pattern} (it has {listed(sorted(offered)) or 'none'}): look for another "
                "version of the record, and download it by hand"
            )
        found |= matching
    return list(found.values())


def _announce(
    release: Release,
    licence: str | None,
    files: list[RemoteFile],
    folder: Path,
    unfinished: Path,
    tell: Callable[[str], None],
) -> None:
    """Tell what would be fetched, under which licence, and what it takes.

    Raises:
        InputError: the disk is too small.
    """
    total = sum(file.size for file in files)
    there = sum(_there(unfinished / file.name) for file in files)
    tell(f"{release.title}, {release.doi}")
    tell(f"licence: {release.licence} (cite its authors; the record says how)")
    if licence and licence.lower() != release.licence.lower().replace(" ", "-"):
        tell(f"note: the record itself says {licence}: read it before you use the data")
    tell(f"files: {', '.join(f'{file.name} ({decimal(file.size)})' for file in files)}")
    if there:
        tell(f"{decimal(there)} of {decimal(total)} are there already")
    # Archives go once they are unpacked; what they hold takes as much again at least (images are compressed already).
    needed = total - there + sum(file.size for file in files if file.name.endswith(_ARCHIVES))
    tell(f"{folder}: needs {decimal(needed)} or more, {decimal(free_bytes(folder))} are free")
    require_room(folder, needed, f"{release.title} with its archives")


def _there(target: Path) -> int:
    """Bytes of a file that have arrived."""
    found = (path for path in (target, target.with_name(target.name + ".part")) if path.is_file())
    return next((path.stat().st_size for path in found), 0)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Make a folder and hold it: two processes that add to one part would spoil it."""

    def busy(owner: str) -> None:
        raise InputError(f"{folder}: is in use ({owner}): wait for it, or end it")

    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder, busy):
        yield


def _unpack_all(files: list[RemoteFile], folder: Path, unfinished: Path, console: Console) -> None:
    """Unpack the archives, and move everything to where it belongs; all of it anew after an interrupt."""
    unpacked = unfinished / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    for file in files:
        if file.name.endswith(_ARCHIVES):
            with counted(f"unpacked {file.name}", console, "bytes") as progress:
                unpack(unfinished / file.name, unpacked, progress)
        else:
            shutil.copyfile(unfinished / file.name, unpacked / file.name)
    ours = {unfinished.name, FETCHED}
    if taken := sorted(path.name for path in unpacked.iterdir() if path.name.casefold() in ours):
        raise InputError(
            f"{folder}: the release holds {listed(taken, 3)}, which is what this command calls files of its own: "
            "download and unpack it by hand"
        )
    for path in sorted(unpacked.rglob("*")):
        if not path.is_dir():
            place = folder / path.relative_to(unpacked)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)


def _origin(name: str, release: Release, files: list[RemoteFile]) -> str:
    content = {
        "release": name,
        "source": release.doi,
        "licence": release.licence,
        "files": {file.name: {"bytes": file.size, file.algorithm: file.digest} for file in files},
    }
    return json.dumps(content, indent=2) + "\n"


def _cohort_in(folder: Path, name: str) -> Path:
    """The folder that the cohort is in: archives may hold their files in a folder of their own, or in two.

    Raises:
        InputError: there is none.
    """
    for path in (folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*"))):
        if path.is_dir() and FORMATS[name].find(path):
            return path
    raise InputError(
        f"{folder}: holds no cases of {name} ({FORMATS[name].tree}): look into it, unpack archives that it holds, and "
        "give the folder above the cases to benchmark check"
    )
