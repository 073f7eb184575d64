"""What the page says about trainings: their spread, their share of the variance, ranks by seed, and who beats whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leaderboard.ranking.components import variance_components
from leaderboard.ranking.intervals import Chances, judged_by, training_shares
from leaderboard.ranking.matrices import Matrices
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.ranking.trainings import seed_deviations
from leaderboard.report import page_tables
from leaderboard.report.content import Content
from leaderboard.report.page_tables import Cell, number, sortable
from leaderboard.report.seed_plot import seed_dots

#: The improvement that Bouthillier et al. (2021) call meaningful.
MEANINGFUL = 0.75


def trainings_values(content: Content) -> dict[str, object]:
    """The values for trainings.html.j2; None for what there is nothing to say about."""
    matrices, found = content.analysis.matrices, matrices_with_seeds(content)
    chances = None
    if content.analysis.uncertainty and len(content.methods) > 1:
        several = Chances(matrices, judged_by(matrices, content.options.scheme), content.options.unit)
        chances = chance_cells(several.matrix(min(len(content.methods), page_tables.MATRIX)))
    return {
        "chances": chances,
        "chance_unit": content.options.unit,
        "meaningful": MEANINGFUL,
        "seeds_figure": seed_dots(content, main_metric(content)) if found else None,
        "variance_rows": variance_rows(content) if found else [],
        "rank_seeds": ranks_by_seed(matrices, content.options.scheme) if found else {},
    }


def main_metric(content: Content) -> str:
    """The metric that the ranking looks at first."""
    return next(iter(judged_by(content.analysis.matrices, content.options.scheme)))


def matrices_with_seeds(content: Content) -> bool:
    """Whether some method was trained several times."""
    trainings = content.analysis.matrices.trainings
    return trainings is not None and any(len(seeds) > 1 for seeds in trainings.seeds)


def chance_cells(chances: np.ndarray) -> list[list[tuple[str, str, str]]]:
    """Text, class and text for screen readers of each cell of the matrix of chances."""
    rows = []
    for row, values in enumerate(chances.tolist()):
        cells = []
        for column, chance in enumerate(values):
            if row == column:
                cells.append((page_tables.NOTHING, "self", ""))
            else:
                often = chance >= MEANINGFUL - 1e-9
                text = f"{chance:.2f}".removeprefix("0")
                cells.append((text, "win" if often else "", " meaningful" if often else ""))
        rows.append(cells)
    return rows


def variance_rows(content: Content) -> list[tuple[str, list[Cell]]]:
    """For each method with several trainings their number, the SD over them, and shares of variances.

    The shares of patients, trainings and both together in the variance of a single score (`components`), and that of
    the trainings in the squared standard error of the mean.
    """
    matrices, metric, unit = content.analysis.matrices, main_metric(content), content.options.unit
    parts, deviations = variance_components(matrices, metric, unit), seed_deviations(matrices, metric)
    shares = training_shares(matrices, metric, unit)
    rows = []
    for place, method in enumerate(content.methods):
        trainings = matrices.trainings.seeds[place] if matrices.trainings else ()
        if len(trainings) < 2:
            continue
        own = parts[place]
        cells = [Cell(str(len(trainings)), str(len(trainings)))]
        cells.append(Cell(number(deviations[place], 4), sortable(deviations[place])))
        for share in (*(own.shares if own else (np.nan,) * 3), float(shares[place])):
            cells.append(Cell(page_tables.NOTHING if np.isnan(share) else f"{100 * share:.0f} %", sortable(share)))
        rows.append((method, cells))
    return rows


def ranks_by_seed(matrices: Matrices, scheme: str) -> dict[int, list[int]]:
    """The ranks of all methods if each had been trained once, with this seed; methods without one as they are.

    Seeds that a method lacks which has others are left out.
    """
    trainings = matrices.trainings
    if trainings is None:
        return {}
    known = [set(seeds) for seeds in trainings.seeds if seeds]
    ranks = {}
    for seed in sorted(set.intersection(*known)) if known else []:
        places = [seeds.index(seed) if seeds else 0 for seeds in trainings.seeds]
        alone = replace(
            matrices,
            values={
                name: np.stack([own[place] for own, place in zip(values, places, strict=True)])
                for name, values in trainings.values.items()
            },
            missing=np.stack([own[place] for own, place in zip(trainings.missing, places, strict=True)]),
            undefined={
                name: np.stack([own[place] for own, place in zip(holes, places, strict=True)])
                for name, holes in trainings.undefined.items()
            },
            trainings=None,
        )
        ranks[seed] = SCHEMES[scheme].ranks(alone)[1].tolist()
    return ranks
