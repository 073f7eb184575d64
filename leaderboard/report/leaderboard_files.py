"""leaderboard.csv, leaderboard.md and leaderboard.tex: a table as text; the same table always gives the same text."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboard.cases import A_PATH, require, synthetic_rows
from leaderboard.cohort.banner import SYNTHETIC
from leaderboard.columns import CORE_METRICS, METRICS, Measured
from leaderboard.errors import InputError, check_types
from leaderboard.io.images import write_text
from leaderboard.outputs import prepare_output
from leaderboard.presets import PRESETS
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.ranks import SHOWN_ONLY
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.report.origin import Origin, origin_json, origin_of_rows, own_version
from leaderboard.report.published import OTHER_DATA, OTHER_FIGURES, Published, Quote, read_quotes
from leaderboard.report.results_file import results_file, results_json
from leaderboard.report.trainings_note import training_note

#: The first columns of leaderboard.csv, in order.
LEADERBOARD_COLUMNS = (
    "rank", "method", "cases", "missing", "dice_mean", "dice_sd", "hausdorff_mm_mean", "hausdorff_mm_sd",
    "precision_mean", "precision_sd", "recall_mean", "recall_sd", "avd_ml_mean", "avd_ml_sd", "rank_low", "rank_high",
)  # fmt: skip
#: How good percentile intervals of ranks are (``nox -s coverage``), for sentences about them.
PERCENTILE_COVERAGE = (
    "with 20 close methods and 63 patients they held the last method's true rank in about three quarters of simulated "
    "challenges, not in 95 %"
)
_PERCENTILE_NOTE = (
    "The percentile intervals of the resampled ranks (rank_boot_low, rank_boot_high in the CSV) are no confidence "
    f"intervals: {PERCENTILE_COVERAGE}."
)
#: What a marginal set does not promise.
MARGINAL_NOTE = (
    "Each set is marginal: it holds for its method alone, and that all of them hold at once is less sure "
    "(--simultaneous makes sets that do)."
)
#: Why sets and groups need not agree.
GROUP_NOTE = (
    "all pairs are tested at once for the groups, which is stricter; each set tests one method against the rest, so "
    "sets may part methods of one group, and two methods without a common letter need not differ significantly"
)
TOO_FEW_NOTE = "The resamples or what they draw from are too few to separate any methods: sets and groups say nothing."
#: The core agreement, explained to a clinician.
SAME_SIDE = "Same side of 70 mL"
SAME_SIDE_NOTE = (
    "share of cases whose predicted and reference volumes both lie below 70 mL, the core size that excludes from "
    "thrombectomy in DEFUSE 3, or both do not"
)
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
}  # fmt: skip
# Characters that begin markup; an underscore within a word does not.
_MARKDOWN = re.compile(r"[\\`*<>~$]|\](?=\()|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
_ESCAPED = re.compile(r"\\([^\w\s])")
_Row = Mapping[Hashable, Any]


def leaderboard_csv(table: pd.DataFrame) -> str:
    """The text of leaderboard.csv: `LEADERBOARD_COLUMNS`, then the others."""
    return _csv(table, LEADERBOARD_COLUMNS)


def strata_csv(tables: Mapping[str, pd.DataFrame]) -> str:
    """The tables of all strata below each other, the stratum in the first column."""
    named = []
    for name, table in tables.items():
        table = table.copy()
        table.insert(len(table.columns), "stratum", name)
        named.append(table)
    return _csv(pd.concat(named, ignore_index=True), ("stratum", *LEADERBOARD_COLUMNS))


def _csv(table: pd.DataFrame, first: Sequence[str]) -> str:
    columns = [*first, *(column for column in table.columns if column not in (*first, *SHOWN_ONLY))]
    return table.reindex(columns=columns).to_csv(index=False, lineterminator="\n")


def leaderboard_markdown(table: pd.DataFrame, published: Published | None = None) -> str:
    """The text of leaderboard.md, in the printed form of the published table: ``0.44 (0.30)``.

    Args:
        table: the leaderboard.
        published: a quoted table to show below it.
    """
    quotes = read_quotes(table["method"])
    lines = [
        "# Leaderboard",
        "",
        *_mark(table),
        _markup(caption(table)),
        "",
        *_section(table, quotes),
        *_notes([table], set_caption(table)),
    ]
    if "preset" in table.columns:
        rules = PRESETS[table["preset"].iloc[0]].rules
        lines += ["", *(f"- {key}: {_markup(text)}." for key, text in rules.items())]
    if quotes:
        sentences = [f"- {method}: {quote.sentence}" for method, sources in quotes.items() for quote in sources]
        lines += ["", OTHER_FIGURES, "", *sentences]
    if published:
        lines += ["", *_published_section(published)]
    return "\n".join(lines) + "\n"


def strata_markdown(tables: Mapping[str, pd.DataFrame], by: str) -> str:
    """One section per stratum, each with the number of patients that were resampled within it."""
    lines = [f"# Leaderboard by {by}", "", *_mark(*tables.values())][:-1]
    for name, table in tables.items():
        lines += ["", f"## {name[0].upper()}{name[1:]}", "", _markup(stratum_caption(table)), "", *_section(table)]
    sets = _set_text("resampling within the stratum", simultaneous=any(map(simultaneous, tables.values())))
    return "\n".join([*lines, *_notes([*tables.values()], sets)]) + "\n"


def leaderboard_latex(table: pd.DataFrame) -> str:
    r"""A ``tabular`` for LaTeX with the package booktabs, to be put into a ``table``.

    Without published figures: a paper cites those through its own bibliography, and a footnote in a ``tabular`` needs
    another package.
    """
    sets, metrics = has_sets(table), shown_metrics(table)
    header = ["Rank", *(["95\\,\\% set", "Group"] if sets else []), "Method", "Missing"]
    header += [_latex(title(name)) for name in metrics]
    lines = [
        *(
            f"% {text}"
            for text in (
                synthetic_note(table),
                caption(table),
                set_caption(table),
                training_note(table),
                undefined_note(table),
            )
            if text
        ),
        rf"\begin{{tabular}}{{r{'cl' if sets else ''}lr{'r' * len(metrics)}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
    ]
    for row in table.to_dict("records"):
        fields = [str(row["rank"])]
        if sets:
            fields += [rank_set(row).replace("-", "--"), str(row["tie_group"]).replace("-", "--")]
        fields += [_latex(str(row["method"])), str(row["missing"]), *(metric_text(row, name) for name in metrics)]
        lines.append(" & ".join(fields) + r" \\")
    if synthetic_note(table):
        lines += [r"\midrule", rf"\multicolumn{{{len(header)}}}{{l}}{{Synthetic data: invented patients.}} \\"]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def write_leaderboard(
    path: Path | str,
    table: pd.DataFrame,
    *,
    published: Published | None = None,
    latex: bool = False,
    strata: Mapping[str, pd.DataFrame] | None = None,
    by: str = "",
    notes: Mapping[str, str] | None = None,
    cases: pd.DataFrame | None = None,
) -> None:
    """Write `leaderboard_texts`, and leaderboard.json, which says how they were made: all files or none.

    Args:
        path: of the CSV; its folder is made if need be.
        table: the leaderboard.
        published: as for `leaderboard_texts`.
        latex: likewise.
        strata: likewise.
        by: likewise.
        notes: further facts for leaderboard.json, such as versions and digests.
        cases: the rows that were ranked: with them, results.json is written, too.

    Raises:
        InputError: a file cannot be written; then none is. Or an argument is of a wrong type.
    """
    check_types(("path", path, A_PATH, "a path"), ("table", table, pd.DataFrame, "a data frame, as rank gives it"))
    require(table, ("rank", "method", "cases", "missing", "scheme", "policy"), "a leaderboard")
    path = Path(path)
    prepare_output(path)
    texts = leaderboard_texts(path, table, published=published, latex=latex, strata=strata, by=by)
    origin = Origin(
        origin_of_rows(table.head(1).to_dict("records")).options,
        published.name if published else "", by if strata else "", latex, own_version(), notes or {},
    )  # fmt: skip
    texts[path.with_suffix(".json")] = origin_json(origin)
    if cases is not None:
        texts[results_file(path)] = results_text(table, cases, origin)
    write_all(texts)


def results_text(table: pd.DataFrame, cases: pd.DataFrame, origin: Origin) -> str:
    """The text of results.json.

    Args:
        table: the leaderboard.
        cases: the rows that were ranked.
        origin: how it was made.
    """
    said = " ".join(line for line in _notes([table], set_caption(table)) if line)
    return results_json(table, cases, origin, _ESCAPED.sub(r"\1", said))


def written_files(path: Path, *, latex: bool = False, by: str = "") -> list[Path]:
    """The files that `write_leaderboard` writes (with `cases`): the leaderboard.csv first."""
    endings = (".md", *([".tex"] if latex else []), ".json")
    return [path, *map(path.with_suffix, endings), results_file(path), *(_strata_files(path, by) if by else [])]


def _strata_files(path: Path, by: str) -> tuple[Path, Path]:
    """Where the tables within strata go, as CSV and as Markdown."""
    table = path.with_name(f"{path.stem}_by_{by}.csv")
    return table, table.with_suffix(".md")


def leaderboard_texts(
    path: Path,
    table: pd.DataFrame,
    *,
    published: Published | None = None,
    latex: bool = False,
    strata: Mapping[str, pd.DataFrame] | None = None,
    by: str = "",
) -> dict[Path, str]:
    """The files of a leaderboard with their text: leaderboard.csv, leaderboard.md and the others that are asked for.

    Args:
        path: of the CSV.
        table: the leaderboard.
        published: a quoted table for the Markdown.
        latex: whether leaderboard.tex is wanted.
        strata: tables within strata, which go to ``leaderboard_by_size.csv`` and ``.md`` beside the others.
        by: the property that defines the strata, as ``size``.
    """
    texts = {path: leaderboard_csv(table), path.with_suffix(".md"): leaderboard_markdown(table, published)}
    if latex:
        texts[path.with_suffix(".tex")] = leaderboard_latex(table)
    return texts | (_strata_texts(path, strata, by) if strata else {})


def _strata_texts(path: Path, tables: Mapping[str, pd.DataFrame], by: str) -> dict[Path, str]:
    table, text = _strata_files(path, by)
    return {table: strata_csv(tables), text: strata_markdown(tables, by)}


def write_all(texts: Mapping[Path, str]) -> None:
    """Write every file under a temporary name before any takes its place.

    Raises:
        InputError: a file cannot be written; then no place was taken.
    """
    targets = {path: Path(os.path.realpath(path)) for path in texts}
    problems = [
        f"{path}: is not a regular file, and is left as it is: give the name of another file"
        for path, target in targets.items()
        if target.exists() and not target.is_file()
    ]
    if problems:
        raise InputError(problems)
    written = {path: target.with_name(f".{target.name}.{os.getpid()}.new") for path, target in targets.items()}
    try:
        for path, text in texts.items():
            try:
                write_text(written[path], text)
            except InputError as error:
                raise InputError(line.replace(str(written[path]), str(path)) for line in error.problems) from None
        for path, target in targets.items():
            try:
                written[path].replace(target)
            except OSError as error:
                raise InputError(f"{path}: cannot be written ({error.strerror or error}): check the folder") from None
    finally:
        for temporary in written.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def printed(mean: float, sd: float, separator: str = " ") -> str:
    """Mean and standard deviation as the published table prints them: ``0.44 (0.30)``."""
    return f"{mean:.2f}{separator}({sd:.2f})"


def metric_text(row: _Row, metric: str, separator: str = " ") -> str:
    """A metric of a method as tables show it: a distance over the cases that have one, ``41.79 (17.20), 5 undefined``.

    Args:
        row: of the leaderboard.
        metric: one of its metrics.
        separator: between mean, standard deviation and the number of undefined distances.
    """
    undefined = row.get(f"{metric}_undefined")
    if not undefined:
        return printed(row[f"{metric}_mean"], row[f"{metric}_sd"], separator)
    told, mean = f"{undefined} undefined", row[f"{metric}_defined_mean"]
    return told if pd.isna(mean) else f"{printed(mean, row[f'{metric}_defined_sd'], separator)},{separator}{told}"


def undefined_note(table: pd.DataFrame) -> str:
    """What undefined distances are and count; empty if a table shows none."""
    if not any(_counted(table, metric) for metric in shown_metrics(table)):
        return ""
    policy = table["policy"].iloc[0]
    distance = POLICIES[policy].distance
    counts = "the diagonal of the case's volume" if isinstance(distance, Measured) else f"{distance:.0f} mm"
    return (
        "Distances are means over the cases that have one; undefined: the distance to or from an empty or missing "
        f"mask, which counts {counts} under the policy {policy} (the CSV has the means with these)."
    )


def counted_note(table: pd.DataFrame) -> str:
    """The means of distances as the policy counts them, for the methods that have undefined ones; empty without any."""
    parts = []
    for metric in shown_metrics(table):
        if rows := _counted(table, metric):
            values = [f"{row['method']} {printed(row[f'{metric}_mean'], row[f'{metric}_sd'])}" for row in rows]
            parts.append(f"{title(metric)} with undefined ones counted: {', '.join(values)}.")
    return " ".join(parts)


def _counted(table: pd.DataFrame, metric: str) -> list[dict[Hashable, Any]]:
    """The rows of the methods that have undefined values of a metric."""
    undefined = f"{metric}_undefined"
    return table[table[undefined] > 0].to_dict("records") if undefined in table.columns else []


def synthetic_note(*tables: pd.DataFrame) -> str:
    """The warning for tables with a row that is marked as synthetic; empty for others."""
    return SYNTHETIC if any(synthetic_rows(table).any() for table in tables) else ""


def title(metric: str) -> str:
    """Name and unit of a metric as a column's header; a column that is not one of our metrics has its own name."""
    return METRICS[metric].heading if metric in METRICS else metric


def ranked_by(table: pd.DataFrame) -> dict[str, str]:
    """The metrics that the scheme used, each with the direction that it was given (empty: its own)."""
    if own := SCHEMES[table["scheme"].iloc[0]].metric:
        return {own: ""}
    parts = [metric.partition(":") for metric in str(table["metrics"].iloc[0]).split(";")]
    return {name: direction for name, _, direction in parts}


def ranked_by_text(table: pd.DataFrame) -> str:
    """The metrics that the scheme used, in words: ``Dice and seconds (lower is better)``."""
    parts = [
        (METRICS[name].title if name in METRICS else name) + (f" ({direction} is better)" if direction else "")
        for name, direction in ranked_by(table).items()
    ]
    return with_and(parts)


def shown_metrics(table: pd.DataFrame) -> tuple[str, ...]:
    """Those of `CORE_METRICS` that the table has, then any others that the scheme used; a preset's are its own."""
    if "preset" in table.columns:
        return PRESETS[table["preset"].iloc[0]].metrics
    core = (name for name in CORE_METRICS if f"{name}_mean" in table.columns)
    return (*core, *(name for name in ranked_by(table) if name not in CORE_METRICS))


def has_sets(table: pd.DataFrame) -> bool:
    """Whether the ranks were resampled."""
    return "tie_group" in table.columns


def rank_set(row: _Row) -> str:
    """The confidence set of a rank: ``2-5``, or ``2`` alone."""
    return str(row["rank_low"]) if row["rank_low"] == row["rank_high"] else f"{row['rank_low']}-{row['rank_high']}"


def caption(table: pd.DataFrame) -> str:
    """A caption that says what the numbers are."""
    first = table.iloc[0]
    by = "" if SCHEMES[first["scheme"]].metric else f" by {ranked_by_text(table)}"
    rules = f"preset {first['preset']}, " if "preset" in table.columns else ""
    return (
        f"Mean (standard deviation) over {counted(first['cases'], 'case')}; {rules}"
        f"scheme {first['scheme']}{by}, policy {first['policy']}."
    )


def stratum_caption(table: pd.DataFrame) -> str:
    """The caption of a stratum, with what was resampled within it."""
    if not has_sets(table):
        return caption(table)
    return f"{caption(table)} Sets from {resampled(table)}.{f' {TOO_FEW_NOTE}' if tells_nothing(table) else ''}"


def set_caption(table: pd.DataFrame, *, groups: bool = True) -> str:
    """The meaning of the sets, and of the groups if shown; empty if the ranks were not resampled."""
    if not has_sets(table):
        return ""
    return _set_text(resampled(table), groups, simultaneous=simultaneous(table)) + (
        f" {TOO_FEW_NOTE}" if tells_nothing(table) else ""
    )


def resampled(table: pd.DataFrame) -> str:
    """What was resampled, and how often: ``10000 resamples of 49 patients (seed 0)``."""
    first = table.iloc[0]
    units = units_text(first["unit"], first["cases"], None if pd.isna(first["patients"]) else int(first["patients"]))
    return f"{counted(first['resamples'], 'resample')} of {units} (seed {first['seed']})".replace(") (", ", ")


def units_text(unit: str, cases: int, patients: int | None) -> str:
    """What was resampled and how many; `patients` is None if none of them is known."""
    if unit == "case":
        return counted(cases, "case")
    return f"{counted(cases, 'case')} (patients unknown)" if patients is None else counted(patients, "patient")


def tells_nothing(table: pd.DataFrame) -> bool:
    """Whether units or resamples were too few for sets and groups to separate methods."""
    return has_sets(table) and len(table) > 1 and bool(table.attrs.get("tells_nothing"))


def with_and(parts: Sequence[str]) -> str:
    """Words as a list in a sentence: ``Dice, recall and AVD``."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if parts[1:] else "".join(parts)


def counted(number: int, noun: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def simultaneous(table: pd.DataFrame) -> bool:
    """Whether the sets hold all at once."""
    return "sets" in table.columns


def set_note(table: pd.DataFrame) -> str:
    """What the sets promise, for the page."""
    if simultaneous(table):
        return "The 95 % sets hold the true ranks of all methods at once with 95 % confidence."
    return f"The 95 % set holds the method's true rank with 95 % confidence. {MARGINAL_NOTE}"


def _set_text(source: str, groups: bool = True, *, simultaneous: bool = False) -> str:
    each = f"95 % set: where a method's true rank lies with 95 % confidence, from {source}. {MARGINAL_NOTE}"
    text = f"95 % set: the sets of all methods hold their true ranks at once with 95 % confidence, from {source}."
    text = text if simultaneous else each
    return text + (f" Group: methods that share a letter cannot be told apart ({GROUP_NOTE})." if groups else "")


def _section(table: pd.DataFrame, quotes: Mapping[str, Sequence[Quote]] | None = None) -> list[str]:
    """The table in Markdown, with an extra column if there are quotes."""
    sets, metrics, volumes = has_sets(table), shown_metrics(table), "core_agreement_mean" in table.columns
    header = ["Rank", "Method", *(["95 % set", "Group", "First in"] if sets else []), "Cases", "Missing"]
    header += [
        *(_markup(title(name)) for name in metrics),
        *([SAME_SIDE] if volumes else []),
        *(["As published"] if quotes else []),
    ]
    rows = []
    for row in table.to_dict("records"):
        fields = [str(row["rank"]), _markup(str(row["method"]))]
        if sets:
            fields += [rank_set(row), str(row["tie_group"]), f"{100 * row['first_share']:.0f} %"]
        fields += [str(row["cases"]), str(row["missing"]), *(metric_text(row, name) for name in metrics)]
        if volumes:
            fields.append(f"{100 * row['core_agreement_mean']:.0f} %")
        if quotes:
            fields.append("; ".join(quote.short for quote in quotes.get(row["method"], ())))
        rows.append(fields)
    return _markdown(header, rows, left=("Method", "Group", "As published"))


def _notes(tables: Sequence[pd.DataFrame], sets: str) -> list[str]:
    """The meaning of the columns of one table, or of all strata's; `sets` is the sentence about the sets."""
    table = tables[0]
    notes = ["", f"{sets} First in: share of resamples with rank 1."] if has_sets(table) else []
    notes += ["", _markup(training_note(table))]
    if undefined := next(filter(None, map(undefined_note, tables)), ""):
        notes += ["", undefined if tables[1:] else f"{undefined} {_markup(counted_note(table))}"]
    if "core_agreement_mean" in table.columns:
        notes += ["", f"{SAME_SIDE}: {SAME_SIDE_NOTE}."]
    return [*notes, "", _PERCENTILE_NOTE] if has_sets(table) else notes


def _published_section(published: Published) -> list[str]:
    header = ["Rank", "Team", *(title(name) for name in CORE_METRICS)]
    rows = _markdown(header, published.rows(CORE_METRICS), left=("Team",))
    return [
        "## For comparison: as published", "", OTHER_DATA, "", *rows, "",
        f"Source: {published.source}. {published.data}. {published.note}.",
    ]  # fmt: skip


def _mark(*tables: pd.DataFrame) -> list[str]:
    note = synthetic_note(*tables)
    return [f"**{note}**", ""] if note else []


def _markup(text: str) -> str:
    """A text without markup of its own: what Markdown or HTML would read is escaped (the cells' ``|`` excepted)."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[str]) -> list[str]:
    marks = ["---" if name in left else "---:" for name in header]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(marks) + "|"]
    return lines + ["| " + " | ".join(field.replace("|", "\\|") for field in row) + " |" for row in rows]


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
