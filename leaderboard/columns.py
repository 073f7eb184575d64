"""The columns of cases.csv, with everything that rankings, tables and figures need to know about each metric.

A new metric is one `Metric` in `FURTHER` and the function in `leaderboard.scoring` that measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: Statuses of a case. Every status but ``ok`` is a situation in which a metric may be undefined.
STATUSES = ("ok", "empty_prediction", "empty_reference", "both_empty", "missing")
#: The column with the kind of data of a row, if there is something to say: ``synthetic`` in every table of a twin.
DATA, SYNTHETIC_DATA = "data", "synthetic"
#: The column with the seed of the training that made a row; absent from a table whose methods were trained once, empty
#: for a method without training and for a submission from outside.
SEED = "seed"
#: The columns that hold text.
TEXT = ("method", "case", "patient", "status", DATA)
#: The columns that say which row one is, and nothing about a prediction.
IDENTITY = ("method", "case", "patient", "fold", "status", SEED, DATA)
#: No number in a table may be larger, so that no sum or square overflows.
LARGEST = 1e15


@dataclass(frozen=True)
class Measured:
    """The value of the case in another column, times a factor."""

    column: str
    factor: float = 1.0


#: What a metric counts in a situation: a number, or a measured one. None leaves it to the policy.
Value = float | Measured | None


@dataclass(frozen=True)
class Column:
    """A column of numbers."""

    name: str  #: of the column
    title: str = ""  #: its name in tables and figures
    unit: str = ""  #: ``mm``, ``mL`` or nothing
    least: float | None = 0.0  #: the smallest value it may have; None if it may be negative
    most: float | None = None  #: the largest; None if there is no limit
    whole: bool = False  #: whether all its values are whole numbers

    @property
    def heading(self) -> str:
        """Title and unit, as in a table's header."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title

    @property
    def expected(self) -> str:
        """The values it may have, in words."""
        kind = "a whole number" if self.whole else "a number"
        least, most = (-LARGEST if self.least is None else self.least), (LARGEST if self.most is None else self.most)
        return f"{kind} between {least:g} and {most:g}"

    def wrong(self, numbers: pd.Series) -> pd.Series:
        """Which numbers it may not have, same index; NaN is allowed."""
        least, most = (-LARGEST if self.least is None else self.least), (LARGEST if self.most is None else self.most)
        return (numbers < least) | (numbers > most) | (self.whole & numbers.notna() & (numbers % 1 != 0))


@dataclass(frozen=True, kw_only=True)
class Metric(Column):
    """A column with a measure of a prediction's quality."""

    higher_is_better: bool | None  #: its direction; None for a metric that is only shown and cannot be ranked by
    counts: tuple[Value, Value, Value, Value]  #: what it counts in each situation, in the order of ``STATUSES[1:]``
    #: its axis in figures is linear up to here and logarithmic beyond; None: linear throughout
    linear_to: float | None = None
    #: whether the page's figures show it in any case; otherwise they do where it is ranked by
    is_drawn: bool = True

    @property
    def direction(self) -> str:
        """Which values are good, in words."""
        return {True: "higher is better", False: "lower is better", None: "0 is best"}[self.higher_is_better]

    @property
    def is_distance(self) -> bool:
        """Whether it has no value where a mask is empty, so that the policy must supply one."""
        return None in self.counts


#         empty prediction, empty reference, both empty, missing
_OVERLAP = (0.0, 0.0, 1.0, 0.0)
_DISTANCE = (None, None, 0.0, None)


def _difference(name: str, missing: Measured) -> tuple[Value, Value, Value, Value]:
    """A missing prediction differs from the reference as much as an empty one does."""
    return (Measured(name), Measured(name), 0.0, missing)


#: The columns of numbers that every cases.csv has, in order.
CONTRACT: tuple[Column, ...] = (
    Column("fold", whole=True),
    Metric("dice", "Dice", most=1, higher_is_better=True, counts=_OVERLAP),
    Metric("hausdorff_mm", "Hausdorff", "mm", higher_is_better=False, counts=_DISTANCE),
    Metric("precision", "Precision", most=1, higher_is_better=True, counts=_OVERLAP),
    Metric("recall", "Recall", most=1, higher_is_better=True, counts=_OVERLAP),
    Metric(
        "avd_ml", "AVD", "mL", higher_is_better=False, counts=_difference("avd_ml", Measured("reference_ml")),
        linear_to=2,
    ),
    Column("reference_ml", "Reference", "mL"),
    Column("predicted_ml", "Predicted", "mL"),
)  # fmt: skip
#: Columns that this program writes after them; files without these are read as well.
FURTHER: tuple[Column, ...] = (
    Metric("hd95_mm", "Hausdorff 95 %", "mm", higher_is_better=False, counts=_DISTANCE),
    Metric("assd_mm", "ASSD", "mm", higher_is_better=False, counts=_DISTANCE),
    Metric(
        "volume_difference_ml", "Volume difference", "mL", least=None, higher_is_better=None,
        counts=_difference("volume_difference_ml", Measured("reference_ml", -1.0)), linear_to=10,
    ),
    Column("reference_lesions", whole=True),
    Column("predicted_lesions", whole=True),
    Metric(
        "lesion_count_difference", "Lesion count difference", whole=True, higher_is_better=False,
        counts=_difference("lesion_count_difference", Measured("reference_lesions")),
    ),
    Metric("lesion_f1", "Lesion F1", most=1, higher_is_better=True, counts=_OVERLAP),
    # a missing prediction agrees on no core
    Metric(
        "core_agreement", "Core agreement", most=1, whole=True, higher_is_better=True,
        counts=(Measured("core_agreement"), Measured("core_agreement"), 1.0, 0.0),
    ),
    Column("diagonal_mm"),
    Metric("inplane_nsd", "NSD in plane", most=1, higher_is_better=True, counts=_OVERLAP),
    Metric(
        "inplane_hd95_mm", "Hausdorff 95 % in plane", "mm", higher_is_better=False, counts=_DISTANCE, is_drawn=False
    ),
    Metric("inplane_assd_mm", "ASSD in plane", "mm", higher_is_better=False, counts=_DISTANCE),
    # nothing found, or something where nothing is: as wrong as the whole volume
    Metric(
        "relative_volume_error", "Relative volume error", higher_is_better=False, counts=(1.0, 1.0, 0.0, 1.0),
        linear_to=1, is_drawn=False,
    ),
    Metric("lesion_f1_iou20", "Lesion F1 at IoU 0.2", most=1, higher_is_better=True, counts=_OVERLAP, is_drawn=False),
    Metric("lesion_f1_iou25", "Lesion F1 at IoU 0.25", most=1, higher_is_better=True, counts=_OVERLAP, is_drawn=False),
    # a case has them only if its reference has a lesion of that size
    Column("lesion_recall_below_1ml", "Recall of lesions below 1 mL", most=1),
    Column("lesion_recall_1_to_10ml", "Recall of lesions of 1 to 10 mL", most=1),
    Column("lesion_recall_from_10ml", "Recall of lesions of 10 mL and more", most=1),
    Column("reference_lesions_6", whole=True),
    Metric(
        "lesion_count_difference_6", "Lesion count difference over faces", whole=True, higher_is_better=False,
        counts=_difference("lesion_count_difference_6", Measured("reference_lesions_6")),
        is_drawn=False,
    ),
)  # fmt: skip


def _of_map(name: str, missing: float) -> tuple[Value, Value, Value, Value]:
    """What is measured from a probability map is measured whatever masks are empty."""
    return (Measured(name), Measured(name), Measured(name), missing)


#: Columns after them that only tables with probability maps have.
OF_PROBABILITIES: dict[str, Column] = {
    column.name: column
    for column in (
        Metric("pr_auc", "PR-AUC", most=1, higher_is_better=True, counts=_of_map("pr_auc", 0.0)),
        Column("average_precision", "Average precision", most=1),  # none where the reference is empty
        Metric("brier", "Brier score", most=1, higher_is_better=False, counts=_of_map("brier", 1.0)),
        Metric("calibration_error", "Calibration error", most=1, higher_is_better=False,
               counts=_of_map("calibration_error", 1.0)),
    )
}  # fmt: skip

NUMBERS: dict[str, Column] = {
    column.name: column for column in (*CONTRACT, *FURTHER, *OF_PROBABILITIES.values(), Column(SEED, whole=True))
}
#: The metrics in the order of leaderboard.csv; the required ones come first.
METRICS: dict[str, Metric] = {name: column for name, column in NUMBERS.items() if isinstance(column, Metric)}
#: Metrics by their names without the unit: ``hd95`` means hd95_mm unless there is a column ``hd95``.
WITHOUT_UNIT = {name.removesuffix(f"_{metric.unit.lower()}"): name for name, metric in METRICS.items() if metric.unit}
CORE_METRICS = tuple(column.name for column in CONTRACT if isinstance(column, Metric))
#: The required columns, in order.
CASE_COLUMNS = ("method", "case", "patient", "fold", "status", *(column.name for column in CONTRACT[1:]))
FURTHER_COLUMNS = tuple(column.name for column in FURTHER)
