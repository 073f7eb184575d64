"""What the formats have in common that name a case ``sub-...``, as BIDS does: files found by their suffix."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leaderboard.cohort import patients
from leaderboard.cohort.case import Case, ImageKind, Partition, Problem
from leaderboard.cohort.formats.interface import Cohort, Format
from leaderboard.cohort.names import mask_stem, natural_key


@dataclass(frozen=True)
class NamedFormat:
    """What formats have in common whose predictions are named like their cases; see `Format`."""

    name: str
    title: str
    tree: str
    lesion_in_every_case: bool = False
    released: Mapping[Partition, int] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)  #: what is known to be wrong with a case, by its name

    def submitted_file(self, case: Case, free_name: str) -> str:
        """Named like the case; platforms rename what a container writes."""
        return f"{case.name}.nii.gz"

    def known_faults(self, case: Case) -> Sequence[str]:
        """See `Format`."""
        return (self.known[case.name],) if case.name in self.known else ()


#: Said of a reference that is empty and right.
NO_LESION = "its reference is empty in the release: no lesion was found"


@dataclass(frozen=True)
class Subject:
    """One subject's files.

    Attributes:
        name: ``sub-...``.
        folder: its folder, for messages.
        images: the files that may be the image of each kind.
        references: the files that may be the reference.
        centre: where it was scanned, if known.
    """

    name: str
    folder: Path
    images: Mapping[str, Sequence[Path]]
    references: Sequence[Path]
    centre: str | None = None


def nifti_files(folder: Path) -> list[Path]:
    """Every NIfTI file below a folder, in order; hidden ones are left out."""
    return sorted(
        path
        for path in folder.rglob("*.nii*")
        if path.name.lower().endswith((".nii", ".nii.gz"))
        and not path.name.startswith(".")
        and "__MACOSX" not in path.parts
        and path.is_file()
    )


def ending_in(files: Iterable[Path], pattern: str) -> list[Path]:
    """Those files whose name, without ``.nii`` or ``.nii.gz``, ends in a pattern, in whatever case."""
    ending = re.compile(rf"(?:.*_)?(?:{pattern})\.nii(?:\.gz)?", re.IGNORECASE)
    return [path for path in files if ending.fullmatch(path.name)]


def subject_folders(folder: Path, pattern: str) -> list[Path]:
    """Folders of subjects in a folder, in natural order.

    Args:
        folder: may be missing.
        pattern: of a subject's name.
    """
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if re.fullmatch(pattern, path.name) and path.is_dir())
    return sorted(found, key=lambda path: natural_key(path.name))


def case_numbers(names: Sequence[str]) -> dict[str, int]:
    """A number for each name of a cohort: the one in it, if it has one alone that no other has, else a checksum."""
    numbers = {name: re.findall(r"\d+", name) for name in names}
    single = {name: int(found[0]) for name, found in numbers.items() if len(found) == 1 and len(found[0]) < 10}
    count = Counter(single.values())
    return {
        name: single[name] if name in single and count[single[name]] == 1 else zlib.crc32(name.encode())
        for name in names
    }


def cohort_of(
    form: Format,
    root: Path,
    partition: Partition,
    subjects: Sequence[Subject],
    images: tuple[ImageKind, ...],
    *,
    grid: str,
    background: str,
    remedy: str = "unpack the archive again",
) -> Cohort:
    """The cohort of some subjects, each a patient of its own unless a ``patients.csv`` in `root` says otherwise.

    Args:
        form: the format.
        root: as it was given.
        partition: of the subjects; those of the training partition need a reference.
        subjects: in natural order.
        images: the kinds that each must have.
        grid: see `Case`.
        background: see `Cohort`.
        remedy: what to do where an image is missing.
    """
    patient_of, beyond = patients.read_patients([root], [subject.name for subject in subjects])
    numbers = case_numbers([subject.name for subject in subjects])
    cases: list[Case] = []
    problems: list[Problem] = []
    for subject in subjects:
        found = {kind.name: list(subject.images.get(kind.name, ())) for kind in images}
        if partition == "training":
            found[""] = list(subject.references)
        for kind, files in found.items():
            what = kind or "the reference"
            if not files:
                problems.append(Problem(subject.name, f"{subject.folder}: {what} is missing: {remedy}"))
            elif len(files) > 1:
                names = ", ".join(str(path.relative_to(root)) for path in files)
                fault = f"{subject.folder}: {what} is there {len(files)} times ({names}): keep one"
                problems.append(Problem(subject.name, fault))
        paths = {kind: files[0] for kind, files in found.items() if files and kind}
        reference = found[""][0] if found.get("") else None
        cases.append(
            Case(
                subject.name,
                numbers[subject.name],
                partition,
                patient_of.get(subject.name, subject.name),
                paths,
                reference,
                grid,
                other_names=(mask_stem(paths[grid].name),) if grid in paths else (),
                centre=subject.centre,
            )
        )
    return Cohort(root, form, partition, images, tuple(cases), tuple(problems), background, tuple(beyond))
