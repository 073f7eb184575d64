"""Score and rank stroke lesion segmentations; imports neither torch nor benchmark.

What programs call stands here, and is what the commands call (``docs/python.md`` has examples)::

    import leaderboard

    leaderboard.score(prediction, reference, spacing_mm)  # two arrays: status and metrics of one case
    leaderboard.score_folder(cohort, predictions, "mine")  # a folder of masks: a row per case
    leaderboard.read_cases("cases.csv")
    leaderboard.rank(cases, leaderboard.RankingOptions.of_preset("isles2022"))
    leaderboard.compare(cases, "mine", "other")
    leaderboard.report(cases, "page")

Nothing is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leaderboard.cases import read_cases as read_cases
    from leaderboard.cases import write_cases as write_cases
    from leaderboard.errors import InputError as InputError
    from leaderboard.presets import PRESETS as PRESETS
    from leaderboard.presets import Preset as Preset
    from leaderboard.ranking.options import RankingOptions as RankingOptions
    from leaderboard.ranking.pair import compare_pair as compare
    from leaderboard.ranking.parts import rank_parts as rank_parts
    from leaderboard.ranking.ranks import rank_methods as rank
    from leaderboard.report.leaderboard_files import write_leaderboard as write_leaderboard
    from leaderboard.report.making import report as report
    from leaderboard.scoring.against_cohort import score_folder as score_folder
    from leaderboard.scoring.arrays import score_arrays as score

__all__ = [
    "PRESETS", "InputError", "Preset", "RankingOptions", "compare", "rank", "rank_parts", "read_cases", "report",
    "score", "score_folder", "write_cases", "write_leaderboard",
]  # fmt: skip

#: Where each name is, and what it is called there.
_PLACES = {
    "InputError": ("errors", "InputError"),
    "PRESETS": ("presets", "PRESETS"),
    "Preset": ("presets", "Preset"),
    "RankingOptions": ("ranking.options", "RankingOptions"),
    "compare": ("ranking.pair", "compare_pair"),
    "rank": ("ranking.ranks", "rank_methods"),
    "rank_parts": ("ranking.parts", "rank_parts"),
    "read_cases": ("cases", "read_cases"),
    "report": ("report.making", "report"),
    "score": ("scoring.arrays", "score_arrays"),
    "score_folder": ("scoring.against_cohort", "score_folder"),
    "write_cases": ("cases", "write_cases"),
    "write_leaderboard": ("report.leaderboard_files", "write_leaderboard"),
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
