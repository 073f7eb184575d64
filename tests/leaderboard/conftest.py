"""Rows of cases.csv, built by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import pytest

from leaderboard.cases import cases_frame

NAN = float("nan")

Builder = Callable[[Mapping[str, Sequence[dict[str, object]]]], pd.DataFrame]


def row(method: str, number: int, **values: object) -> dict[str, object]:
    """A sound row; a value given replaces its own."""
    sound: dict[str, object] = {
        "method": method, "case": f"case_{number}", "patient": f"P{number}", "status": "ok",
        "dice": 0.5, "hausdorff_mm": 10.0, "precision": 0.5, "recall": 0.5, "avd_ml": 1.0,
        "reference_ml": 10.0, "predicted_ml": 11.0,
        "hd95_mm": 8.0, "assd_mm": 2.0, "volume_difference_ml": 1.0, "reference_lesions": 1, "predicted_lesions": 2,
        "lesion_count_difference": 1, "lesion_f1": 0.5, "core_agreement": 1, "diagonal_mm": 200.0,
    }  # fmt: skip
    return {**sound, **values}


def without_prediction(method: str, number: int, **values: object) -> dict[str, object]:
    """A row of status missing."""
    kept = ("method", "case", "patient", "reference_ml", "reference_lesions", "diagonal_mm")
    return {
        **{name: value for name, value in row(method, number).items() if name in kept},
        "status": "missing",
    } | values


@pytest.fixture
def build() -> Builder:
    """Method -> what differs in each of its rows, to a frame of cases."""

    def make(methods: Mapping[str, Sequence[dict[str, object]]]) -> pd.DataFrame:
        return cases_frame(
            [
                (without_prediction if values.get("status") == "missing" else row)(method, number, **values)
                for method, rows in methods.items()
                for number, values in enumerate(rows, start=1)
            ]
        )

    return make
