"""From the rows of cases.csv to the matrices that are ranked; refuses rows whose ranking would mislead."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

import numpy as np
import pandas as pd

from leaderboard.cases import A_TABLE, check_values, complete, has_seeds, row_key, seed_faults, sort_cases
from leaderboard.cohort.names import natural_key
from leaderboard.columns import (
    CORE_METRICS,
    IDENTITY,
    LARGEST,
    METRICS,
    NUMBERS,
    OF_PROBABILITIES,
    SEED,
    STATUSES,
    WITHOUT_UNIT,
)
from leaderboard.errors import InputError, check_types, cut, listed, nearest
from leaderboard.io.tables import shown as quoted
from leaderboard.ranking.exact import means
from leaderboard.ranking.matrices import Matrices, Trainings
from leaderboard.ranking.options import DEFAULTS, RankingOptions
from leaderboard.ranking.policies import POLICIES, Policy, apply_policy, count_values, describe_row
from leaderboard.ranking.schemes import SCHEMES

#: Reference volumes that differ by more than this share belong to different references.
VOLUME_TOLERANCE = 1e-6
_DIRECTIONS = {"higher": True, "lower": False}
_LISTED = 5


def read_matrices(cases: pd.DataFrame, options: RankingOptions = DEFAULTS) -> tuple[pd.DataFrame, Matrices]:
    """Check, sort and count the rows.

    Args:
        cases: one row for each (method, case), as from `cases.read_cases`, or any other tidy table.
        options: its policy and metrics count.

    Returns:
        The sorted rows, one for each (method, case) as `over_trainings` makes it, and their matrices: the metrics to
        rank by, and every other one that all rows have. Without metrics to rank by, the core ones are those.

    Raises:
        InputError: a metric is unknown, the rows lack what the scheme ranks by, or cannot be compared.
    """
    cases, policy = complete(cases), POLICIES[options.policy]
    needed = needed_metrics(cases, options)
    present = [
        name
        for name in METRICS
        if name in cases.columns and (_countable(cases, policy, name) or (name in needed and cases[name].notna().any()))
    ]
    directions = chosen_metrics(options.metrics or [name for name in CORE_METRICS if name in present], cases.columns)
    check_comparable(cases)
    if not directions:
        others = [str(name) for name in cases.columns if name not in IDENTITY and cases[name].notna().any()]
        known = [name for name in present if METRICS[name].higher_is_better is not None]
        remedy = (
            f"say what to rank by, as in --metrics {known[0]}"
            if known
            else "name a column of numbers with its direction, as in --metrics seconds:lower"
        )
        raise InputError(
            f"the tables have none of the metrics {', '.join(CORE_METRICS)} (but {listed(others) or 'nothing else'}): "
            f"{remedy}"
        )
    if own := lacking_metric(options.scheme, present):
        raise InputError(
            f"the scheme {options.scheme} needs the column {own}, which the tables lack: add it, or choose what to "
            f"rank by, as in --scheme mean-then-rank --metrics {next(iter(directions))}"
        )
    cases = sort_cases(cases)
    shown = [name for name in METRICS if name in present or name in directions]
    counted = apply_policy(cases, policy, tuple(shown))
    methods = tuple(cases["method"].unique())
    names = tuple(cases["case"].unique())
    blocks = partial(_blocks, cases)
    by_training = {name: blocks(counted[name].to_numpy(dtype=float)) for name in counted.columns}
    undefined = {}
    for name in directions:
        if name not in by_training:
            values, holes = _other_column(cases, name, directions[name])
            by_training[name], undefined[name] = blocks(values), blocks(holes)
    missing = blocks((cases["status"] == "missing").to_numpy())
    trainings = None
    if has_seeds(cases):
        folds = np.stack([fold[0] for fold in blocks(cases["fold"].fillna(-1).to_numpy(dtype=int))])
        seeds = [own.dropna().unique() for _, own in cases.groupby("method", sort=True)[SEED]]
        trainings = Trainings(tuple(tuple(map(int, own)) for own in seeds), folds, by_training, missing, undefined)
    return over_trainings(cases), Matrices(
        methods,
        names,
        _patients(cases, names),
        {name: np.stack([_mean(block) for block in own]) for name, own in by_training.items()},
        np.stack([block.any(axis=0) for block in missing]),
        directions,
        {name: np.stack([block.any(axis=0) for block in own]) for name, own in undefined.items()},
        trainings,
    )


def check_given(cases: pd.DataFrame, options: RankingOptions) -> None:
    """Refuse what is no table or no options, of a program that ranks, and values that no case can have.

    Raises:
        InputError: with a line for each.
    """
    how = "RankingOptions, as in RankingOptions() or RankingOptions.of_preset(NAME)"
    check_types(("cases", cases, pd.DataFrame, A_TABLE), ("options", options, RankingOptions, how))
    check_values(cases)


def measured_distances(cases: pd.DataFrame, matrices: Matrices) -> dict[str, np.ndarray]:
    """Each distance as measured, NaN where it is undefined, shape (methods, cases).

    Args:
        cases: as `read_matrices` gives them.
        matrices: likewise.
    """
    return {
        name: np.where(matrices.missing, np.nan, cases[name].to_numpy(dtype=float).reshape(matrices.missing.shape))
        for name in matrices.values
        if name in METRICS and METRICS[name].is_distance
    }


def over_trainings(cases: pd.DataFrame) -> pd.DataFrame:
    """One row for each (method, case), the means over a method's trainings; without seeds, the rows as they are.

    A number that some training lacks is undefined. The status is the worst of the trainings (the last in
    `columns.STATUSES`).

    Args:
        cases: sorted by method, seed and case, the same cases for each.
    """
    if not has_seeds(cases):
        return cases
    found = first_trainings(cases).drop(columns=SEED)
    for name in [name for name in NUMBERS if name in found.columns and name != "fold"]:
        parts = _blocks(cases, cases[name].to_numpy(dtype=float, na_value=np.nan))
        found[name] = np.concatenate([_mean(part) for part in parts])
    status = _blocks(cases, cases["status"].map(STATUSES.index).to_numpy())
    found["status"] = [STATUSES[number] for part in status for number in part.max(axis=0)]
    return found


def first_trainings(cases: pd.DataFrame) -> pd.DataFrame:
    """The rows of each method's training with the lowest seed; sorted rows without seeds are as they were."""
    return cases[~cases.duplicated(["method", "case"])] if has_seeds(cases) else cases


def _blocks(cases: pd.DataFrame, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """A value of each sorted row by method, shape (trainings, cases) each."""
    sizes = cases.groupby("method", sort=True).size().to_numpy()
    blocks = np.split(values, np.cumsum(sizes)[:-1])
    count = cases["case"].nunique()
    return tuple(block.reshape(-1, count) for block in blocks)


def _mean(block: np.ndarray) -> np.ndarray:
    """The mean over the trainings; that of one is itself to the bit."""
    return block[0] if len(block) == 1 else means(block.T)


def needed_metrics(cases: pd.DataFrame, options: RankingOptions = DEFAULTS) -> set[str]:
    """What every method must have if some method does: the metrics to rank by, or the core ones if none is named.

    Raises:
        InputError: a metric is unknown.
    """
    own = SCHEMES[options.scheme].metric
    chosen = chosen_metrics(options.metrics, cases.columns) if options.metrics else CORE_METRICS
    return {*chosen, *([own] if own else [])}


def lacking_metric(scheme: str, metrics: Collection[str]) -> str | None:
    """The metric that a scheme always uses, if it is not among some metrics; None if it needs no further one."""
    own = SCHEMES[scheme].metric
    return None if own in metrics else own


def left_out(cases: pd.DataFrame, options: RankingOptions = DEFAULTS) -> list[str]:
    """What `read_matrices` leaves out although some rows have it: one line for metrics that the same methods lack.

    Args:
        cases: one row for each (method, case), as from `cases.read_cases`.
        options: its policy and metrics count.
    """
    cases = complete(cases)
    needed = needed_metrics(cases, options)
    lacking: dict[tuple[str, ...], list[str]] = {}
    for name in METRICS:
        if name in needed or name not in cases.columns or cases[name].isna().all():
            continue
        try:
            empty = count_values(cases, POLICIES[options.policy], (name,))[name].isna()
        except InputError:
            empty = pd.Series(True, cases.index)
        methods = tuple(sorted(cases.loc[empty.to_numpy(), "method"].unique(), key=natural_key))
        if methods:
            lacking.setdefault(methods, []).append(name)
    return [
        f"left out for all methods: {', '.join(names)}, which {listed(methods)} "
        f"{'has' if len(methods) == 1 else 'have'} no value of in some case: score these predictions again"
        f"{', with --probabilities if they have maps' if set(names) <= OF_PROBABILITIES.keys() else ''}"
        for methods, names in lacking.items()
    ]


def without_patient(cases: pd.DataFrame) -> list[str]:
    """Cases whose patient is in no row, in natural order; each counts as a patient of its own.

    Args:
        cases: one row for each (method, case), as from `cases.read_cases`.
    """
    cases = complete(cases)
    return sorted(set(cases["case"]) - set(cases.loc[cases["patient"] != "", "case"]), key=natural_key)


def chosen_metrics(metrics: Sequence[str], columns: Sequence[str] | pd.Index) -> dict[str, bool]:
    """Metrics to rank by, and whether more of each is better.

    Args:
        metrics: names of `columns.METRICS`; or any column of numbers with its direction, as in ``seconds:lower``.
        columns: those that the rows have.

    Raises:
        InputError: a metric is unknown, has no direction or is there twice.
    """
    numbers = [name for name in columns if name not in METRICS and name not in IDENTITY]
    usable = [name for name, metric in METRICS.items() if metric.higher_is_better is not None]
    chosen: dict[str, bool] = {}
    problems = []
    for metric in metrics:
        name, _, direction = metric.partition(":")
        name = name if name in columns else WITHOUT_UNIT.get(name, name)
        close, said = nearest(name, [*usable, *numbers]), cut(metric)
        own = METRICS[name].higher_is_better if name in METRICS else None
        if name in chosen:
            problems.append(f"{cut(name)} is there twice among the metrics: name it once")
        elif not direction and name in usable:
            chosen[name] = bool(METRICS[name].higher_is_better)
        elif own is not None and _DIRECTIONS.get(direction, own) is not own:
            problems.append(f"{said} would rank backwards ({METRICS[name].direction}): write {name}")
        elif name in IDENTITY:
            problems.append(f"{said} is not a metric to rank by, but describes its row: name a column of measures")
        elif direction in _DIRECTIONS and (name in METRICS or name in columns):
            chosen[name] = _DIRECTIONS[direction]
        elif direction in _DIRECTIONS:
            others = f", or from the other columns: {listed(numbers)}" if numbers else ""
            problems.append(
                f"{cut(name)} is not a column of the tables: {close}choose from {', '.join(usable)}{others}"
            )
        elif own is not None:
            problems.append(f"{said} has a direction that is none: write {name} ({METRICS[name].direction})")
        elif name in METRICS or name in columns:
            problems.append(f"{said} lacks a direction: give {name} one, as in {name}:lower (or {name}:higher)")
        else:
            problems.append(
                f"{said} is not a metric to rank by: {close}choose from {', '.join(usable)}, "
                "or give another column its direction, as in seconds:lower"
            )
    if problems:
        raise InputError(problems)
    return chosen


def check_comparable(cases: pd.DataFrame) -> None:
    """Refuse rows whose ranking would mislead.

    Args:
        cases: from `cases.complete`.

    Raises:
        InputError: there are no rows; a (method, seed, case) is there twice; methods, or seeds of a method, were scored
            on different case lists; a method has seeds in some rows only; a case has different reference volumes or
            two patients.
    """
    if cases.empty:
        raise InputError("there are no cases to rank: score some predictions first")
    problems = [
        *_doubled(cases), *seed_faults(cases), *_different_lists(cases), *_different_references(cases),
        *_different_patients(cases),
    ]  # fmt: skip
    if problems:
        raise InputError(problems)


def _doubled(cases: pd.DataFrame) -> list[str]:
    key = row_key(cases)
    doubled = cases[cases.duplicated(key, keep=False)]
    problems = []
    for method, rows in doubled.groupby("method", sort=True):
        files = list(dict.fromkeys(_file_of(label) for label in rows.index)) if cases.index.name == "source" else []
        if len(files) > 1:
            count = rows["case"].nunique()
            problems.append(
                f"{listed(files)}: each has {method} for the same {count} case{'' if count == 1 else 's'}: "
                "rename the method in one of them, or leave one out"
            )
            continue
        problems += [
            f"{_where(own)}: {method} has {own['case'].iloc[0]} {len(own)} times: keep one row"
            for _, own in rows.groupby(key[:0:-1], sort=True, dropna=False)
        ]
    return problems


def _file_of(label: object) -> str:
    """The file of a row whose ``file:line`` is known."""
    return str(label).rpartition(":")[0]


def _different_lists(cases: pd.DataFrame) -> list[str]:
    every = set(cases["case"])
    problems = []
    for method, own in cases.groupby("method", sort=True)["case"]:
        lacking = sorted(every - set(own), key=natural_key)
        if lacking:
            problems.append(
                f"{method}: has no row for {listed(lacking)}, which other methods have: "
                "score all methods on the same cases"
            )
    return problems


def _different_references(cases: pd.DataFrame) -> list[str]:
    if "reference_ml" not in cases.columns:
        return []
    spread = cases.groupby("case")["reference_ml"].agg(["min", "max"])
    apart = spread[spread["max"] - spread["min"] > VOLUME_TOLERANCE * spread["max"]]
    problems = []
    for case in sorted(apart.index, key=natural_key):
        rows = cases[cases["case"] == case]
        pair = (
            rows.loc[[rows["reference_ml"].idxmin(), rows["reference_ml"].idxmax()]] if rows.index.is_unique else rows
        )
        low, high = apart.loc[case, ["min", "max"]]
        problems.append(
            f"{_where(pair)}: {case} has reference volumes of {low:g} and {high:g} mL: "
            "score all methods against the same references"
        )
    return problems


def _different_patients(cases: pd.DataFrame) -> list[str]:
    known = cases[cases["patient"] != ""]
    counts = known.groupby("case")["patient"].nunique()
    problems = []
    for case in sorted(counts.index[counts > 1], key=natural_key):
        patients = sorted(known.loc[known["case"] == case, "patient"].unique(), key=natural_key)
        problems.append(f"{case} belongs to the patients {', '.join(patients)}: give it one in every cases.csv")
    return problems


def _where(rows: pd.DataFrame) -> str:
    return ", ".join(describe_row(rows, label) for label in rows.index[:_LISTED])


def _countable(cases: pd.DataFrame, policy: Policy, metric: str) -> bool:
    """Whether the rows have what this metric needs (other programs write only the required columns)."""
    try:
        apply_policy(cases, policy, (metric,))
    except InputError:
        return False
    return True


def _patients(cases: pd.DataFrame, names: Sequence[str]) -> tuple[str, ...]:
    """The patient of each case, from any row that has it."""
    known = cases[cases["patient"] != ""].drop_duplicates("case").set_index("case")["patient"].to_dict()
    return tuple(str(known[name]) if name in known else f"of {name}" for name in names)


def _other_column(cases: pd.DataFrame, name: str, higher_is_better: bool) -> tuple[np.ndarray, np.ndarray]:
    """A column without a rule in any policy: its completed values, and where they were undefined, shape (rows,)."""
    numbers = pd.to_numeric(cases[name].replace("", np.nan), errors="coerce").astype(float)
    wrong = cases.index[(numbers.isna() & cases[name].notna() & (cases[name] != "")) | (numbers.abs() > LARGEST)]
    if len(wrong) and len(wrong) == int((cases[name].notna() & (cases[name] != "")).sum()):
        example = cases[name].loc[wrong].iloc[0]
        raise InputError(f"{name} holds no number in any row (but {quoted(str(example))}): rank by a column of numbers")
    if len(wrong):
        more = (
            [f"{name} is not a number in {len(wrong) - _LISTED} more rows: correct them"]
            if wrong[_LISTED:].size
            else []
        )
        lines = [
            f"{describe_row(cases, label)}: {name} is not a number of at most {LARGEST:g}: correct it"
            for label in wrong[:_LISTED]
        ]
        raise InputError(lines + more)
    values = numbers.to_numpy()
    undefined = np.isnan(values)
    if undefined.all():
        raise InputError(f"{name} is empty in every row: rank by another metric")
    worst = np.nanmin(values) if higher_is_better else np.nanmax(values)
    return np.where(undefined, worst, values), undefined
