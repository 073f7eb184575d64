"""From finished jobs to ``leaderboard/``: cases.csv, the leaderboard, results.json, costs.csv and the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.cohort.folds import Folds
from benchmark.cohort.twin_manifest import MANIFEST
from benchmark.rundir.digests import read_provenance
from benchmark.rundir.names import BUDGET, PREDICTIONS, PROBABILITIES, row_folder, row_name
from benchmark.suite.ensembles import Ensemble, maps_of
from benchmark.suite.plan import Job
from leaderboard.cases import write_cases
from leaderboard.cohort.formats import Cohort
from leaderboard.columns import SEED
from leaderboard.io.images import write_bytes, write_text
from leaderboard.ranking.ranks import analyse
from leaderboard.report import BANNER, SYNTHETIC
from leaderboard.report.citation import COMMIT
from leaderboard.report.leaderboard_files import with_and, write_leaderboard
from leaderboard.report.page import render_page, write_page
from leaderboard.report.section import Numbers, Section
from leaderboard.scoring.folder import score_cases


@dataclass(frozen=True)
class Row:
    """What is scored for a row of the leaderboard on one fold."""

    name: str  #: of the row
    fold: int  #: whose cases were predicted
    masks: Path  #: folder of the masks
    maps: Path | None  #: folder of the probability maps behind them; None: there are none
    seed: int | None = None  #: of the training, where there are several


def write_results(
    jobs: Sequence[Job],
    cohort: Cohort,
    folds: Folds,
    folder: Path,
    suite: str,
    progress: Callable[[int, int], None] | None = None,
    spent: Mapping[str, float] | None = None,
    note: str = "",
    ensembles: Sequence[Ensemble] = (),
) -> pd.DataFrame:
    """Score and rank finished jobs.

    Args:
        jobs: finished ones.
        cohort: its cases have references.
        folds: which cases each job predicted.
        folder: where the files go.
        suite: its name.
        progress: called with (scored, all).
        spent: seconds of the suite by activity besides its jobs, for the page.
        note: text for the top of the page, besides those about a twin and about folds that leak.
        ensembles: further rows, which have been made (`make_ensembles`).

    Returns:
        The leaderboard.
    """
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    banner = mark_tables(cohort, folder, " ".join(filter(None, (leaky_note(folds), note))))
    synthetic = banner.startswith(SYNTHETIC)
    frames = []
    predicted = [row for job in jobs for row in predicted_rows(job)]
    predicted += [Row(own.name, own.fold, own.run / PREDICTIONS, own.run / PROBABILITIES) for own in ensembles]
    total = sum(list(folds.fold_of.values()).count(row.fold) for row in predicted)
    for row in predicted:
        cases = [case for case in cohort.cases if folds.fold_of[case.name] == row.fold]
        scored = score_cases(
            cases, row.masks, row.name, probabilities=row.maps, folds=folds.fold_of, complete=True, synthetic=synthetic
        )
        frames.append(scored if row.seed is None else scored.assign(**{SEED: row.seed}))
        if progress:
            progress(sum(map(len, frames)), total)
    table = pd.concat(frames, ignore_index=True)
    write_cases(folder / "cases.csv", table)
    analysis = analyse(table)
    said = notes(jobs, cohort, folds, suite)
    write_leaderboard(folder / "leaderboard.csv", analysis.table, notes=facts(jobs, said), cases=analysis.rows)
    spending = costs(jobs)
    below = below_bar(analysis.table, spending.loc[spending["parameters"] > 0, "method"].tolist())
    write_text(folder / "costs.csv", costs(jobs, by_seed=True).to_csv(index=False, lineterminator="\n"))
    remarks = {f"not above {bar_of(analysis.table)} in mean Dice": ", ".join(below)} if below else {}
    predictions: dict[str, list[Path]] = {}
    pictured = (None, min(seeds_of(jobs), default=None))  # of several trainings, those of the lowest seed
    for row in predicted:
        if row.seed in pictured:
            predictions.setdefault(row.name, []).append(row.masks)
    html = render_page(
        analysis, heading=f"Leaderboard of the suite {suite}", banner=banner,
        notes=said | remarks, images=cohort, predictions=predictions,
        sections=[cost_section(spending, {**(spent or {}), "scoring and ranking": time.monotonic() - started})],
    )  # fmt: skip
    write_page(folder, html)
    return analysis.table


def mark_tables(cohort: Cohort, folder: Path, note: str = "") -> str:
    """Write the text for the top of the page beside the tables, where `leaderboard report` finds it; return it.

    Args:
        cohort: if it is a twin, the text says so, and its manifest goes beside the tables too.
        folder: of the tables.
        note: further text.
    """
    manifests = [place / MANIFEST for place in (cohort.root, cohort.root.parent) if (place / MANIFEST).is_file()]
    if manifests:
        write_bytes(folder / MANIFEST, manifests[0].read_bytes())
    banner = " ".join(text for text in (SYNTHETIC if manifests else "", note) if text)
    if banner:
        write_text(folder / BANNER, banner + "\n")
    return banner


def leaky_note(folds: Folds) -> str:
    """What must be said of results on folds that split patients; nothing of others."""
    if not (split := len(folds.split_patients)):
        return ""
    return (
        f"LEAKY FOLDS: {split} of {len(set(folds.patient_of.values()))} patients have cases in training and in "
        "validation. The scores are not those of new patients."
    )


#: The rows that any training must beat, of which a cohort's images allow one or none: on perfusion maps a threshold
#: fitted on the same folds, on diffusion MRI the clinical one.
BARS = ("perfusion_tfit", "adc_threshold")


def bar_of(table: pd.DataFrame) -> str | None:
    """The first of `BARS` that is on a leaderboard; None without any."""
    return next((name for name in BARS if name in set(table["method"])), None)


def below_bar(table: pd.DataFrame, trained: Sequence[str]) -> list[str]:
    """Trained methods whose mean Dice is not above that of `bar_of`; none if there is no such row.

    Args:
        table: leaderboard.
        trained: methods with weights.
    """
    dice, bar = table.set_index("method")["dice_mean"], bar_of(table)
    return [name for name in trained if bar and name in dice and not dice[name] > dice[bar]]


def predicted_rows(job: Job) -> list[Row]:
    """The leaderboard rows that a finished job gives: the method's own, and its ablations, which share its maps."""
    ablations, masks, maps = read_provenance(job.run)["ablations"], job.run / PREDICTIONS, maps_of(job)
    return [
        Row(row_name(job.method, ablation), job.fold, row_folder(masks, ablation), maps, job.seed)
        for ablation in ("", *ablations)
    ]


def notes(jobs: Sequence[Job], cohort: Cohort, folds: Folds, suite: str) -> dict[str, str]:
    """The page's facts about where its results come from; nothing dated, so that pages can be compared."""
    provenance = read_provenance(jobs[0].run)
    versions = ", ".join(f"{name} {version}" for name, version in provenance["packages"].items())
    leaky = (
        "no" if not folds.split_patients else f"YES: patients {', '.join(folds.split_patients)} lie in several folds"
    )
    return {
        "suite": suite,
        "cohort": f"{len(cohort.cases)} cases of {len({case.patient for case in cohort.cases})} patients",
        **seed_note(jobs),
        "folds that split a patient": leaky,
        "precision": str(provenance["precision"]),
        "versions": versions,
        **commit_note(jobs),
    }


def seeds_of(jobs: Sequence[Job]) -> list[int]:
    """The training seeds of jobs, ascending; none where the suite has one."""
    return sorted({job.seed for job in jobs if job.seed is not None})


def seed_note(jobs: Sequence[Job]) -> dict[str, str]:
    """The seeds that methods were trained with, for the page; nothing where the suite has one."""
    seeds = seeds_of(jobs)
    return {"training seeds": ", ".join(map(str, seeds))} if seeds else {}


def facts(jobs: Sequence[Job], said: Mapping[str, str]) -> dict[str, str]:
    """The notes of leaderboard.json, by which ``leaderboard diff`` finds what changed: each version, and digests.

    Args:
        jobs: finished ones.
        said: from `notes`.
    """
    versions = {f"version of {name}": str(number) for name, number in read_provenance(jobs[0].run)["packages"].items()}
    digests = {
        "sha256 of the cohort": str(jobs[0].config["suite"]["cohort_sha256"]),
        "sha256 of the folds": str(read_provenance(jobs[0].run)["folds"]),
    }
    return {name: text for name, text in said.items() if name != "versions"} | digests | versions


def commit_note(jobs: Sequence[Job]) -> dict[str, str]:
    """The commits of the program that made the results, as the jobs recorded them; nothing if none did."""
    states = [read_provenance(job.run).get("git") for job in jobs]
    found = dict.fromkeys(
        f"{state['commit']}{'' if state['clean'] else ' with changes'}" if state else "not known" for state in states
    )
    return {COMMIT: ", ".join(found)} if any(states) else {}


def costs(jobs: Sequence[Job], by_seed: bool = False) -> pd.DataFrame:
    """What each method cost over its folds, from the jobs' provenance; timed, and therefore kept apart from the scores.

    ``other_seconds`` is the time before the prediction that was not training: importing, reading, checking what is
    already there. The budget (`BUDGET`: steps of the optimiser, slices seen, and 10^9 multiply-accumulates, see
    `benchmark.training.budget`) is summed over the trainings; it is empty where a job recorded none, and 0 for a rule.

    Args:
        jobs: finished ones.
        by_seed: one row for the trainings of each seed, named in the column ``seed``, where the suite has several.
    """
    by_seed = by_seed and bool(seeds_of(jobs))
    groups: dict[tuple[str, int | None], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.method, job.seed if by_seed else None), []).append(job)
    rows = []
    for (method, seed), group in groups.items():
        spent = [read_provenance(job.run)["costs"] for job in group]
        cases = sum(cost["cases"] for cost in spent)
        rows.append(
            {
                "method": method,
                **({SEED: seed} if by_seed else {}),
                "folds": len({job.fold for job in group}),
                "parameters": max(cost["parameters"] for cost in spent),
                "gmac_per_slice": spent[0]["gmac_per_slice"],
                **{name: _total([cost.get(name) for cost in spent]) for name in BUDGET},
                "fit_seconds": round(sum(cost["fit_seconds"] for cost in spent), 1),
                "predict_seconds_per_case": round(sum(cost["predict_seconds"] for cost in spent) / cases, 3),
                "other_seconds": round(sum(cost["other_seconds"] for cost in spent), 1),
                "peak_memory_mb": max(cost["peak_memory_mb"] for cost in spent),
            }
        )
    table = pd.DataFrame(rows)
    whole = [name for name in (SEED, "steps", "slices_seen") if name in table.columns]
    return table.astype(dict.fromkeys(whole, "Int64"))


def _total(values: Sequence[float | None]) -> float:
    """A sum, rounded to 6 digits; NaN if a part is not known."""
    known = [value for value in values if value is not None]
    return round(sum(known), 6) if len(known) == len(values) else float("nan")


#: How the page shows the columns of `costs`.
COST_COLUMNS = {
    "parameters": Numbers("Weights"),
    "gmac_per_slice": Numbers("GMAC", "a slice", 2),
    "steps": Numbers("Steps", "all trainings"),
    "slices_seen": Numbers("Slices seen", "all trainings"),
    "training_gmac": Numbers("GMAC", "all trainings"),
    "fit_seconds": Numbers("Training", "s, all trainings"),
    "predict_seconds_per_case": Numbers("Prediction", "s a case", 3),
    "other_seconds": Numbers("Importing, reading", "s, all trainings"),
    "peak_memory_mb": Numbers("Peak memory", "MB"),
}


def cost_section(table: pd.DataFrame, spent: Mapping[str, float]) -> Section:
    """The page's section about costs.

    Args:
        table: from `costs`.
        spent: seconds of the suite's last call by activity.
    """
    parts = with_and([f"{what} {_minutes_and_seconds(seconds)}" for what, seconds in spent.items()])
    return Section(
        title="Costs",
        text="Times are of the machine that made this and of whatever else it did meanwhile. "
        f"The suite’s last call: {parts}.",
        caption="What each method cost. GMAC are billions of multiply-accumulates: of the prediction of a slice, and "
        "of all trainings, there three times those of the network’s passes, for forward and backward. Slices seen are "
        "those of all samples, of volumes too, each time that they are served.",
        columns=COST_COLUMNS,
        table=table,
    )


def _minutes_and_seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"
