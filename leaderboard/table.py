"""leaderboard.csv, leaderboard.md and leaderboard.tex: a table as text, the same table always the same text."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboard.images import write_text
from leaderboard.policy import CORE_METRICS, METRICS
from leaderboard.published import OTHER_DATA, Published

#: The contract's columns, in order.
LEADERBOARD_COLUMNS = (
    "rank", "method", "cases", "missing", "dice_mean", "dice_sd", "hausdorff_mm_mean", "hausdorff_mm_sd",
    "precision_mean", "precision_sd", "recall_mean", "recall_sd", "avd_ml_mean", "avd_ml_sd", "rank_low", "rank_high",
)  # fmt: skip
#: What the columns of the uncertainty mean, where a table has them.
PERCENTILE_NOTE = (
    "The percentile intervals of the resampled ranks (rank_boot_low, rank_boot_high in the CSV) are no confidence "
    "intervals: of 20 close methods and 63 patients they held the last method's true rank in 74 % of simulated "
    "challenges, not in 95 %."
)
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
}  # fmt: skip
_Row = Mapping[Hashable, Any]


def leaderboard_csv(table: pd.DataFrame) -> str:
    """The text of leaderboard.csv: the contract's columns, then the others."""
    columns = [*LEADERBOARD_COLUMNS, *(column for column in table.columns if column not in LEADERBOARD_COLUMNS)]
    return table[columns].to_csv(index=False, lineterminator="\n")


def strata_csv(tables: Mapping[str, pd.DataFrame]) -> str:
    """The tables of all strata below each other, the stratum in the first column."""
    named = []
    for name, table in tables.items():
        table = table.copy()
        table.insert(len(table.columns), "stratum", name)
        named.append(table)
    joined = pd.concat(named, ignore_index=True)
    first = ["stratum", *LEADERBOARD_COLUMNS]
    columns = [*first, *(column for column in joined.columns if column not in first)]
    return joined[columns].to_csv(index=False, lineterminator="\n")


def leaderboard_markdown(table: pd.DataFrame, published: Published | None = None) -> str:
    """The text of leaderboard.md, in the printed form of the published table: ``0.44 (0.30)``.

    Args:
        table: the leaderboard.
        published: a quoted table to show below it.
    """
    lines = ["# Leaderboard", "", *_section(table), *_notes(table)]
    if published:
        lines += ["", *_published_section(published)]
    return "\n".join(lines) + "\n"


def strata_markdown(tables: Mapping[str, pd.DataFrame], by: str) -> str:
    """A section a stratum."""
    lines = [f"# Leaderboard by {by}"]
    for name, table in tables.items():
        lines += ["", f"## {name[0].upper()}{name[1:]}", "", *_section(table)]
    return "\n".join([*lines, *_notes(next(iter(tables.values())))]) + "\n"


def leaderboard_latex(table: pd.DataFrame) -> str:
    r"""A ``tabular`` for LaTeX with the package booktabs, to be put into a ``table``."""
    sets = has_sets(table)
    header = ["Rank", *(["95\\,\\% set"] if sets else []), "Method", *(_latex(title(name)) for name in CORE_METRICS)]
    lines = [
        f"% {caption(table)}",
        rf"\begin{{tabular}}{{r{'c' if sets else ''}l{'r' * len(CORE_METRICS)}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
    ]
    for row in table.to_dict("records"):
        fields = [str(row["rank"]), *([rank_set(row).replace("-", "--")] if sets else []), _latex(str(row["method"]))]
        lines.append(" & ".join([*fields, *_numbers(row)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def write_leaderboard(
    path: Path, table: pd.DataFrame, *, published: Published | None = None, latex: bool = False
) -> None:
    """Write leaderboard.csv to `path`, leaderboard.md beside it, and leaderboard.tex where `latex` asks for it.

    Raises:
        InputError: a file cannot be written.
    """
    write_text(path, leaderboard_csv(table))
    write_text(path.with_suffix(".md"), leaderboard_markdown(table, published))
    if latex:
        write_text(path.with_suffix(".tex"), leaderboard_latex(table))


def write_strata(path: Path, tables: Mapping[str, pd.DataFrame], by: str) -> Path:
    """Write ``leaderboard_by_size.csv`` and ``.md`` beside the leaderboard.csv at `path`.

    Returns:
        Where the CSV went.

    Raises:
        InputError: a file cannot be written.
    """
    path = path.with_name(f"{path.stem}_by_{by}.csv")
    write_text(path, strata_csv(tables))
    write_text(path.with_suffix(".md"), strata_markdown(tables, by))
    return path


def printed(mean: float, sd: float, separator: str = " ") -> str:
    """Mean and standard deviation as the published table prints them: ``0.44 (0.30)``."""
    return f"{mean:.2f}{separator}({sd:.2f})"


def title(metric: str) -> str:
    """Name and unit of a metric as a column's header."""
    name, unit = METRICS[metric].title, METRICS[metric].unit
    return f"{name} [{unit}]" if unit else name


def has_sets(table: pd.DataFrame) -> bool:
    """Whether the ranks were resampled."""
    return "tie_group" in table.columns


def rank_set(row: _Row) -> str:
    """The confidence set of a rank: ``2-5``, or ``2`` alone."""
    return str(row["rank_low"]) if row["rank_low"] == row["rank_high"] else f"{row['rank_low']}-{row['rank_high']}"


def caption(table: pd.DataFrame) -> str:
    """What the numbers are."""
    first = table.iloc[0]
    return (
        f"Mean (standard deviation) over {first['cases']} case{'s' if first['cases'] != 1 else ''}; "
        f"scheme {first['scheme']}, policy {first['policy']}."
    )


def set_caption(table: pd.DataFrame, *, groups: bool = True) -> str:
    """What the sets, and the groups where they are shown, are; empty where the ranks were not resampled."""
    if not has_sets(table):
        return ""
    first = table.iloc[0]
    count = first["patients"] if first["unit"] == "patient" else first["cases"]
    return (
        f"95 % set: where a method's true rank lies with 95 % confidence, from {first['resamples']} resamples of "
        f"{count} {first['unit']}{'s' if count != 1 else ''} (seed {first['seed']})."
        + (" Group: methods of one group cannot be told apart." if groups else "")
    )


def _section(table: pd.DataFrame) -> list[str]:
    """Caption and table in Markdown."""
    sets = has_sets(table)
    header = ["Rank", "Method", *(["95 % set", "Group", "First in"] if sets else []), "Cases", "Missing"]
    header += [*(title(name) for name in CORE_METRICS), "Hausdorff where defined"]
    rows = []
    for row in table.to_dict("records"):
        fields = [str(row["rank"]), str(row["method"])]
        if sets:
            fields += [rank_set(row), str(row["tie_group"]), f"{100 * row['first_share']:.0f} %"]
        rows.append([*fields, str(row["cases"]), str(row["missing"]), *_numbers(row), _defined(row)])
    return [caption(table), "", *_markdown(header, rows, left=("Method", "Group"))]


def _notes(table: pd.DataFrame) -> list[str]:
    if not has_sets(table):
        return []
    return ["", f"{set_caption(table)} First in: share of resamples with rank 1.", "", PERCENTILE_NOTE]


def _published_section(published: Published) -> list[str]:
    rows = [
        [row["rank"], row["team"], *(f"{row[f'{name}_mean']} ({row[f'{name}_sd']})" for name in CORE_METRICS)]
        for row in published.table.to_dict("records")
    ]
    header = ["Rank", "Team", *(title(name) for name in CORE_METRICS)]
    return [
        "## For comparison: as published", "", OTHER_DATA, "", *_markdown(header, rows, left=("Team",)), "",
        f"Source: {published.source}. {published.data}. {published.note}.",
    ]  # fmt: skip


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[str]) -> list[str]:
    marks = ["---" if name in left else "---:" for name in header]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(marks) + "|"]
    return lines + ["| " + " | ".join(field.replace("|", "\\|") for field in row) + " |" for row in rows]


def _numbers(row: _Row) -> list[str]:
    return [printed(row[f"{name}_mean"], row[f"{name}_sd"]) for name in CORE_METRICS]


def _defined(row: _Row) -> str:
    """The mean distance over the cases that have one, and how many have none."""
    mean, undefined = row["hausdorff_mm_defined_mean"], row["hausdorff_mm_undefined"]
    note = f"{undefined} undefined" if undefined else ""
    return ", ".join(part for part in (f"{mean:.2f}" if pd.notna(mean) else "", note) if part)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
