"""The same case across all methods: a few cases, the same slice for everyone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import Cohort
from leaderboard.io import GridRule
from leaderboard.io.grids import Grid, canonical_spacing, to_canonical
from leaderboard.report.content import Content
from leaderboard.report.scored_masks import Find, read_reference, read_scored
from leaderboard.report.slices import best_slice, covered_in_words, crop, read_background

#: Number of cases that are shown.
CASES = 6
#: How they are chosen, for the page.
RULE = "spread evenly from the easiest to the hardest by mean Dice over all methods"
#: Most bytes of the page that the views take together.
BUDGET_BYTES = 2_000_000


@dataclass(frozen=True)
class Tile:
    """A method's mask of the case."""

    method: str  #: whose
    dice: float  #: of the case, as the policy counts it
    status: str  #: as in cases.csv
    image: str  #: inline SVG that refers to the image and reference in `View.image` by their ids


@dataclass(frozen=True)
class View:
    """A case for the page."""

    case: str  #: its name
    dice: float  #: mean over all methods
    reference_ml: float  #: volume of its reference
    slice: tuple[int, int]  #: number of the slice from 1, and how many there are
    image: str  #: the slice with its reference as inline SVG
    tiles: tuple[Tile, ...]  #: of the methods, by rank


@dataclass
class _Slice:
    """The part of a case that is kept until every method was read: an axial slice of everything, masks (X, Y)."""

    case: Case
    number: int
    count: int
    reference: np.ndarray
    pixel_mm: tuple[float, float]
    grid: Grid
    masks: dict[str, np.ndarray] = field(default_factory=dict)


def mean_dice(content: Content) -> dict[str, float]:
    """Mean Dice of each case over all methods, as the policy counts it."""
    means = np.asarray(content.analysis.matrices.values["dice"]).mean(axis=0)
    return dict(zip(content.case_names, means.tolist(), strict=True))


def by_difficulty(content: Content) -> list[str]:
    """The cases from the easiest to the hardest by `mean_dice`; equal ones in natural order."""
    means = mean_dice(content)
    return sorted(content.case_names, key=lambda case: -round(means[case], 12))


def choose_cases(content: Content) -> list[str]:
    """`CASES` of them as `RULE` says, or all if there are no more."""
    order = by_difficulty(content)
    places = np.linspace(0, len(order) - 1, min(CASES, len(order))).round().astype(int)
    return [order[place] for place in places]


class Gallery:
    """Collects the masks of a few cases, method by method, and draws them at the end."""

    def __init__(self, content: Content, cohort: Cohort, rule: GridRule = "auto") -> None:
        self.content = content
        self.cohort = cohort
        self.rule = rule
        self.cases = choose_cases(content)
        self._slices: dict[str, _Slice] = {}

    def add(self, method: str, name: str, case: Case, find: Find) -> None:
        """Read a method's mask of one of `cases`.

        Raises:
            InputError: a file is at fault, or is not the one that was scored.
        """
        row = self.content.row(method, name)
        stored = read_reference(case, row)
        affine = stored.grid.affine
        mask = to_canonical(read_scored(method, row, stored, find(name), self.rule), affine)
        if name not in self._slices:
            lesion, spacing_mm = to_canonical(stored.voxels, affine), canonical_spacing(stored.spacing_mm, affine)
            number = best_slice(lesion, lesion)
            kept = np.ascontiguousarray(lesion[..., number])
            self._slices[name] = _Slice(case, number, lesion.shape[2], kept, spacing_mm[:2], stored.grid)
        found = self._slices[name]
        found.masks[method] = np.ascontiguousarray(mask[..., found.number])

    def views(self) -> list[View]:
        """The cases with everything that was added, until `BUDGET_BYTES` are used up.

        Raises:
            InputError: an image is at fault.
        """
        means, size = mean_dice(self.content), 0
        views: list[View] = []
        for place, name in enumerate(name for name in self.cases if name in self._slices):
            view = self._draw(self._slices[name], f"g{place}", means[name])
            size += len(view.image) + sum(len(tile.image) for tile in view.tiles)
            if views and size > BUDGET_BYTES:
                break
            views.append(view)
        return views

    def _draw(self, found: _Slice, name: str, dice: float) -> View:
        where = f"{found.case.name}, slice {found.number + 1} of {found.count}"
        background, window = read_background(found.case, self.cohort, found.grid, found.number)
        everything = np.logical_or.reduce([found.reference, *found.masks.values()])
        plane = crop(background, everything, found.pixel_mm, window)
        reference = plane.outlined(found.reference, "reference", f"{name}r")
        image = plane.drawing(f"{where}: the reference alone.", plane.image(f"{name}i"), reference)
        tiles = []
        for method, mask in found.masks.items():
            row = self.content.row(method, found.case.name)
            own = self.content.dice_of(method, found.case.name)
            label = f"{where}, of {method}: {covered_in_words(found.reference, mask)} Dice of the case {own:.2f}."
            parts = [f'<use href="#{name}i"/>', plane.outlined(mask, "prediction")]
            parts += [f'<use href="#{name}r"/>'] if reference else []
            tiles.append(Tile(method, own, str(row["status"]), plane.drawing(label, *parts)))
        volume = float(self.content.row(next(iter(found.masks)), found.case.name)["reference_ml"])
        return View(found.case.name, dice, volume, (found.number + 1, found.count), image, tuple(tiles))
