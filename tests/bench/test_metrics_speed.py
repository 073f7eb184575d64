"""How fast scoring is, in ratios measured within one run: against a plain medpy loop, and over the cores.

Nothing here fails for being slow; the figures are printed and stand under ``extra_info`` in ``.benchmarks/bench.json``.
The values are compared, and these do fail.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from medpy.metric import binary
from scipy import ndimage

from leaderboard.cases import write_cases
from leaderboard.cohort.formats.isles2018 import case_table
from leaderboard.io.images import write_mask
from leaderboard.io.masks import read_mask
from leaderboard.scoring.folder import score_cases
from leaderboard.scoring.metrics import measure
from leaderboard.scoring.one_case import score_case
from leaderboard.scoring.references import find_references

pytestmark = pytest.mark.bench

Pair = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]
ROUNDS = 3
COPIES = 16


def smooth(random: np.random.Generator, shape: tuple[int, ...], sigma_mm: float, spacing: np.ndarray) -> np.ndarray:
    noise = ndimage.gaussian_filter(random.standard_normal(shape), sigma_mm / spacing)
    return noise / noise.std()


def slabs() -> Iterator[Pair]:
    """(prediction, reference, spacing) at the shapes, voxel sizes and lesion volumes of the 94 training cases.

    A reference is a ragged ball of a log-normal volume around 16.6 mL, a prediction the same with other edges and
    some islands elsewhere: mean Dice near 0.65.
    """
    random = np.random.default_rng(0)
    table = case_table().query("partition == 'train'")
    for slices, *size in table[["slices", "dx_mm", "dy_mm", "dz_mm"]].itertuples(index=False):
        shape, spacing = (256, 256, int(slices)), np.array(size, dtype=float)
        grid = np.indices(shape, sparse=True)
        centre = [*random.uniform(90, 166, 2), random.uniform(0, slices - 1)]
        away = np.sqrt(sum(((axis - at) * mm) ** 2 for axis, at, mm in zip(grid, centre, spacing, strict=True)))
        voxels = int(np.clip(random.lognormal(np.log(16.6), 1.2), 0.78, 259.5) * 1000 / spacing.prod())
        voxels = min(voxels, away.size // 8)
        radius = (voxels * spacing.prod() * 3 / 4 / np.pi) ** (1 / 3)
        score = 0.35 * smooth(random, shape, 6, spacing) - away / radius
        reference = score >= np.partition(score, -voxels, axis=None)[-voxels]
        score += 0.4 * smooth(random, shape, 4, spacing)
        voxels = max(int(voxels * random.lognormal(0, 0.35)), 1)
        prediction = score >= np.partition(score, -voxels, axis=None)[-voxels]
        for _ in range(random.integers(0, 4)):
            x, y, z, width = *random.integers(60, 190, 2), random.integers(slices), random.integers(2, 7)
            prediction[x : x + width, y : y + width, z] = True
        yield prediction, reference, tuple(float(mm) for mm in spacing)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return list(slabs())


def plain_medpy(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """The five metrics as a script would take them."""
    volumes = [np.count_nonzero(mask) * np.prod(spacing) / 1000 for mask in (prediction, reference)]
    return {
        "dice": binary.dc(prediction, reference),
        "hausdorff_mm": binary.hd(prediction, reference, spacing),
        "precision": binary.precision(prediction, reference),
        "recall": binary.recall(prediction, reference),
        "avd_ml": abs(volumes[0] - volumes[1]),
    }


def plain_medpy_with_surfaces(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> dict:
    """All of our metrics that medpy has, each by its own function."""
    return {
        **plain_medpy(prediction, reference, spacing),
        "hd95_mm": binary.hd95(prediction, reference, spacing),
        "assd_mm": binary.assd(prediction, reference, spacing),
    }


def seconds(function: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    started = clock()
    function()
    return clock() - started


def test_every_metric_against_plain_medpy_loops(pairs, benchmark, capsys, figure) -> None:
    ways = {
        "medpys_five": lambda: [plain_medpy(*pair) for pair in pairs],
        "medpys_seven": lambda: [plain_medpy_with_surfaces(*pair) for pair in pairs],
        "ours_all": lambda: [measure(*pair) for pair in pairs],
    }
    # in turns, so that a busy moment of the machine meets all of them; one thread, so processor time is one core's
    best = {
        name: min(times)
        for name, times in zip(
            ways, zip(*[[seconds(way) for way in ways.values()] for _ in range(ROUNDS)], strict=True), strict=True
        )
    }
    benchmark.pedantic(ways["ours_all"], rounds=ROUNDS)
    benchmark.extra_info |= {f"{name}_s": round(value, 4) for name, value in best.items()}
    benchmark.extra_info["all_times_faster_than_medpys_five"] = round(best["medpys_five"] / best["ours_all"], 1)
    benchmark.extra_info["all_times_faster_than_medpys_seven"] = round(best["medpys_seven"] / best["ours_all"], 1)
    report(capsys, "94 cases in memory, one core", benchmark.extra_info)
    for other, what in (("five", "medpy's five metrics"), ("seven", "the seven that medpy has")):
        figure(f"{what} / all of ours", benchmark.extra_info[f"all_times_faster_than_medpys_{other}"], "")
    for pair, expected in zip(pairs, ways["medpys_seven"](), strict=True):
        found = measure(*pair)
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_scoring_files_over_the_cores(pairs, benchmark, capsys, figure, tmp_path: Path) -> None:
    for folder in ("references", "predictions"):
        (tmp_path / folder).mkdir()
    for number, (prediction, reference, spacing) in enumerate(pairs, start=1):
        header = nib.Nifti1Header()
        header.set_data_shape(reference.shape)
        header.set_zooms(spacing)
        write_mask(tmp_path / "references" / f"case_{number}.nii", reference, header)
        write_mask(tmp_path / "predictions" / f"case_{number}.nii.gz", prediction, header)
    cases = find_references(tmp_path / "references", tmp_path / "predictions")
    names = [(case.reference, tmp_path / "predictions" / f"{case.name}.nii.gz") for case in cases]
    scored = score_cases(cases, tmp_path / "predictions", "bench", jobs=1)
    # the figures of 94 cases, then the cores on so many more that starting processes is not what is measured
    for copy in range(1, COPIES):
        for number in range(1, len(pairs) + 1):
            for folder, ending in (("references", "nii"), ("predictions", "nii.gz")):
                path = tmp_path / folder / f"case_{number}.{ending}"
                path.with_name(f"case_{1000 * copy + number}.{ending}").hardlink_to(path)
    many = find_references(tmp_path / "references", tmp_path / "predictions")
    info = {
        "read_s": seconds(lambda: [read_mask(path) for files in names for path in files], time.perf_counter),
        "compute_s": seconds(lambda: [score_case(*pair) for pair in pairs], time.perf_counter),
    }
    info["write_s"] = seconds(lambda: write_cases(tmp_path / "cases.csv", scored), time.perf_counter)
    cores = len(os.sched_getaffinity(0))
    frames = {}
    for jobs in sorted({1, 2, cores}):
        walls, loads = [], []
        for _ in range(2):
            spent, started = processor_seconds(), time.perf_counter()
            frames[jobs] = score_cases(many, tmp_path / "predictions", "bench", jobs=jobs)
            walls.append(time.perf_counter() - started)
            # one process does all of it, or the parent little and each of the others its share
            own, others = (after - before for after, before in zip(processor_seconds(), spent, strict=True))
            loads.append(own + others / jobs)
        info[f"jobs_{jobs}_s"], info[f"jobs_{jobs}_processor_s_a_core"] = min(walls), min(loads)
    benchmark.pedantic(lambda: score_cases(many, tmp_path / "predictions", "bench"), rounds=1)
    benchmark.extra_info |= {name: round(float(value), 3) for name, value in info.items()}
    benchmark.extra_info |= {"cores": cores, "cases_over_the_cores": len(many)}
    benchmark.extra_info["times_faster_on_all_cores"] = round(info["jobs_1_s"] / info[f"jobs_{cores}_s"], 2)
    # what that would be if nothing else ran on the machine
    benchmark.extra_info["times_less_processor_time_a_core"] = round(
        info["jobs_1_processor_s_a_core"] / info[f"jobs_{cores}_processor_s_a_core"], 2
    )
    report(capsys, "94 cases from files", benchmark.extra_info)
    figure("scoring 94 cases: reading [s]", info["read_s"], "")
    figure("scoring 94 cases: computing [s]", info["compute_s"], "")
    figure("scoring 94 cases: writing the table [s]", info["write_s"], "")
    figure(f"scoring {len(many)} cases: one process / {cores}", benchmark.extra_info["times_faster_on_all_cores"], "")
    assert all(frame.equals(frames[1]) for frame in frames.values())


def processor_seconds() -> tuple[float, float]:
    """Processor time of this process and of its ended children."""
    return tuple(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def report(capsys, title: str, figures: dict[str, object]) -> None:
    with capsys.disabled():
        print(f"\n{title}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
