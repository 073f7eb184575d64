"""Writing the twin: which cases lack files, by how many processes they are made, and whose folder it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmark.cohort.twin import isles2018, isles2022, isles2024
from benchmark.cohort.twin.layout import PartitionKey, Patient
from benchmark.cohort.twin.tree import Tree
from benchmark.cohort.twin_manifest import GENERATOR_VERSION, MANIFEST, VERSION, of_another_version, read_manifest
from leaderboard.errors import InputError
from leaderboard.io.images import write_bytes, write_text
from leaderboard.parallel import cores, uninterrupted, workers
from leaderboard.report import BANNER, SYNTHETIC

#: By name of the format; the first is the default.
TREES: dict[str, Tree] = {module.TREE.name: module.TREE for module in (isles2018, isles2022, isles2024)}
DEFAULT_FORMAT = isles2018.TREE.name
SMALLEST_SIZE, LARGEST_SIZE = 32, 256


@dataclass(frozen=True)
class Simulation:
    """One patient to simulate, and the cases of it to write."""

    out: Path
    format_name: str
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
    format_name: str = DEFAULT_FORMAT,
) -> None:
    """Write a synthetic cohort in the tree of a cohort format.

    The bytes depend on `format_name`, `cases`, `size`, `seed`, `test_cases` and `with_4d` alone; a case's bytes do not
    even depend on the number of cases. A finished twin with the same arguments is left as it is, an unfinished one is
    continued.

    Args:
        out: new or empty folder, or a twin of the same arguments. Gets the format's tree (of ISLES 2018 ``TRAINING``,
            ``TESTING`` and ``TESTING_REFERENCES``, the references of the test cases, ``case_<k>.nii``), ``twin.json``
            and ``banner.txt``.
        cases: number of training cases, 1 to as many as the release has.
        size: pixels along X and Y, 32 to 256; the field of view is that of the real case at any size. Of ISLES 2022
            those of the DWI of its larger centre.
        seed: not negative.
        test_cases: number of test cases, 0 to 62; ISLES 2018 alone has any.
        jobs: processes; None takes as many as there are processors.
        progress: called with the number of cases written and the number of all cases.
        with_4d: write the perfusion series too: of ISLES 2018 ``CT_4DPWI`` (smoothed, float32), of ISLES 2024
            ``space-ncct_ctp`` (likewise, in whole HU); ISLES 2022 has none.
        format_name: one of `TREES`.

    Raises:
        InputError: an argument is out of range, or `out` holds something else.
    """
    tree = tree_named(format_name)
    _check_arguments(tree, cases, size, seed, test_cases, jobs)
    manifest = {
        "generator": "isles-benchmark twin",
        VERSION: GENERATOR_VERSION,
        "cases": cases,
        "size": size,
        "seed": seed,
        "test_cases": test_cases,
        "with_4d": with_4d,
        **({} if format_name == DEFAULT_FORMAT else {"format": format_name}),
    }
    _claim(out, manifest)
    counts: dict[PartitionKey, int] = {"train": cases, "test": test_cases}
    patients = {key: tree.patients(key, count, size) for key, count in counts.items() if count}
    for name, content in tree.tables(patients["train"], seed).items():
        _write(out / name, content)
    todo = [
        Simulation(out, format_name, patient, missing, seed, with_4d)
        for partition, members in patients.items()
        for patient in members
        if (missing := _missing_cases(out, tree, patient, counts[partition], with_4d))
    ]
    total = cases + test_cases
    done = total - sum(len(simulation.cases) for simulation in todo)
    report = progress or (lambda _done, _total: None)
    report(done, total)
    for written in _run(todo, jobs):
        done += written
        report(done, total)


def tree_named(format_name: str) -> Tree:
    """The tree of a format.

    Raises:
        InputError: there is no twin of it.
    """
    if format_name not in TREES:
        raise InputError(f"there is no twin of the format {format_name}: choose among {', '.join(TREES)}")
    return TREES[format_name]


def _missing_cases(out: Path, tree: Tree, patient: Patient, count: int, with_4d: bool) -> tuple[int, ...]:
    """Cases of a patient, up to case `count`, that lack a file."""
    return tuple(
        slab.case
        for slab in patient.slabs
        if slab.case <= count and not all((out / name).is_file() for name in tree.files(patient, slab, with_4d))
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
    tree = TREES[simulation.format_name]
    for slab, files in tree.render(simulation.patient, simulation.seed, simulation.with_4d):
        if slab.case in simulation.cases:
            for name, content in files.items():
                _write(simulation.out / name, content)
    return len(simulation.cases)


def _write(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it; one that holds this already is left as it is."""
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)


def _check_arguments(tree: Tree, cases: int, size: int, seed: int, test_cases: int, jobs: int | None) -> None:
    ranges = {
        "cases": (cases, 1, tree.most["train"]),
        "size": (size, SMALLEST_SIZE, LARGEST_SIZE),
        "seed": (seed, 0, 2**63 - 1),
        "test-cases": (test_cases, 0, tree.most["test"]),
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
        found = read_manifest(out)
        if found != manifest:
            raise InputError(f"{out}: {_difference(found or {}, manifest)}")
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


def _difference(found: Mapping[str, object], manifest: Mapping[str, object]) -> str:
    """How a folder's manifest differs from the one to write, and what to do."""
    if {**found, VERSION: GENERATOR_VERSION} == manifest:
        return f"{of_another_version(found)}: delete the folder, or write to another (benchmark run: --out)"
    return f"holds a twin of other arguments (see {MANIFEST}): give another folder"
