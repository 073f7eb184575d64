"""A submission that is a tree of masks: what participants pack, wherever a platform unpacks it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from leaderboard.cohort.case import Case
from leaderboard.errors import InputError
from leaderboard.platforms.interface import Handed, Settings
from leaderboard.platforms.naming import case_of_name
from leaderboard.scoring.submission import (
    BY_RULES,
    Submission,
    is_place_of_maps,
    open_maps,
    open_submission,
    places_of_maps,
    words_on_maps_beside,
)


def hand_over_tree(stack: ExitStack, settings: Settings, cases: Sequence[Case], with_maps: bool) -> Handed:
    """The masks of a folder or zip, in whatever folders they lie, and its maps (see `scoring.submission`).

    A folder that holds no mask and one zip is taken for that zip; a zip or folder of maps may lie beside it.

    Raises:
        InputError: as for `open_submission`; or maps are needed and there are none.
    """
    find = case_of_name(cases, settings.case_pattern)

    def owned(found: Submission) -> Submission:
        return replace(found, owners={path: case for path in found.files if (case := find(path.name))})

    place = _content(settings.submission)
    masks = stack.enter_context(open_submission(place, deep=True))
    if not with_maps:
        return Handed(owned(masks))
    beside = next(filter(Path.exists, places_of_maps(place)), None) if place.is_file() else None
    if beside:
        _refuse_outside(beside, place.parent)
    words = words_on_maps_beside(place) if place.is_file() else BY_RULES
    return Handed(owned(masks), owned(stack.enter_context(open_maps(beside or place, masks, words))))


def _content(place: Path) -> Path:
    """The folder itself, or the only file in it if that is a zip (besides one of maps).

    Raises:
        InputError: the zip lies elsewhere, where the references may lie, too.
    """
    if not place.is_dir():
        return place
    files = [path for path in sorted(place.rglob("*")) if path.is_file() and "__MACOSX" not in path.parts]
    visible = [
        path for path in files if not path.name.startswith(".") and path.name not in ("metadata", "metadata.yaml")
    ]
    zips = [path for path in visible if not is_place_of_maps(path)]
    if len(visible) > 2 or len(zips) != 1 or any(path.suffix.lower() != ".zip" for path in visible):
        return place
    _refuse_outside(zips[0], place)
    return zips[0]


def _refuse_outside(path: Path, place: Path) -> None:
    """Refuse a link out of a submission: references may lie there."""
    if not path.resolve().is_relative_to(place.resolve()):
        raise InputError(f"{path}: is a link out of {place}: put the zip there")
