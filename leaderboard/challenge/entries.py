"""Who handed in what, and when: ``submissions/<team>/<any>.zip`` or folders, as they lie there.

Teams are strangers: links are not followed, special files are not opened, and nothing larger than masks can be is read.
What is wrong with one submission is told with it and stops no other.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from leaderboard.challenge.facts import Facts, fault_of_name, read_facts
from leaderboard.cohort.names import is_mask_file, natural_key
from leaderboard.errors import InputError, MachineError, is_of_machine, printable
from leaderboard.io.archive import Limits
from leaderboard.io.digests import file_digest
from leaderboard.io.tables import shown
from leaderboard.scoring.submission import is_place_of_maps, places_of_maps

SUBMISSIONS = "submissions"
#: Of a submission on disk: twice what its masks may take.
MOST_BYTES = 2 * Limits().total_bytes
_MOST_DEPTH = 4
#: What a team can do that has handed in something else, or nothing.
REMEDY = "hand in a zip or a folder with a mask for each case"


@dataclass(frozen=True)
class Entry:
    """A submission of a team."""

    team: str
    path: Path  #: its folder or zip
    submitted: datetime  #: when it was handed in
    maps: Path | None = None  #: its probability maps, if they are a folder or zip beside it
    facts: Facts = field(default_factory=Facts)
    problems: tuple[str, ...] = ()  #: why it cannot be scored; it is not opened then
    is_final: bool = True  #: False: these problems are the machine's

    @property
    def is_timed_by_its_files(self) -> bool:
        """Whether it is a folder whose files, which a team may date, say alone when it came."""
        return self.facts.submitted is None and not self.problems and self.path.is_dir()

    @property
    def name(self) -> str:
        """Of the file or folder."""
        return self.path.name


@dataclass(frozen=True)
class Team:
    """A team's folder."""

    name: str
    entries: tuple[Entry, ...] = ()  #: in natural order
    problems: tuple[str, ...] = ()  #: with what lies in the folder and is no submission, or with the folder itself
    is_ranked: bool = True  #: whether its name is one that can be written everywhere


def find_teams(folder: Path) -> tuple[list[Team], list[str]]:
    """The teams of a challenge in natural order, and a line for each thing beside their folders.

    Args:
        folder: the challenge's ``submissions``.

    Raises:
        InputError: there is no such folder, or no team in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder: make it, with a folder for each team")
    teams, notes = [], []
    for path in _inside(folder):
        if path.is_symlink() or not path.is_dir():
            notes.append(printable(f"{path}: is no folder of a team, and is left aside"))
        else:
            teams.append(_team(path))
    if not teams:
        raise InputError(f"{folder}: holds no team: make a folder for each, with its zips or folders of masks")
    return teams, notes


def _team(folder: Path) -> Team:
    if fault := fault_of_name(folder.name):
        return Team(folder.name, (), (printable(f"the team {shown(folder.name)} {fault}"),), False)
    try:
        entries, problems = _entries(folder)
    except OSError as error:
        return Team(folder.name, (), (f"{folder}: cannot be read ({error.strerror or error}): change its permissions",))
    return Team(folder.name, tuple(entries), tuple(problems))


def _entries(folder: Path) -> tuple[list[Entry], list[str]]:
    """The submissions of a team, and a line for each other thing that might have been meant as one."""
    entries, problems = [], []
    for path in _inside(folder):
        mode = path.lstat().st_mode
        is_zip = path.suffix.lower() == ".zip"
        if is_place_of_maps(path) or path.suffix.lower() in (".yaml", ".yml"):
            continue
        if stat.S_ISDIR(mode) or is_zip:
            entries.append(_entry(folder.name, path))
        elif is_mask_file(path.name):
            problems.append(f"{path.name}: lies beside the submissions: put it into a zip or a folder, with the others")
        else:
            problems.append(f"{path.name}: is no zip and no folder, and is left aside: {REMEDY}")
    return entries, [printable(problem) for problem in problems]


def _entry(team: str, path: Path) -> Entry:
    """A submission, with every reason not to open it."""
    time = datetime.fromtimestamp(0, UTC)
    if fault := fault_of_name(path.name):
        return Entry(team, path, time, problems=(printable(f"{path.name}: {fault}"),))
    maps = next((other for other in places_of_maps(path) if os.path.lexists(other)), None)
    try:
        times = [file.stat().st_mtime for place in (path, maps) if place for file in files_of(place)]
        time = datetime.fromtimestamp(max(times, default=path.stat().st_mtime), UTC)
        facts = read_facts(path)
    except InputError as error:
        return Entry(team, path, time, problems=tuple(error.problems), is_final=not isinstance(error, MachineError))
    except (OSError, OverflowError, ValueError) as error:
        fault = getattr(error, "strerror", None) or str(error)
        text = printable(f"{path}: cannot be read ({fault}): hand it in again")
        return Entry(team, path, time, problems=(text,), is_final=not is_of_machine(error))
    return Entry(team, path, facts.submitted or time, maps, facts)


def files_of(place: Path) -> list[Path]:
    """The file of a zip, or all files of a folder in order.

    Raises:
        InputError: there is a link or a special file, or more or larger files than masks can be.
    """
    files, size = [], 0
    for path in _walk(place, 0):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            kind = "is a link" if stat.S_ISLNK(found.st_mode) else "is no regular file"
            raise InputError(f"{path}: {kind}: put the file itself there")
        files.append(path)
        size += found.st_size
        if len(files) > Limits().members or size > MOST_BYTES:
            raise InputError(
                f"{place}: holds more than {Limits().members} files or {MOST_BYTES >> 30} GB: hand in the masks alone"
            )
    return files


def _walk(path: Path, depth: int) -> Iterator[Path]:
    """A path that is no folder, or what is below a folder; hidden files apart, but links and special files as well."""
    if not stat.S_ISDIR(path.lstat().st_mode):
        yield path
        return
    if depth > _MOST_DEPTH:
        raise InputError(f"{path}: lies too deep: put the masks side by side, or in a folder for each case")
    for inner in _inside(path):
        yield from _walk(inner, depth + 1)


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder in natural order, hidden files apart."""
    with os.scandir(folder) as found:
        names = [entry.name for entry in found if not entry.name.startswith(".")]
    return [folder / name for name in sorted(names, key=lambda name: (natural_key(name), name))]


def content_of(place: Path) -> str:
    """Digest of the bytes of a submission, or of its maps; the same content in a folder of another name has the same.

    Raises:
        InputError: as `files_of`; or a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in files_of(place):
        within = path.relative_to(place).as_posix() if path != place else path.suffix.lower()
        try:
            content = file_digest(path)
        except OSError as error:
            kind = MachineError if is_of_machine(error) else InputError
            raise kind(f"{path}: cannot be read ({error.strerror or error}): hand it in again") from None
        digest.update(f"{within!r} {content}\n".encode())
    return digest.hexdigest()
