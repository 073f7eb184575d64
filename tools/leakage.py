"""What folds that split patients do to scores: the same methods on folds of patients and on folds of cases.

    python tools/leakage.py cohort TREE --out DIR
    python tools/leakage.py figure PATIENTS/cases.csv CASES/cases.csv [--page docs/leakage.md]

``cohort`` copies those cases of a tree in the layout of ISLES 2018 whose patients have two, so many that every fold
gets as many patients. ``figure`` reads the scores of two suites, which differ in their folds alone, and prints a table
in markdown, a row for each method. With ``--page``, the table replaces the lines between the markers in that file, and
a picture of the same name is drawn beside it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from marked_page import plain, publish, save

from benchmark.cohort.twin_manifest import MANIFEST
from leaderboard.cases import read_cases
from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import read_cohort
from leaderboard.cohort.formats.isles2018 import FORMAT
from leaderboard.errors import InputError, listed
from leaderboard.io.images import write_text
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.pair import compare_pair
from leaderboard.ranking.ranks import rank_methods
from leaderboard.report.leaderboard_files import rank_set
from leaderboard.shell import run_command

#: What the picture shows, in words.
ALT = "Mean Dice on folds by patient and by case, and the difference with its interval"
MARKERS = ("<!-- leakage: written by tools/leakage.py -->", "<!-- end of leakage -->")
#: Ends of the names that a method has in a table of both arms.
PATIENTS, CASES = " (patients)", " (cases)"


@dataclass(frozen=True)
class Leak:
    """A method in both arms; undefined Dice as the policy isles2018 counts it."""

    method: str  #: its name
    by_patient: float  #: mean Dice on folds that keep a patient together
    by_case: float  #: on folds of cases
    low: float  #: of the 95 % interval of `by_case` less `by_patient`, over patients and trainings
    high: float  #: likewise
    ranks: tuple[str, str]  #: rank and its 95 % set in each arm, as ``2 (1-3)``


def with_two(cases: Sequence[Case], folds: int) -> list[Case]:
    """The cases of patients with two, in their order, of so many patients that each fold gets equally many.

    Raises:
        InputError: fewer patients than folds have two.
    """
    count = Counter(case.patient for case in cases if case.patient)
    paired = [patient for patient, number in count.items() if number == 2]
    if len(paired) < folds:
        raise InputError(f"{len(paired)} patients have two cases, which are not enough for {folds} folds")
    kept = paired[: len(paired) // folds * folds]
    return [case for case in cases if case.patient in kept]


def require_same_but_folds(patients: pd.DataFrame, cases: pd.DataFrame) -> None:
    """Refuse two arms that do not differ in their folds alone.

    Raises:
        InputError: the methods, trainings or cases differ, folds of one arm train on another number of cases than those
            of the other, the first arm splits a patient, or the second none.
    """
    problems = []
    key = [name for name in ("method", "seed", "case") if name in patients.columns]
    arms = [set(arm.reindex(columns=key).astype(str).itertuples(index=False, name=None)) for arm in (patients, cases)]
    if arms[0] != arms[1]:
        problems.append("the two tables hold other methods, trainings or cases: run the same suite on both folds")
    sizes = [sorted(fold_of(arm).value_counts().tolist()) for arm in (patients, cases)]
    if sizes[0] != sizes[1]:
        problems.append(f"the folds hold {sizes[0]} and {sizes[1]} cases: use folds of the same sizes in both suites")
    if split := split_patients(patients):
        problems.append(f"the folds of the first table split {listed(split, 5)}: name folds by patient first")
    if not split_patients(cases):
        problems.append("the folds of the second table split no patient: name folds by case second")
    if problems:
        raise InputError(problems)


def fold_of(rows: pd.DataFrame) -> pd.Series:
    """The fold by case."""
    return rows.drop_duplicates("case").set_index("case")["fold"]


def split_patients(rows: pd.DataFrame) -> list[str]:
    """Patients with cases in several folds."""
    folds = rows.groupby("patient")["fold"].nunique()
    return sorted(map(str, folds.index[folds > 1]))


def leaks(patients: pd.DataFrame, cases: pd.DataFrame) -> list[Leak]:
    """Every method in both arms, in the order of the first.

    Args:
        patients: rows of the arm whose folds keep a patient together.
        cases: of the other one.
    """
    ranked = [rank_methods(arm).set_index("method") for arm in (patients, cases)]
    arms = [(patients, PATIENTS), (cases, CASES)]
    both = pd.concat([arm.assign(method=arm["method"] + name) for arm, name in arms], ignore_index=True)
    options = RankingOptions(scheme="mean-then-rank", metrics=("dice",))
    found = []
    for method in ranked[0].index:
        (difference,) = compare_pair(both, method + CASES, method + PATIENTS, options).differences
        rows = [table.loc[method] for table in ranked]
        ranks = [f"{row['rank']} ({rank_set(row)})" for row in rows]
        ends = (difference.second, difference.first, difference.low, difference.high)
        found.append(Leak(method, *ends, (ranks[0], ranks[1])))
    return found


def markdown(found: Sequence[Leak], patients: pd.DataFrame, cases: pd.DataFrame) -> str:
    """The table, and a sentence on what was compared."""
    split, everyone = len(split_patients(cases)), cases["patient"].nunique()
    held_out = fold_of(cases).value_counts()
    trained_on = listed(sorted({str(held_out.sum() - count) for count in held_out}), 5)
    trainings = patients.groupby("method")["seed"].nunique().max() if "seed" in patients.columns else 1
    lines = [
        "| method | Dice, folds by patient | by case | difference (95 %) | rank by patient | by case |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| `{leak.method}` | {leak.by_patient:.3f} | {leak.by_case:.3f} | {leak.by_case - leak.by_patient:+.3f} "
        f"({leak.low:+.3f} to {leak.high:+.3f}) | {leak.ranks[0]} | {leak.ranks[1]} |"
        for leak in found
    ]
    times = "once" if trainings == 1 else f"{trainings} times"
    lines += [
        "",
        f"{held_out.sum()} cases of {everyone} patients in {len(held_out)} folds; each network was trained on "
        f"{trained_on} of them. In each fold a network was trained {times}. Folds by case split {split} of the "
        f"patients. Intervals are over patients"
        f"{' and trainings' if trainings > 1 else ', conditional on these trained networks'}.",
    ]
    return "\n".join(lines)


def draw(found: Sequence[Leak], picture: Path) -> None:
    """Dice in both arms, and beside it the difference with its interval; one row a method."""
    figure, (dice, gain) = plt.subplots(
        1, 2, sharey=True, figsize=(8, 1.2 + 0.45 * len(found)), layout="constrained", width_ratios=[3, 2]
    )
    for place, leak in enumerate(found):
        dice.plot([leak.by_patient, leak.by_case], [place, place], color="0.7", zorder=1)
        dice.plot(leak.by_patient, place, "o", color="C0", label=None if place else "folds by patient")
        dice.plot(leak.by_case, place, "D", color="C3", label=None if place else "folds by case (leak)")
        gain.plot([leak.low, leak.high], [place, place], color="0.4")
        gain.plot(leak.by_case - leak.by_patient, place, "D", color="0.2", markersize=5)
    dice.set(yticks=range(len(found)), yticklabels=[leak.method for leak in found], xlabel="mean Dice")
    dice.invert_yaxis()
    gain.axvline(0, color="0.7", linewidth=1)
    gain.set(xlabel="difference, 95 % interval")
    for axes in (dice, gain):
        plain(axes, "x")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    save(figure, picture)


def cohort(options: argparse.Namespace) -> int:
    """``cohort``."""
    tree = read_cohort(options.tree, "training", FORMAT.name)
    if options.out.exists():
        raise InputError(f"--out {options.out}: is there already: name a new folder")
    kept = with_two(tree.cases, options.folds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{options.out.name}-", dir=options.out.parent) as folder:
        part = Path(folder) / options.out.name
        for case in kept:
            shutil.copytree(case.images[case.grid].parents[1], part / "TRAINING" / case.name)
        rows = "".join(f"{case.name},{case.patient}\n" for case in kept)
        write_text(part / "TRAINING" / "patients.csv", f"case,patient\n{rows}")
        if (options.tree / MANIFEST).is_file():  # so that results go on to say that they are synthetic
            shutil.copy(options.tree / MANIFEST, part)
        part.rename(options.out)
    print(f"{len(kept)} cases of {len({case.patient for case in kept})} patients written to {options.out}")
    return 0


def figure(options: argparse.Namespace) -> int:
    """``figure``."""
    patients, cases = read_cases(options.patients), read_cases(options.cases)
    require_same_but_folds(patients, cases)
    found = leaks(patients, cases)
    publish(markdown(found, patients, cases), options.page, MARKERS, ALT, lambda picture: draw(found, picture))
    return 0


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True)
    part = commands.add_parser("cohort", help="copy the cases of patients with two")
    part.add_argument("tree", type=Path, metavar="TREE", help="a cohort in the tree of ISLES 2018")
    part.add_argument("--out", type=Path, required=True, help="new folder to write")
    part.add_argument("--folds", type=int, default=2, help="that are to hold equally many patients (default: 2)")
    part.set_defaults(command=cohort)
    part = commands.add_parser("figure", help="table and picture of two finished suites")
    part.add_argument("patients", type=Path, metavar="PATIENTS", help="cases.csv of the folds by patient")
    part.add_argument("cases", type=Path, metavar="CASES", help="cases.csv of the folds by case")
    part.add_argument("--page", type=Path, help="markdown file with the markers; its picture goes beside it")
    part.set_defaults(command=figure)
    return parser.parse_args(argv)


if __name__ == "__main__":
    matplotlib.use("Agg")
    sys.exit(run_command("leakage", lambda: parsed(sys.argv[1:])))
