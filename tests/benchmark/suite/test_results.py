from __future__ import annotations

import pandas as pd

from benchmark.suite.results import below_bar


def test_trained_rows_that_do_not_beat_the_fitted_threshold_are_named() -> None:
    rows = {"good": 0.5, "perfusion_tfit": 0.35, "equal": 0.35, "bad": 0.2, "all_background": 0.0}
    table = pd.DataFrame({"method": list(rows), "dice_mean": list(rows.values())})
    assert below_bar(table, ["good", "equal", "bad", "elsewhere"]) == ["equal", "bad"]
    assert below_bar(table[table["method"] != "perfusion_tfit"], ["bad"]) == []
