"""A submission that is a tree of masks: what participants pack, wherever a platform unpacks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from leaderboard.cohort.case import Case
from leaderboard.errors import InputError
from leaderboard.platforms.interface import Handed, Settings
from leaderboard.platforms.naming import case_of_name
from leaderboard.scoring.submission import Submission, open_submission

#: The folder of probability maps in a submission, at any depth.
MAPS = "probabilities"


def hand_over_tree(stack: ExitStack, settings: Settings, cases: Sequence[Case], with_maps: bool) -> Handed:
    """The masks of a folder or zip, in whatever folders they lie; maps are those in a folder ``probabilities``.

    A folder that holds no mask and one zip is taken for that zip.

    Raises:
        InputError: as for `open_submission`; or maps are needed and there are none.
    """
    found = stack.enter_context(open_submission(_content(settings.submission), deep=True))
    find = case_of_name(cases, settings.case_pattern)
    is_map = {path: MAPS in path.relative_to(found.place).parts[:-1] for path in found.files}
    maps = _part(found, find, lambda path: is_map[path])
    masks = _part(found, find, lambda path: not is_map[path])
    masks = replace(masks, problems=found.problems, notes=list(found.notes))
    if with_maps:
        if not maps.files:
            raise InputError(
                f"{settings.submission}: holds no probability map: put a map of each case into the folder {MAPS}"
            )
        return Handed(masks, maps)
    if maps.files:
        masks.notes.append(
            f"{settings.submission}: {len(maps.files)} files in {MAPS} are left aside, no metric uses maps"
        )
    return Handed(masks)


def _part(found: Submission, find: Callable[[str], str | None], wanted: Callable[[Path], bool]) -> Submission:
    """Some of the files, with their cases."""
    files = {path: disk for path, disk in found.files.items() if wanted(path)}
    owners = {path: case for path in files if (case := find(path.name))}
    return Submission(found.place, files, [], [], owners)


def _content(place: Path) -> Path:
    """The folder itself, or the only file in it if that is a zip.

    Raises:
        InputError: the zip lies elsewhere, where the references may lie, too.
    """
    if not place.is_dir():
        return place
    files = [path for path in sorted(place.rglob("*")) if path.is_file() and "__MACOSX" not in path.parts]
    visible = [
        path for path in files if not path.name.startswith(".") and path.name not in ("metadata", "metadata.yaml")
    ]
    if len(visible) != 1 or visible[0].suffix.lower() != ".zip":
        return place
    if not visible[0].resolve().is_relative_to(place.resolve()):
        raise InputError(f"{visible[0]}: is a link out of {place}: put the zip there")
    return visible[0]
