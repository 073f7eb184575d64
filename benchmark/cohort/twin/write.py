"""Writing the twin: the ISLES 2018 tree, with the real files' names and headers and a synthetic content.

Header facts of the real files: the affine is the identity (sform code 2, qform code 0), the spacing stands in
``pixdim`` alone, ``scl_slope`` is nan, units are mm and s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from threadpoolctl import threadpool_limits

from benchmark.cohort.twin.layout import PartitionKey, Patient, Slab, patients_of
from benchmark.cohort.twin.patient import Images, simulate
from leaderboard.cohort.formats.isles2018 import FORMAT
from leaderboard.cohort.names import case_name
from leaderboard.errors import InputError
from leaderboard.io.images import write_bytes, write_text
from leaderboard.parallel import cores, uninterrupted, workers
from leaderboard.report import BANNER, SYNTHETIC

#: Raised whenever the same arguments would give other bytes than before.
GENERATOR_VERSION = 1
#: File with the arguments, beside the partitions.
MANIFEST = "twin.json"
#: Folder of the test cases' references; the real ones were never published.
TEST_REFERENCES = "TESTING_REFERENCES"
LARGEST_TRAINING, LARGEST_TESTING = 94, 62
SMALLEST_SIZE, LARGEST_SIZE = 32, 256
_FOLDERS: dict[PartitionKey, str] = {"train": "TRAINING", "test": "TESTING"}


@dataclass(frozen=True)
class Simulation:
    """One patient to simulate, and the cases of it to write."""

    out: Path
    patient: Patient
    cases: tuple[int, ...]
    seed: int
    with_4d: bool


def write_twin(
    out: Path,
    *,
    cases: int,
    size: int,
    seed: int,
    test_cases: int = 0,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    with_4d: bool = False,
) -> None:
    """Write a synthetic cohort in the ISLES 2018 tree.

    The bytes depend on `cases`, `size`, `seed`, `test_cases` and `with_4d` alone; a case's bytes do not even depend
    on the number of cases. A finished twin with the same arguments is left as it is, an unfinished one is continued.

    Args:
        out: new or empty folder, or a twin of the same arguments. Gets ``TRAINING``, ``TESTING`` and
            ``TESTING_REFERENCES`` (references of the test cases, ``case_<k>.nii``), ``twin.json`` and ``banner.txt``.
        cases: number of training cases, 1 to 94.
        size: pixels along X and Y, 32 to 256; the field of view is that of the real case at any size.
        seed: not negative.
        test_cases: number of test cases, 0 to 62.
        jobs: processes; None takes as many as there are processors.
        progress: called with the number of cases written and the number of all cases.
        with_4d: write the perfusion series (``CT_4DPWI``, smoothed, float32) too.

    Raises:
        InputError: an argument is out of range, or `out` holds something else.
    """
    _check_arguments(cases, size, seed, test_cases, jobs)
    manifest = {
        "generator": "isles-benchmark twin",
        "generator_version": GENERATOR_VERSION,
        "cases": cases,
        "size": size,
        "seed": seed,
        "test_cases": test_cases,
        "with_4d": with_4d,
    }
    _claim(out, manifest)
    counts: dict[PartitionKey, int] = {"train": cases, "test": test_cases}
    todo = [
        Simulation(out, patient, missing, seed, with_4d)
        for partition, count in counts.items()
        for patient in patients_of(partition, count, size)
        if (missing := _missing_cases(out, patient, count, with_4d))
    ]
    total = cases + test_cases
    done = total - sum(len(simulation.cases) for simulation in todo)
    report = progress or (lambda _done, _total: None)
    report(done, total)
    for written in _run(todo, jobs):
        done += written
        report(done, total)


def nifti_bytes(data: np.ndarray, spacing_mm: Sequence[float]) -> bytes:
    """An uncompressed NIfTI-1 file with the header of the real cohort's files.

    Args:
        data: shape (X, Y, Z) or (X, Y, Z, T); its type is stored as it is.
        spacing_mm: voxel size along each axis (the time between frames in s along T).
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_zooms(spacing_mm)
    header.set_xyzt_units("mm", "sec")
    header.set_sform(np.eye(4), code=2)
    header["qform_code"] = 0
    return nib.Nifti1Image(data, None, header).to_bytes()


def image_path(out: Path, partition: PartitionKey, slab: Slab, kind: str) -> Path:
    """Where an image of a case lies; ``OT`` of a test case lies outside ``TESTING``."""
    if kind == "OT" and partition == "test":
        return out / TEST_REFERENCES / f"{case_name(slab.case)}.nii"
    name = f"SMIR.Brain.XX.O.{kind}.{slab.ids[kind]}"
    return out / _FOLDERS[partition] / case_name(slab.case) / name / f"{name}.nii"


def _kinds(with_4d: bool) -> tuple[str, ...]:
    return (*(kind.name for kind in FORMAT.images), "OT", *(["CT_4DPWI"] if with_4d else []))


def _missing_cases(out: Path, patient: Patient, count: int, with_4d: bool) -> tuple[int, ...]:
    """Cases of a patient, up to case `count`, that lack a file."""
    return tuple(
        slab.case
        for slab in patient.slabs
        if slab.case <= count
        and not all(image_path(out, patient.partition, slab, kind).is_file() for kind in _kinds(with_4d))
    )


def _run(todo: Sequence[Simulation], jobs: int | None) -> Iterator[int]:
    """Do all simulations, yielding the number of cases that each one wrote."""
    processes = min(jobs or cores(), len(todo))
    if processes <= 1:
        with threadpool_limits(1):
            yield from map(_write_patient, todo)
        return
    slices = {id(simulation): sum(slab.slices for slab in simulation.patient.slabs) for simulation in todo}
    largest_first = sorted(todo, key=lambda simulation: -slices[id(simulation)])
    with workers(processes, _use_one_thread) as pool:
        with uninterrupted():
            futures = [pool.submit(_write_patient, simulation) for simulation in largest_first]
        for future in as_completed(futures):
            yield future.result()


def _use_one_thread() -> None:
    """Keep linear algebra to one thread for the rest of this process: faster, and the same bytes everywhere.

    It lives in this module so that a new process has loaded numpy's libraries before they are limited.
    """
    threadpool_limits(1)


def _write_patient(simulation: Simulation) -> int:
    """Simulate a patient and write its cases; the number of cases written."""
    for slab, images in zip(
        simulation.patient.slabs, simulate(simulation.patient, simulation.seed, simulation.with_4d), strict=True
    ):
        if slab.case in simulation.cases:
            _write_case(simulation, slab, images)
    return len(simulation.cases)


def _write_case(simulation: Simulation, slab: Slab, images: Images) -> None:
    for kind, data in (images.by_kind | {"OT": images.reference}).items():
        path = image_path(simulation.out, simulation.patient.partition, slab, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, nifti_bytes(data, (*slab.spacing_mm, slab.frame_s)[: data.ndim]))


def _check_arguments(cases: int, size: int, seed: int, test_cases: int, jobs: int | None) -> None:
    ranges = {
        "cases": (cases, 1, LARGEST_TRAINING),
        "size": (size, SMALLEST_SIZE, LARGEST_SIZE),
        "seed": (seed, 0, 2**63 - 1),
        "test-cases": (test_cases, 0, LARGEST_TESTING),
        "jobs": (1 if jobs is None else jobs, 1, 1024),
    }
    problems = [
        f"--{name}: {value} is out of range: choose {low} to {high}"
        for name, (value, low, high) in ranges.items()
        if not low <= value <= high
    ]
    if problems:
        raise InputError(problems)


def _claim(out: Path, manifest: dict[str, object]) -> None:
    """Make sure that `out` is ours to write: new, empty, or a twin of the same arguments."""
    path = out / MANIFEST
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file: give a new or empty folder")
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            found = None
        if found != manifest:
            raise InputError(f"{out}: holds a twin of other arguments (see {MANIFEST}): give another folder")
        for leftover in out.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        return
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: is not empty: give a new or empty folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror or error}): give another folder") from None
    write_text(path, json.dumps(manifest, indent=2) + "\n")
    write_text(out / BANNER, SYNTHETIC + "\n")
