"""The tree of ISLES 2016 to 2018, as the SMIR platform gave it out.

It is ``<PARTITION>/case_<k>/SMIR.Brain.XX.O.<KIND>.<id>/SMIR.Brain.XX.O.<KIND>.<id>.nii``. The kind stands between
dots (``CT`` is not ``CT_4DPWI``), the id differs per image and follows no order, case numbers are not zero padded, and
archives carry ``.DS_Store`` and ``__MACOSX``.

Which patient a case belongs to is not in the tree. A format may know it from the ids; a ``patients.csv`` (columns
``case`` and ``patient``) in the cohort's folder overrides that, and one in a partition's folder overrides both: case
numbers repeat across the partitions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leaderboard.cohort import patients
from leaderboard.cohort.case import Case, ImageKind, Partition, Problem
from leaderboard.cohort.formats.interface import Cohort
from leaderboard.cohort.names import case_name, number_of_folder, submitted_file
from leaderboard.errors import InputError

_REFERENCE = "OT"
_IMAGE_NAME = re.compile(r"(?:SMIR|VSD)\.[^.]+\.[^.]+\.[^.]+\.(?P<kind>[^.]+)\.(?P<id>\d+)(?P<suffix>\.nii(?:\.gz)?)?")
_PARTITION_NAMES: tuple[tuple[Partition, re.Pattern[str]], ...] = (
    ("training", re.compile(r"(?:.*[-_ ])?train(?:ing)?", re.IGNORECASE)),
    ("testing", re.compile(r"(?:.*[-_ ])?test(?:ing)?", re.IGNORECASE)),
)


@dataclass(frozen=True)
class SmirFormat:
    """One edition of the tree; see `Format`.

    Attributes:
        name: of the edition.
        title: likewise.
        images: the kinds that every case has, in order.
        grid: the kind whose id names a submitted file and whose header a prediction gets.
        background: the kind that pictures show.
        time_series: a kind that is allowed and never required (many copies leave it out for its size).
        patient: the patient of a case by partition, number and the ids of its images; None where it is unknown.
        old_names: kinds as another release names them.
        marks: kinds that only this edition has; empty takes any tree.
        released: how many cases there are.
    """

    name: str
    title: str
    images: tuple[ImageKind, ...]
    grid: str
    background: str
    time_series: str
    patient: Callable[[Partition, int, frozenset[int]], str | None]
    old_names: Mapping[str, str] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()
    released: Mapping[Partition, int] = field(default_factory=dict)
    tree: str = "TRAINING/case_<k> or TESTING/case_<k>"
    lesion_in_every_case: bool = True

    def find(self, root: Path) -> dict[Partition, Path]:
        """See `Format`.

        `root` may be the folder above ``TRAINING`` and ``TESTING`` or one of these itself. A folder of cases whose name
        says nothing is the training partition if any of its cases has a reference, else the testing partition.
        """
        found: dict[Partition, Path] = {}
        for folder in [root, *sorted(path for path in root.iterdir() if path.is_dir())]:
            if not (cases := _case_folders(folder)) or not self._is_ours(cases.values()):
                continue
            partition = _partition_of(folder)
            if partition is None:
                if folder != root:
                    continue
                has_reference = any(folder.glob(f"*/*.{_REFERENCE}.*"))
                partition = "training" if has_reference else "testing"
            if partition in found:
                raise InputError(
                    f"{root}: both {found[partition].name} and {folder.name} look like the {partition} cases: "
                    "give one of them"
                )
            found[partition] = folder
        return found

    def scan(self, root: Path, partition: Partition) -> Cohort:
        """See `Format`."""
        folder_of_all = self.find(root)[partition]
        folders = _case_folders(folder_of_all)
        names = [case_name(number) for number, _ in folders]
        patient_of, beyond = patients.read_patients(_patient_folders(root, folder_of_all), names)
        problems = [
            Problem(
                None,
                f"{folder}: holds a case's images, and its name is no case's: name it case_<k>, or move it elsewhere",
            )
            for folder in _misnamed_folders(folder_of_all)
        ]
        cases: list[Case] = []
        seen: dict[int, Path] = {}
        for (number, _), folder in sorted(folders.items()):
            if number in seen:
                problems.append(
                    Problem(case_name(number), f"{folder}: same case number as {seen[number].name}: keep one of them")
                )
                continue
            seen[number] = folder
            case, faults = self._scan_case(folder, number, partition, patient_of)
            cases.append(case)
            problems += [Problem(case.name, fault) for fault in faults]
        return Cohort(root, self, partition, self.images, tuple(cases), tuple(problems), self.background, tuple(beyond))

    def submitted_file(self, case: Case, free_name: str) -> str:
        """``SMIR.<free name>.<id of the image that the grid is of>.nii``."""
        return submitted_file(free_name, case.ids[case.grid])

    def known_faults(self, case: Case) -> Sequence[str]:
        """None is known."""
        return ()

    def _is_ours(self, folders: Iterable[Path]) -> bool:
        """Whether the cases hold an image that only this edition has."""
        return not self.marks or any(
            match["kind"] in self.marks
            for folder in folders
            for path in folder.iterdir()
            if (match := _IMAGE_NAME.fullmatch(path.name))
        )

    def _scan_case(
        self, folder: Path, number: int, partition: Partition, patient_of: Mapping[str, str]
    ) -> tuple[Case, list[str]]:
        """One case folder, and the lines that say what is wrong with it."""
        found: dict[str, list[tuple[int, Path]]] = {}
        faults: list[str] = []
        for entry in sorted(folder.iterdir()):
            match = _IMAGE_NAME.fullmatch(entry.name)
            if not match:
                continue
            kind = self.old_names.get(match["kind"], match["kind"])
            files = _image_files(entry) if entry.is_dir() else [entry] if match["suffix"] else []
            if not files:
                faults.append(f"{entry}: holds no .nii file: unpack the archive again")
            found.setdefault(kind, []).extend((int(match["id"]), file) for file in files)
        for kind, entries in found.items():
            if len(entries) > 1:
                names = ", ".join(file.name for _, file in entries)
                faults.append(f"{folder}: {kind} is there {len(entries)} times ({names}): keep one")
        channels = [kind.name for kind in self.images]
        needed = channels + ([_REFERENCE] if partition == "training" else [])
        faults += [f"{folder}: {kind} is missing: unpack the archive again" for kind in needed if kind not in found]
        known = [*channels, _REFERENCE, self.time_series]
        others = sorted(kind for kind in found if kind not in known)
        faults += [f"{folder}: {kind} is no image of {self.title}: move it elsewhere" for kind in others]
        images = {kind: found[kind][0][1] for kind in known if kind != _REFERENCE and found.get(kind)}
        ids = {kind: found[kind][0][0] for kind in known if found.get(kind)}
        reference = found[_REFERENCE][0][1] if found.get(_REFERENCE) else None
        name = case_name(number)
        patient = patient_of.get(name) or self.patient(partition, number, frozenset(ids.values()))
        return Case(name, number, partition, patient, images, reference, self.grid, ids), faults


def _partition_of(folder: Path) -> Partition | None:
    """The partition that a folder's name tells, if any."""
    name = folder.resolve().name
    return next((partition for partition, pattern in _PARTITION_NAMES if pattern.fullmatch(name)), None)


def _patient_folders(root: Path, partition_folder: Path) -> list[Path]:
    """Folders whose ``patients.csv`` speaks for the partition, the nearest last.

    Where `root` is itself TRAINING or TESTING, the cohort's folder is the one above it.
    """
    if root != partition_folder:
        return [root, partition_folder]
    return [root.resolve().parent, root] if _partition_of(root) else [root]


def _case_folders(folder: Path) -> dict[tuple[int, str], Path]:
    """Case folders by (number, name); everything else in the folder is left out (see `_misnamed_folders`)."""
    return {
        (number, path.name): path
        for path in folder.iterdir()
        if (number := number_of_folder(path.name)) is not None and path.is_dir()
    }


def _misnamed_folders(folder: Path) -> list[Path]:
    """Folders that are no case folders by their names, and hold images as those do."""
    return sorted(
        path
        for path in folder.iterdir()
        if number_of_folder(path.name) is None
        and path.is_dir()
        and any(_IMAGE_NAME.fullmatch(entry.name) for entry in path.iterdir())
    )


def _image_files(folder: Path) -> list[Path]:
    """NIfTI files of an image folder; ``._`` files are macOS resource forks."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith((".nii", ".nii.gz")) and not path.name.startswith(".") and path.is_file()
    )
