"""What a case is, and the ISLES 2017 and 2018 trees on disk: ids, patients, paths.

The tree of both editions is ``<PARTITION>/case_<k>/SMIR.Brain.XX.O.<KIND>.<id>/SMIR.Brain.XX.O.<KIND>.<id>.nii``.
The kind stands between dots (``CT`` is not ``CT_4DPWI``), the id differs per image and follows no order, case
numbers are not zero padded, and archives carry ``.DS_Store`` and ``__MACOSX``.

Which patient a case belongs to is not in the tree. For ISLES 2018 it comes from the table that ships with this
package and is trusted only where an image id of the case agrees with it; a ``patients.csv`` (columns ``case`` and
``patient``) in the cohort's folder overrides it, and one in a partition's folder overrides both: case numbers repeat
across the partitions. In ISLES 2017 every case is a patient of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from leaderboard.cohort import patients
from leaderboard.cohort.names import case_name, number_of_folder
from leaderboard.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Partition = Literal["training", "testing"]
PARTITIONS: tuple[Partition, ...] = ("training", "testing")

#: Image kinds in the order in which every method sees them, by edition.
CHANNELS: dict[str, tuple[str, ...]] = {
    "isles2018": ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax"),
    "isles2017": ("MR_ADC", "MR_MTT", "MR_rCBF", "MR_rCBV", "MR_Tmax", "MR_TTP"),
}
#: The kind whose id names a submitted file, by edition.
SUBMISSION_KIND = {"isles2018": "CT_MTT", "isles2017": "MR_MTT"}
REFERENCE_KIND = "OT"
#: Time series: allowed, never required (many copies leave them out for their size).
TIME_SERIES_KINDS = frozenset({"CT_4DPWI", "MR_4DPWI"})
#: The first release of ISLES 2018 named a CT map so.
_FIRST_RELEASE_NAMES = {"MR_Tmax": "CT_Tmax"}

_IMAGE_NAME = re.compile(r"(?:SMIR|VSD)\.[^.]+\.[^.]+\.[^.]+\.(?P<kind>[^.]+)\.(?P<id>\d+)(?P<suffix>\.nii(?:\.gz)?)?")
_PARTITION_NAMES: tuple[tuple[Partition, re.Pattern[str]], ...] = (
    ("training", re.compile(r"(?:.*[-_ ])?train(?:ing)?", re.IGNORECASE)),
    ("testing", re.compile(r"(?:.*[-_ ])?test(?:ing)?", re.IGNORECASE)),
)


@dataclass(frozen=True)
class Case:
    """One scanned slab of one patient.

    Attributes:
        name: ``case_7``; of a folder of masks the name of the file where that is another.
        number: the case's number within its partition.
        partition: the partition it lies in.
        patient: the patient it belongs to, or None where that is unknown.
        images: path of each image, by kind (the reference is not among them).
        ids: the id of each image and of the reference, by kind.
        reference: path of the ground truth mask, or None where there is none.
    """

    name: str
    number: int
    partition: Partition
    patient: str | None
    images: Mapping[str, Path]
    ids: Mapping[str, int]
    reference: Path | None

    @property
    def submission_kind(self) -> str:
        """The kind of image whose id names a submitted file; empty where the case has none."""
        return next((kind for kind in SUBMISSION_KIND.values() if kind in self.ids), "")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a cohort: which case it concerns (None: all of it) and a line that says what to do."""

    case: str | None
    text: str


@dataclass(frozen=True)
class Cohort:
    """One partition of a tree on disk, cases in natural order.

    Attributes:
        root: the folder that was given.
        edition: ``isles2018`` or ``isles2017``.
        partition: which partition this is.
        cases: its cases.
        problems: what is wrong with the tree (empty for a cohort from `read_cohort`).
    """

    root: Path
    edition: str
    partition: Partition
    cases: tuple[Case, ...]
    problems: tuple[Problem, ...] = field(default=())

    @property
    def channels(self) -> tuple[str, ...]:
        """The image kinds of the edition, in the order in which every method sees them."""
        return CHANNELS[self.edition]


def case_table() -> pd.DataFrame:
    """Geometry, image ids and patient of each ISLES 2018 case (156 rows; shipped with the package).

    Returns:
        Columns ``partition`` (``train`` or ``test``), ``case``, ``patient``, ``slab`` (A or B), ``slices``,
        ``frames``, ``dx_mm``, ``dy_mm``, ``dz_mm`` (nan for test cases) and one ``id_<kind>`` a kind.
    """
    import pandas as pd

    with resources.files("leaderboard.cohort.data").joinpath("isles2018_cases.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def find_partitions(root: Path) -> dict[Partition, Path]:
    """Folders of `root` that hold cases, by partition.

    `root` may be the folder above ``TRAINING`` and ``TESTING`` or one of these itself. A folder of cases whose name
    says nothing is the training partition if any of its cases has a reference, else the testing partition.

    Raises:
        InputError: `root` is no folder, or holds no cases.
    """
    if not root.is_dir():
        fault = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"{root}: {fault}: give the folder that holds TRAINING and TESTING")
    found: dict[Partition, Path] = {}
    for folder in [root, *sorted(path for path in root.iterdir() if path.is_dir())]:
        if not _case_folders(folder):
            continue
        partition = _partition_of(folder)
        if partition is None:
            if folder != root:
                continue
            has_reference = any(folder.glob(f"*/*.{REFERENCE_KIND}.*"))
            partition = "training" if has_reference else "testing"
        if partition in found:
            raise InputError(
                f"{root}: both {found[partition].name} and {folder.name} look like the {partition} cases: "
                "give one of them"
            )
        found[partition] = folder
    if not found:
        raise InputError(
            f"{root}: holds no ISLES cases (no TRAINING/case_<k> or TESTING/case_<k>): give the folder above them"
        )
    return found


def scan_cohort(root: Path, partition: Partition | None = None) -> Cohort:
    """Read the tree's names (no image) and collect, not raise, what is wrong with single cases.

    Args:
        root: the cohort's folder, or one of its partitions.
        partition: which partition; None picks training where it is present.

    Raises:
        InputError: there is no such folder or partition.
    """
    partitions = find_partitions(root)
    if partition is None:
        partition = next(name for name in PARTITIONS if name in partitions)
    if partition not in partitions:
        raise InputError(f"{root}: has no {partition} cases: choose --partition {next(iter(partitions))}")
    folders = sorted(_case_folders(partitions[partition]).items())
    edition = _edition([folder for _, folder in folders])
    patient_of = patients.read_patients(_patient_folders(root, partitions[partition]))
    problems: list[Problem] = []
    cases: list[Case] = []
    seen: dict[int, Path] = {}
    for (number, _), folder in folders:
        if number in seen:
            problems.append(
                Problem(case_name(number), f"{folder}: same case number as {seen[number].name}: keep one of them")
            )
            continue
        seen[number] = folder
        case, faults = _scan_case(folder, number, partition, edition, patient_of)
        cases.append(case)
        problems += [Problem(case.name, fault) for fault in faults]
    return Cohort(root, edition, partition, tuple(cases), tuple(problems))


def read_cohort(root: Path, partition: Partition | None = None) -> Cohort:
    """The cohort under `root`, refusing a tree with missing or doubled images.

    An unknown patient is no obstacle to reading; whoever splits by patient must refuse it.

    Raises:
        InputError: with every structural problem of the tree.
    """
    cohort = scan_cohort(root, partition)
    if cohort.problems:
        raise InputError(problem.text for problem in cohort.problems)
    return cohort


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
    """Case folders by (number, name); everything else in the folder is ignored."""
    return {
        (number, path.name): path
        for path in folder.iterdir()
        if (number := number_of_folder(path.name)) is not None and path.is_dir()
    }


def _edition(folders: list[Path]) -> str:
    kinds = {
        match["kind"] for folder in folders for path in folder.iterdir() if (match := _IMAGE_NAME.fullmatch(path.name))
    }
    return "isles2017" if kinds & {"MR_ADC", "MR_rCBF", "MR_TTP"} else "isles2018"


def _scan_case(
    folder: Path, number: int, partition: Partition, edition: str, patient_of: Mapping[str, str]
) -> tuple[Case, list[str]]:
    """One case folder, and the lines that say what is wrong with it."""
    found: dict[str, list[tuple[int, Path]]] = {}
    faults: list[str] = []
    for entry in sorted(folder.iterdir()):
        match = _IMAGE_NAME.fullmatch(entry.name)
        if not match:
            continue
        kind = match["kind"]
        if edition == "isles2018":
            kind = _FIRST_RELEASE_NAMES.get(kind, kind)
        files = _image_files(entry) if entry.is_dir() else [entry] if match["suffix"] else []
        if not files:
            faults.append(f"{entry}: holds no .nii file: unpack the archive again")
        found.setdefault(kind, []).extend((int(match["id"]), file) for file in files)
    for kind, entries in found.items():
        if len(entries) > 1:
            names = ", ".join(file.name for _, file in entries)
            faults.append(f"{folder}: {kind} is there {len(entries)} times ({names}): keep one")
    needed = list(CHANNELS[edition]) + ([REFERENCE_KIND] if partition == "training" else [])
    faults += [f"{folder}: {kind} is missing: unpack the archive again" for kind in needed if kind not in found]
    known = [*CHANNELS[edition], REFERENCE_KIND, *sorted(TIME_SERIES_KINDS)]
    faults += [f"{folder}: unknown image kind {kind}: remove it" for kind in sorted(found) if kind not in known]
    images = {kind: found[kind][0][1] for kind in known if kind != REFERENCE_KIND and found.get(kind)}
    ids = {kind: found[kind][0][0] for kind in known if found.get(kind)}
    reference = found[REFERENCE_KIND][0][1] if found.get(REFERENCE_KIND) else None
    name = case_name(number)
    patient = patient_of.get(name) or patients.known_patient(edition, partition, number, frozenset(ids.values()))
    return Case(name, number, partition, patient, images, ids, reference), faults


def _image_files(folder: Path) -> list[Path]:
    """NIfTI files of an image folder; ``._`` files are macOS resource forks."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith((".nii", ".nii.gz")) and not path.name.startswith(".") and path.is_file()
    )


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key under which ``case_2`` comes before ``case_10``."""
    parts = re.split(r"(\d+)", name)
    # Python converts no number of more than 4300 digits, and a name in a strange archive may have them
    return tuple((int(part), "") if part.isdecimal() and len(part) < 1000 else (-1, part) for part in parts)
