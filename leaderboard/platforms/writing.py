"""Submissions written as each platform hands them over: for the first run of a pack, and for its self-test."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from leaderboard.cohort.names import bare_stem
from leaderboard.platforms.grand_challenge import PREDICTIONS
from leaderboard.platforms.interface import Settings
from leaderboard.scoring.submission import MAPS


def write_submission(
    platform: str, place: Path, masks: Mapping[str, Path], settings: Settings, *, with_maps: bool
) -> Path:
    """Write the masks of some cases as a submission.

    Args:
        platform: one of `platforms.NAMES`.
        place: a folder that is not there yet; EvalAI's submission is a zip of that name.
        masks: the file of each case, by name.
        settings: the sockets of Grand Challenge.
        with_maps: each mask is its probability map as well.

    Returns:
        The submission: the folder or the zip.
    """
    place.mkdir(parents=True)
    if platform == "grand-challenge":
        jobs = [_job(place, case, file, settings, with_maps) for case, file in masks.items()]
        (place / PREDICTIONS).write_text(json.dumps(jobs, indent=2), encoding="utf-8")
        return place
    for folder in ("masks", *([MAPS] if with_maps else [])):
        (place / folder).mkdir()
        for case, file in masks.items():
            shutil.copy(file, place / folder / f"{case}{_ending(file)}")
    if platform == "codabench":
        return place
    archive = place.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in sorted(place.rglob("*")):
            if path.is_file():
                zipped.write(path, path.relative_to(place))
    return archive


def _job(place: Path, case: str, file: Path, settings: Settings, with_maps: bool) -> dict[str, object]:
    """A job of an algorithm phase, its outputs written."""
    slugs = [settings.mask_socket, *([settings.map_socket] if with_maps else [])]
    for slug in slugs:
        folder = place / case / "output" / "images" / slug
        folder.mkdir(parents=True)
        shutil.copy(file, folder / f"output{_ending(file)}")
    inputs = [_value("image", case + _ending(file))]
    return {"pk": case, "inputs": inputs, "outputs": [_value(slug, file.name) for slug in slugs], "status": "Succeeded"}


def _value(slug: str, name: str) -> dict[str, object]:
    socket = {"slug": slug, "relative_path": f"images/{slug}", "kind": "Image", "super_kind": "Image"}
    return {"image": {"pk": name, "name": name}, "file": None, "value": None, "socket": socket}


def _ending(file: Path) -> str:
    return file.name[len(bare_stem(file.name)) :]
