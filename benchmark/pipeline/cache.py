"""Preprocessing, done once: a case's images stacked into one memory-mapped array, keyed by their content.

An entry is a folder ``<cache>/<key>/`` with ``image.npy`` (D, C, H, W; float32; physical units), ``brain.npy`` and
``reference.npy`` (D, H, W; uint8), and ``meta.json`` with the spacing, the statistics of each map inside the brain, the
head's midline and the checksums of the arrays. The key is a digest of the content of the case's files and of how their
format has them read, so an entry is never stale. An entry is built in a temporary folder and renamed; of two processes
that build the same one, the second discards its own.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.pipeline.brain import brain_mask
from benchmark.pipeline.intensity import Window, brain_statistics, strip, zscore
from benchmark.pipeline.midline import Midline, estimate_midline
from benchmark.pipeline.on_grid import read_on_grid
from benchmark.rundir.sealed import read_sealed, write_sealed
from leaderboard.cohort.case import Case, ImageKind
from leaderboard.errors import InputError
from leaderboard.io.axes import slices_first
from leaderboard.io.digests import file_digest
from leaderboard.io.grids import Grid, canonical_spacing, to_canonical
from leaderboard.io.masks import read_mask

#: Part of every key: raise it when what is stored changes.
_LAYOUT = "5"
_ARRAYS = ("image", "brain", "reference")


@dataclass(frozen=True)
class CachedCase:
    """A preprocessed case."""

    name: str  #: of the case
    number: int  #: see `Case`
    channels: tuple[str, ...]  #: the kind of each image
    windows: tuple[Window, ...]  #: of each image, see `ImageKind`
    #: (D, C, H, W) float32 in physical units, memory-mapped. D, H and W are Z, Y and X of the file; where its header
    #: tells how its axes run, D runs to the head, H to the front and W to the right.
    image: np.ndarray
    brain: np.ndarray  #: (D, H, W) uint8 brain mask, memory-mapped
    reference: np.ndarray | None  #: (D, H, W) uint8 ground truth, memory-mapped; None where the case has none
    spacing_mm: tuple[float, float, float]  #: size of a voxel along W, H, D
    mean: np.ndarray  #: (C,) mean of each map inside the brain, as `intensity.zscore` takes it
    sd: np.ndarray  #: (C,) standard deviation likewise (at least 1e-3)
    lowest: np.ndarray  #: (C,) lowest value of each z-scored map
    midline: Midline  #: where the head's two halves meet

    @property
    def depth(self) -> int:
        """How many slices there are."""
        return len(self.brain)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a slice."""
        return self.brain.shape[1], self.brain.shape[2]

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Pixel size along X and Y."""
        return self.spacing_mm[0], self.spacing_mm[1]

    @property
    def lesion_slices(self) -> np.ndarray:
        """(D,) bool: which slices hold lesion."""
        if self.reference is None:
            return np.zeros(self.depth, dtype=bool)
        return np.asarray(self.reference.any(axis=(1, 2)))

    @functools.cached_property
    def lesion_pixels(self) -> np.ndarray:
        """(K, 2): row and column of each pixel that is lesion in any slice."""
        empty = np.zeros((0, 2), dtype=int)
        return empty if self.reference is None else np.argwhere(self.reference.any(axis=0))

    def zscored(self, slices: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """(S, C, H, W) of the chosen slices in standard deviations of the brain, see `intensity.zscore`."""
        stripped = strip(self.image[slices].swapaxes(0, 1), self.brain[slices], self.windows)
        return zscore(stripped, self.mean, self.sd).swapaxes(0, 1)


def build_cache(
    cases: Sequence[Case],
    kinds: Sequence[ImageKind],
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Make sure that every case has a sound entry; returns the entries' folders, in the order of `cases`.

    An entry whose arrays do not match their checksums (a flipped byte, a truncated file) is built again.

    Raises:
        InputError: a case's images cannot be read or do not fit together; every such case is named.
    """
    try:
        (cache / "digests").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{cache}: cannot be created ({error.strerror or error}): choose another cache folder"
        ) from None
    problems: list[str] = []
    entries: list[Path] = []

    def ensure(case: Case) -> Path | InputError:
        try:
            return _ensure_entry(case, kinds, cache)
        except InputError as error:
            return error

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, outcome in enumerate(pool.map(ensure, cases), start=1):
            if isinstance(outcome, InputError):
                problems += outcome.problems
            else:
                entries.append(outcome)
            if progress:
                progress(done, len(cases))
    if problems:
        raise InputError(problems)
    return entries


def open_entry(case: Case, entry: Path) -> CachedCase:
    """Memory-map an entry that `build_cache` returned."""
    meta = json.loads((entry / "meta.json").read_text())
    arrays = {file.stem: np.load(file, mmap_mode="r") for file in entry.glob("*.npy")}
    dx, dy, dz = meta["spacing_mm"]
    return CachedCase(
        case.name,
        case.number,
        tuple(meta["channels"]),
        tuple(window and (window[0], window[1]) for window in meta["windows"]),
        arrays["image"],
        arrays["brain"],
        arrays.get("reference"),
        (dx, dy, dz),
        np.asarray(meta["mean"], dtype=np.float32),
        np.asarray(meta["sd"], dtype=np.float32),
        np.asarray(meta["lowest"], dtype=np.float32),
        Midline(**meta["midline"] | {"centre_mm": tuple(meta["midline"]["centre_mm"])}),
    )


def case_digest(case: Case, kinds: Sequence[ImageKind], cache: Path | None = None) -> str:
    """SHA-256 over the images that the suite reads, the reference, and how the format says that they are read.

    Args:
        case: the case.
        kinds: the images that the suite reads.
        cache: where digests of files are remembered by path, size and time of change; None reads every file.
    """
    digest = hashlib.sha256(f"{_LAYOUT}:{case.grid};".encode())
    for kind in kinds:
        unit = kind.to_unit and kind.to_unit.__qualname__
        treated = json.dumps([kind.name, kind.tissue, kind.window, kind.own_grid, kind.repaired, unit])
        digest.update(f"{treated}:{_remembered_digest(case.images[kind.name], cache)};".encode())
    if case.reference is not None:
        digest.update(f"OT:{_remembered_digest(case.reference, cache)};".encode())
    return digest.hexdigest()


def _remembered_digest(path: Path, cache: Path | None) -> str:
    try:
        if cache is None:
            return file_digest(path)
        status = path.stat()
        identity = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        remembered = cache / "digests" / hashlib.sha256(identity.encode()).hexdigest()
        known = read_sealed(remembered)
        if known is not None and known["file"] == identity:
            return str(known["content"])
        digest = file_digest(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}): check the file and its permissions"
        ) from None
    write_sealed(remembered, {"file": identity, "content": digest})
    return digest


def cohort_digest(case_digests: Mapping[str, str]) -> str:
    """SHA-256 over the content of every case that the suite reads: `case_digest` by name."""
    return hashlib.sha256(json.dumps(case_digests, sort_keys=True).encode()).hexdigest()


def changed_cases(case_digests: Mapping[str, str], provenance: Mapping[str, Any]) -> list[str]:
    """Names of the cases that were changed, added or removed since the job of this provenance, by `case_digest`."""
    known = {name: case.get("sha256") for name, case in provenance["cohort"]["cases"].items()}
    return sorted(name for name in known.keys() | case_digests if known.get(name) != case_digests.get(name))


def _ensure_entry(case: Case, kinds: Sequence[ImageKind], cache: Path) -> Path:
    entry = cache / case_digest(case, kinds, cache)
    if entry.exists():
        if _is_sound(entry):
            return entry
        shutil.rmtree(entry, ignore_errors=True)
    arrays, meta = preprocess(case, kinds)
    temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
            meta[f"{name}_sha256"] = file_digest(temporary / f"{name}.npy")
        write_sealed(temporary / "meta.json", meta)
        try:
            temporary.rename(entry)
        except OSError:
            if not entry.exists():  # another process may have been first: then its entry is as good as ours
                raise
    except OSError as error:
        raise InputError(
            f"{entry}: cannot be written ({error.strerror or error}): check the folder and the disk"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return entry


def _is_sound(entry: Path) -> bool:
    if (meta := read_sealed(entry / "meta.json")) is None:
        return False
    try:
        return all(
            file_digest(entry / f"{name}.npy") == meta[f"{name}_sha256"] for name in _ARRAYS if f"{name}_sha256" in meta
        )
    except OSError:
        return False


def preprocess(case: Case, kinds: Sequence[ImageKind]) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Arrays and metadata of one case, as they are stored: on the reference's grid, axes in one order.

    Raises:
        InputError: unreadable images, differing shapes or spacings, non-finite values, or maps without any tissue.
    """
    grid, affine, images, problems = read_on_grid(case, kinds)
    arrays: dict[str, np.ndarray] = {}
    if case.reference is not None:
        on = Grid(grid.data.shape, grid.spacing_mm, affine)
        try:
            arrays["reference"] = read_mask(case.reference, on).voxels.astype(np.uint8)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    maps = [image for image, kind in zip(images, kinds, strict=True) if kind.tissue]
    brain = brain_mask(np.stack(maps or images))
    if not brain.any():
        raise InputError(f"{case.images[case.grid].parent.parent}: every map is zero: replace the case's images")
    image = slices_first(np.stack([to_canonical(image, affine) for image in images]))
    brain = slices_first(to_canonical(brain, affine))
    arrays = {name: slices_first(to_canonical(array, affine)) for name, array in arrays.items()}
    windows = [kind.window for kind in kinds]
    stripped = strip(image, brain, windows)
    mean, sd = brain_statistics(stripped, brain)
    spacing_mm = canonical_spacing(grid.spacing_mm, affine)
    arrays |= {"image": image.swapaxes(0, 1), "brain": brain.astype(np.uint8)}
    lowest = zscore(stripped, mean.astype(np.float32), sd.astype(np.float32)).min(axis=(1, 2, 3))
    meta: dict[str, object] = {
        "channels": [kind.name for kind in kinds],
        "windows": windows,
        "spacing_mm": spacing_mm,
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "lowest": lowest.tolist(),
        # On the first image: CT, of ISLES 2017 ADC, of ISLES 2022 DWI, whose bright lesions the search cuts off.
        "midline": asdict(estimate_midline(stripped[0], brain, spacing_mm)),
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, meta
