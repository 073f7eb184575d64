"""Pictures of single cases: what each method did best and worst, and the same case across all methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard.cohort.formats import Cohort
from leaderboard.errors import InputError
from leaderboard.io import GridRule
from leaderboard.report.content import Content
from leaderboard.report.examples import Picture, exemplary, take_picture
from leaderboard.report.gallery import Gallery, View
from leaderboard.report.scored_masks import Predictions, opened_predictions, with_reference

#: Most bytes of the page that the pictures of single methods take together.
BUDGET_BYTES = 3_000_000


@dataclass(frozen=True)
class Pictures:
    """All pictures of a page."""

    examples: tuple[Picture, ...] = ()  #: the best, median and worst case of each method, by rank
    views: tuple[View, ...] = ()  #: a few cases across all methods
    notes: tuple[str, ...] = ()  #: one line for everything that is not pictured


def take_pictures(
    content: Content, cohort: Cohort, predictions: Mapping[str, Predictions], rule: GridRule = "auto"
) -> Pictures:
    """The pictures of the methods that have predictions.

    Only what was scored is drawn: masks are read as `leaderboard check` reads them, and Dice and reference volume are
    computed again and compared with the table.

    Args:
        content: the ranking.
        cohort: with the references and images.
        predictions: by method.
        rule: how the grids of predictions and references were compared when they were scored.

    Raises:
        InputError: a file to draw is at fault, or is not the one that was scored; with every problem.
    """
    by_name = {case.name: case for case in cohort.cases}
    examples: list[Picture] = []
    gallery = Gallery(content, cohort, rule)
    notes: list[str] = []
    problems: list[str] = []
    for method in content.methods:
        if method not in predictions:
            notes.append(f"{method}: no predictions were given for its pictures")
            continue
        try:
            with opened_predictions(predictions[method], cohort.cases) as find:
                for example in exemplary(content, method):
                    if sum(len(picture.image) for picture in examples) > BUDGET_BYTES:
                        notes.append(
                            f"{method}: its {example.role} case is not pictured, the page would grow too large"
                        )
                        continue
                    try:
                        case = with_reference(by_name, example.case, cohort)
                        examples.append(take_picture(method, example, case, find(example.case), cohort, rule))
                    except InputError as error:
                        problems += error.problems
                for name in gallery.cases if method in content.shown else ():
                    try:
                        gallery.add(method, name, with_reference(by_name, name, cohort), find)
                    except InputError as error:
                        problems += error.problems
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(dict.fromkeys(problems))
    return Pictures(tuple(examples), tuple(gallery.views()), tuple(notes))
