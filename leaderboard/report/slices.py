"""Slices of cases as inline SVG: the image in grey, outlines of masks exact to the voxel, sizes in mm."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import Cohort
from leaderboard.errors import InputError
from leaderboard.io.grids import Grid, affine_of, resampled, same_grid, to_canonical
from leaderboard.io.images import read_volume

_JPEG_QUALITY = 82
_MARGIN = 3


@dataclass(frozen=True)
class Plane:
    """A slice, cropped to its content."""

    box: tuple[slice, slice]  #: the part of the slice that is shown, along X and Y
    width: float  #: in mm
    height: float  #: in mm
    pixel_mm: tuple[float, float]  #: size of a pixel along X and Y
    jpeg: str  #: the image in grey, in base64

    def image(self, name: str = "") -> str:
        """The image as an SVG element, with an id if it has a name."""
        return (
            f'<image{_id(name)} width="{self.width:.4g}" height="{self.height:.4g}" preserveAspectRatio="none" '
            f'href="data:image/jpeg;base64,{self.jpeg}"/>'
        )

    def outlined(self, mask: np.ndarray, kind: str, name: str = "") -> str:
        """The outline of a mask, shape (X, Y) of the whole slice, as an SVG element; empty for an empty mask.

        Args:
            mask: of the whole slice.
            kind: its class: ``reference`` or ``prediction``.
            name: its id, if it has one.
        """
        if not mask.any():
            return ""
        dx, dy = self.pixel_mm
        drawn = outline(mask[self.box])
        return f'<path{_id(name)} class="{kind}" transform="scale({dx:.4g} {dy:.4g})" d="{drawn}"/>'

    def drawing(self, label: str, *parts: str) -> str:
        """Elements as an inline SVG of the plane's size; `label` is for screen readers."""
        return (
            f'<svg class="slice" role="img" aria-label="{escape(label)}" '
            f'viewBox="0 0 {self.width:.4g} {self.height:.4g}">{"".join(parts)}</svg>'
        )


def read_background(
    case: Case, cohort: Cohort, grid: Grid, number: int
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """An axial slice of the image to draw on, shape (X, Y), and the values shown black and white.

    Args:
        case: the case.
        cohort: which says which image to show.
        grid: of its reference; an image on another one is resampled onto it.
        number: of the slice, from 0.

    Raises:
        InputError: the image is at fault, or differs in shape from the reference.
    """
    kind = next((kind for kind in cohort.images if kind.name == cohort.background), None)
    if kind is None:
        return np.zeros(to_canonical(np.empty(grid.shape, bool), grid.affine).shape[:2]), None
    volume = read_volume(case.images[kind.name])
    background, affine = volume.data, affine_of(volume.header, volume.spacing_mm)
    onto = grid.affine
    if affine is not None and onto is not None and not same_grid(background.shape, affine, grid.shape, onto):
        background = resampled(background, affine, grid.shape, onto) if background.ndim == 3 else background
    if background.shape != grid.shape:
        raise InputError(
            f"{case.images[kind.name]}: differs in shape from the reference of {case.name}: give the cohort that was "
            "scored, undamaged"
        )
    return np.asarray(to_canonical(background, grid.affine)[..., number], dtype=float), kind.shown


def crop(
    plane: np.ndarray, lesions: np.ndarray, pixel_mm: Sequence[float], window: tuple[float, float] | None
) -> Plane:
    """A slice cropped to its content.

    Args:
        plane: shape (X, Y). X runs to the right, Y upwards.
        lesions: everything that will be outlined, a mask of the same shape.
        pixel_mm: size of a pixel along X and Y.
        window: values shown black and white; None takes the plane's own range.
    """
    box = _box((np.abs(plane) > 0) if window is None else (plane > window[0]), lesions)
    grey = _grey(plane[box], window)
    dx, dy = (float(size) for size in pixel_mm)
    return Plane(box, grey.shape[0] * dx, grey.shape[1] * dy, (dx, dy), _jpeg(grey))


def best_slice(reference: np.ndarray, prediction: np.ndarray) -> int:
    """The slice with the most reference, or else the most prediction; the middle one if both are empty."""
    mask = reference if reference.any() else prediction
    areas = np.count_nonzero(mask, axis=(0, 1))
    return int(areas.argmax()) if areas.any() else mask.shape[2] // 2


def outline(mask: np.ndarray) -> str:
    """The borders of a mask: closed lines along pixel edges, as the data of an SVG path.

    Args:
        mask: shape (X, Y); the path has Y upwards, so that the last column of the array is at 0.
    """
    ends = _borders(mask[:, ::-1])
    parts = []
    while ends:
        start = at = next(iter(ends))
        corners = []
        direction = (0, 0)
        while True:
            onward = ends[at].pop()
            if not ends[at]:
                del ends[at]
            step = (onward[0] - at[0], onward[1] - at[1])
            if step != direction:
                corners.append(at)
            at, direction = onward, step
            if at == start:
                break
        first, *others = corners
        moves = [
            f"h{x - before[0]}" if y == before[1] else f"v{y - before[1]}"
            for before, (x, y) in zip(corners, others, strict=False)
        ]
        parts.append(f"M{first[0]} {first[1]}{''.join(moves)}z")
    return "".join(parts)


def _borders(mask: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """From each corner on a border, the corners that the border leads to, the mask always on the same side."""
    padded = np.pad(mask.astype(np.int8), 1)
    ends: dict[tuple[int, int], list[tuple[int, int]]] = {}
    across, along = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    for x, y in np.argwhere(across).tolist():
        a, b = ((x, y + 1), (x, y)) if across[x, y] > 0 else ((x, y), (x, y + 1))
        ends.setdefault(a, []).append(b)
    for x, y in np.argwhere(along).tolist():
        a, b = ((x, y), (x + 1, y)) if along[x, y] > 0 else ((x + 1, y), (x, y))
        ends.setdefault(a, []).append(b)
    return ends


def _box(tissue: np.ndarray, lesions: np.ndarray) -> tuple[slice, slice]:
    """The part of the plane that holds anything, with a margin."""
    shown = tissue | lesions
    if not shown.any():
        return slice(None), slice(None)
    spans = [np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0)]
    first, second = (slice(max(int(span[0]) - _MARGIN, 0), int(span[-1]) + _MARGIN + 1) for span in spans)
    return first, second


def _grey(plane: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Values 0 to 255 as bytes."""
    plane = np.nan_to_num(plane)
    low, high = window or (float(plane.min()), float(np.percentile(plane, 99.5)))
    return (np.clip((plane - low) / max(high - low, 1e-9), 0, 1) * 255).round().astype(np.uint8)


def _jpeg(grey: np.ndarray) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey[:, ::-1].T)).save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def covered_in_words(lesion: np.ndarray, predicted: np.ndarray) -> str:
    """The number of voxels within the outlines of a slice, in words."""
    both = int(np.count_nonzero(lesion & predicted))
    return (
        f"{np.count_nonzero(lesion)} voxels of reference, {np.count_nonzero(predicted)} of prediction, {both} of both."
    )


def _id(name: str) -> str:
    return f' id="{name}"' if name else ""
