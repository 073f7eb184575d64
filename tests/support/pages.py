"""Pages for tests: cases in, a written page out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import analyse
from leaderboard.report.page import render_page, write_page

_OPTIONS = {field.name for field in fields(RankingOptions)}


def page_of(cases: pd.DataFrame, out: Path, **given: Any) -> Path:
    """Rank the cases and write their page; takes what `RankingOptions` and `render_page` take."""
    options = RankingOptions(**{name: given.pop(name) for name in _OPTIONS & set(given)})
    return write_page(out, render_page(analyse(cases, options), **given))
