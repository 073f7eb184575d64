"""A raw dataset of nnU-Net v2: ``Dataset<NNN>_<NAME>`` with ``imagesTr``, ``labelsTr``, ``imagesTs``.

Its ``dataset.json`` names the channels and the file ending; the images of a case are ``<case>_0000<ending>`` and so on,
all on one grid (nnU-Net's documentation, "dataset_format"). The label of the lesion must be 1, since masks here are of
0 and 1. nnU-Net knows no patients: a case is a patient of its own unless a ``patients.csv`` says otherwise.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from leaderboard.cohort.case import ImageKind, Partition
from leaderboard.cohort.formats.interface import Cohort
from leaderboard.cohort.formats.subjects import (
    NamedFormat,
    Subject,
    cohort_of,
)
from leaderboard.cohort.formats.tables import refuse_large
from leaderboard.cohort.kinds import kind_named
from leaderboard.cohort.names import natural_key
from leaderboard.errors import InputError

_FOLDERS: dict[Partition, tuple[str, str]] = {"training": ("imagesTr", "labelsTr"), "testing": ("imagesTs", "labelsTs")}


class NnUNet(NamedFormat):
    """See `Format`."""

    def find(self, root: Path) -> dict[Partition, Path]:
        """See `Format`."""
        if not (root / "dataset.json").is_file():
            return {}
        return {name: root / images for name, (images, _) in _FOLDERS.items() if (root / images).is_dir()}

    def scan(self, root: Path, partition: Partition) -> Cohort:
        """See `Format`.

        Raises:
            InputError: ``dataset.json`` cannot be used.
        """
        channels, ending = _described(root / "dataset.json")
        images, labels = (root / folder for folder in _FOLDERS[partition])
        pattern = re.compile(rf"(?P<case>.+)_(?P<channel>\d{{4}}){re.escape(ending)}")
        found: dict[str, dict[str, list[Path]]] = {}
        for path in sorted(images.iterdir()):
            match = pattern.fullmatch(path.name)
            if match and not path.name.startswith(".") and int(match["channel"]) < len(channels):
                found.setdefault(match["case"], {})[channels[int(match["channel"])].name] = [path]
        subjects = []
        for name in sorted(found, key=natural_key):
            label = labels / f"{name}{ending}"
            subjects.append(Subject(name, images, found[name], [label] if label.is_file() else []))
        grid = channels[0].name
        return cohort_of(self, root, partition, subjects, channels, grid=grid, background=grid, remedy="add it")


FORMAT = NnUNet(
    name="nnunet",
    title="an nnU-Net dataset",
    tree="dataset.json with imagesTr and labelsTr",
)


def _described(path: Path) -> tuple[tuple[ImageKind, ...], str]:
    """The kinds of image and the file ending that a ``dataset.json`` tells.

    Raises:
        InputError: it cannot be read or is too large, names no channels, or has other labels than background and one
            lesion.
    """
    try:
        refuse_large(path)
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{path}: is no JSON file: write it again") from None
    named = content.get("channel_names", content.get("modality")) if isinstance(content, dict) else None
    if not isinstance(named, dict) or sorted(named) != sorted(map(str, range(len(named)))) or not named:
        raise InputError(f'{path}: names no channels: give channel_names as {{"0": "DWI", "1": "ADC"}}')
    names = [str(named[str(place)]) for place in range(len(named))]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: names two channels alike ({', '.join(names)}): give each a name of its own")
    labels = content.get("labels")
    values = sorted(map(str, labels.values() if isinstance(labels, dict) else []))
    if labels is not None and values != ["0", "1"] and sorted(map(str, labels)) != ["0", "1"]:
        raise InputError(f"{path}: has other labels than background 0 and lesion 1: merge the lesion's labels into 1")
    ending = content.get("file_ending", ".nii.gz")
    if ending not in (".nii.gz", ".nii", ".mha", ".nrrd"):
        raise InputError(f"{path}: file_ending {ending} is not read: convert the images to .nii.gz")
    return tuple(kind_named(name) for name in names), ending
