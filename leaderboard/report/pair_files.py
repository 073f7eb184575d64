"""A comparison of two methods as text: a table for the terminal, and compare.csv."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields

import numpy as np
import pandas as pd
from rich.console import Console
from rich.text import Text

from leaderboard.columns import DATA, SYNTHETIC_DATA
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.pair import ALL, Difference, Pair
from leaderboard.report.leaderboard_files import counted, title
from leaderboard.report.terminal import column, empty_table, say
from leaderboard.report.trainings_note import covered

_HUGE = 1e5
_DECIMALS = 6


def pair_csv(pair: Pair, synthetic: bool = False) -> str:
    """The text of compare.csv: a row for each stratum and metric, the first method's name and the second's in front.

    Where some distance is undefined, difference and interval are empty: they would show what the policy counts for it.

    Args:
        pair: the comparison.
        synthetic: whether some of the patients are invented: then the column ``data`` says so.
    """
    first, second = pair.matrices.methods
    columns = {field.name: [getattr(found, field.name) for found in pair.differences] for field in fields(Difference)}
    table = pd.DataFrame(columns).rename(columns={"chance": "p_first_better"})
    counts = ["first_undefined", "second_undefined"]
    table[counts] = table[counts].astype("Int64")
    table.loc[[found.undefined > 0 for found in pair.differences], ["difference", "low", "high"]] = np.nan
    table.insert(0, "second_method", second)
    table.insert(0, "first_method", first)
    if synthetic:
        table[DATA] = SYNTHETIC_DATA
    return table.round(_DECIMALS).to_csv(index=False, lineterminator="\n")


def print_pair(
    pair: Pair,
    options: RankingOptions,
    by: str = "",
    console: Console | None = None,
    metrics: Collection[str] | None = None,
) -> None:
    """Print the comparison.

    Args:
        pair: the comparison.
        options: its policy and unit count.
        by: the property that defines the strata; empty: there are none.
        console: where to.
        metrics: those that are printed; None: all.
    """
    console, unit = console or Console(), options.unit
    first, second = pair.matrices.methods
    whole = [found for found in pair.differences if found.stratum == ALL]
    say(console, f"A: {first}\nB: {second}\n{counted(whole[0].cases, 'case')}, {counted(whole[0].units, unit)}\n")
    printed = [found for found in whole if metrics is None or found.metric in metrics]
    _print(console, "Metric", [(_heading(found), found) for found in printed])
    if further := len(whole) - len(printed):
        say(console, f"\nFurther metrics: {further}. --metrics all prints them, and --out DIR writes them.")
    main = next(iter(pair.metrics))
    within = [found for found in pair.differences if found.stratum != ALL and found.metric == main]
    if within:
        say(console, f"\n{_heading(within[0])} by {by}\n")
        _print(console, "Stratum", [(f"{found.stratum} ({counted(found.units, unit)})", found) for found in within])
        if sum(found.units for found in within) > whole[0].units:
            say(console, f"\nA {unit} whose cases lie in several strata counts in each of these.")
    say(
        console,
        f"\nA - B: difference of the means, counted as the policy {options.policy} says, with its 95 % interval over "
        f"{unit}s; a star where 0 is outside. P(A>B): probability that A's next training beats B's on the next "
        f"{unit}, ties by half. W/T/L: {unit}s in which A is better, equal, worse. Intervals are of one metric at a "
        "time, not of all at once. "
        + _undefined_note([*printed, *within], options.policy)
        + covered(pair.trainings, "differences and intervals", "intervals"),
    )


def _heading(found: Difference) -> str:
    return f"{title(found.metric)} {'↑' if found.higher_is_better else '↓'}"


def _print(console: Console, what: str, rows: Sequence[tuple[str, Difference]]) -> None:
    shown = empty_table(wide=True)
    shown.add_column(Text(what), min_width=12, overflow="fold")
    for header in ("A", "B", "A - B", "95 % interval", "P(A>B)", "W/T/L"):
        column(shown, header)
    for name, found in rows:
        star = "*" if found.low > 0 or found.high < 0 else " "
        fields_ = [
            name,
            mean_text(found.first, found.first_defined_mean, found.first_undefined, brief=True),
            mean_text(found.second, found.second_defined_mean, found.second_undefined, brief=True),
            "- " if found.undefined else f"{number(found.difference, sign=True)}{star}",
            "-" if found.undefined else f"{number(found.low, sign=True)} to {number(found.high, sign=True)}",
            f"{found.chance:.2f}",
            f"{found.wins}/{found.ties}/{found.losses}",
        ]
        shown.add_row(*map(Text, fields_))
    console.print(shown)


def mean_text(mean: float, defined: float, undefined: int | None, *, brief: bool = False) -> str:
    """A method's mean; of a distance that some case lacks the mean over the others: ``24.130, 5 undefined``.

    Args:
        mean: over all cases, as the policy counts undefined ones.
        defined: over the cases that have one; NaN if none has.
        undefined: number of cases without one; None for what is no distance.
        brief: in two short lines, ``24.130`` and ``5 undef.``
    """
    if not undefined:
        return number(mean)
    word, separator = ("undef.", "\n") if brief else ("undefined", ", ")
    told = f"{undefined} {word}"
    return told if np.isnan(defined) else f"{number(defined)}{separator}{told}"


def _undefined_note(shown: Sequence[Difference], policy: str) -> str:
    """What is shown of undefined distances, and what they count; empty where there are none."""
    if not any(found.undefined for found in shown):
        return ""
    return (
        "Undef.: cases without a distance. Distances are means over the cases that have one, and where some case has "
        f"none their difference is not shown: in W/T/L and P(A>B) an undefined one counts as the policy {policy} says "
        "(compare.csv has the means with these, too, and no difference either). "
    )


def number(value: float, *, sign: bool = False) -> str:
    """A number with three decimals, huge ones as powers of ten."""
    if pd.isna(value):
        return "-"
    form = ".1e" if abs(value) >= _HUGE else ".3f"
    return f"{value:{'+' if sign else ''}{form}}"
