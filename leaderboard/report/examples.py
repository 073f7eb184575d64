"""The best, the median and the worst case of a method."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import Cohort
from leaderboard.io import GridRule
from leaderboard.io.grids import canonical_spacing, to_canonical
from leaderboard.report.content import Content
from leaderboard.report.scored_masks import Files, Row, read_reference, read_scored
from leaderboard.report.slices import best_slice, covered_in_words, crop, read_background


@dataclass(frozen=True)
class Picture:
    """One slice for the page."""

    method: str  #: whose prediction is shown
    role: str  #: ``best``, ``median`` or ``worst``, by Dice; several if a method has few cases
    case: str  #: the case's name
    dice: float  #: as the policy counts it
    status: str  #: as in cases.csv
    slice: tuple[int, int]  #: number of the slice from 1, and how many there are
    image: str  #: inline SVG


@dataclass(frozen=True)
class Example:
    """A case to draw."""

    role: str  #: ``best``, ``median`` or ``worst``
    case: str  #: its name
    row: Row  #: its row of cases.csv, as measured
    dice: float  #: as the policy counts it


def exemplary(content: Content, method: str) -> Iterator[Example]:
    """The best, the median and the worst case by Dice; equal cases in natural order."""
    rows = content.pictured[method]
    dice = content.pictured_dice(method)
    order = sorted(range(len(rows)), key=lambda row: (-dice[row], row))
    roles: dict[int, list[str]] = {}
    for role, row in (("best", order[0]), ("median", order[(len(order) - 1) // 2]), ("worst", order[-1])):
        roles.setdefault(row, []).append(role)
    records = rows.to_dict("records")
    for row, names in roles.items():
        yield Example(" and ".join(names), str(records[row]["case"]), records[row], float(dice[row]))


def take_picture(method: str, example: Example, case: Case, files: Files, cohort: Cohort, rule: GridRule) -> Picture:
    """The axial slice of a case with the most reference, with both outlines.

    Raises:
        InputError: a file to draw is at fault, or is not the one that was scored.
    """
    stored = read_reference(case, example.row)
    affine = stored.grid.affine
    predicted = to_canonical(read_scored(method, example.row, stored, files, rule), affine)
    lesion, spacing_mm = to_canonical(stored.voxels, affine), canonical_spacing(stored.spacing_mm, affine)
    number = best_slice(lesion, predicted)
    background, window = read_background(case, cohort, stored.grid, number)
    reference, prediction = lesion[..., number], predicted[..., number]
    plane = crop(background, reference | prediction, spacing_mm[:2], window)
    count, status = lesion.shape[2], str(example.row["status"])
    label = (
        f"{case.name}, slice {number + 1} of {count}, of {method}: {covered_in_words(reference, prediction)} "
        f"Dice of the case {example.dice:.2f}."
    )
    parts = (plane.image(), plane.outlined(prediction, "prediction"), plane.outlined(reference, "reference"))
    image = plane.drawing(label, *parts)
    return Picture(method, example.role, case.name, example.dice, status, (number + 1, count), image)
