"""What a longer training is worth: Dice against the budget that a method was trained with.

    python tools/budget.py recipes configs/tuning.yaml --share 0.25 --out quarter.yaml
    python tools/budget.py figure LEADERBOARD [LEADERBOARD ...] [--by training_gmac] [--page docs/budget.md]

``recipes`` writes a suite with a share of the epochs of each network and of its warm-up, and all else as it is.
``figure`` reads ``cases.csv`` and ``costs.csv`` in the ``leaderboard`` folders of suites that trained the same methods
with several shares, on the same cases and folds. It prints a table in markdown, a row for each method and budget. With
``--page``, the table replaces the lines between the markers in that file, and a picture of the same name is drawn
beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import yaml
from marked_page import plain, publish, save

from benchmark.rundir.names import BUDGET
from benchmark.suite.config import SuiteConfig, is_rule, method_config, read_suite
from benchmark.suite.config_files import find_config, merge, read_yaml
from leaderboard.cases import read_cases
from leaderboard.errors import InputError
from leaderboard.io.images import write_text
from leaderboard.ranking.policies import POLICIES, apply_policy
from leaderboard.shell import run_command

#: What the picture shows, in words.
ALT = "Mean Dice against the budget of a training, a line a method"
MARKERS = ("<!-- budget: written by tools/budget.py -->", "<!-- end of budget -->")
#: What stands on the figure's axis.
TITLES = {
    "steps": "optimiser steps",
    "slices_seen": "slices seen in training",
    "training_gmac": "GMAC of the training, forward and backward",
}
#: Settings of a method that are a number of epochs, by the end of their name.
EPOCHS = "_epochs"


def scaled_recipe(config: Mapping[str, Any], share: float) -> dict[str, Any]:
    """The overrides that give a network a share of its epochs, at least one, and of its warm-up.

    Schedules follow the epochs by themselves, but for those that count steps. A warm-up keeps its share of the training
    that is left.

    Args:
        config: the method's, as the suite would train it.
        share: greater than 0.
    """
    epochs = config["trainer"]["max_epochs"]
    left = max(1, round(share * epochs))
    settings = config["model"].get("init_args", {})
    counted = {name: value * left / epochs for name, value in settings.items() if name.endswith(EPOCHS) and value}
    return {"trainer": {"max_epochs": left}, **({"model": {"init_args": counted}} if counted else {})}


def scaled_suite(path: Path, share: float) -> dict[str, Any]:
    """The content of a suite's config with each network's recipe scaled; its name says the share.

    Raises:
        InputError: the suite cannot be read.
    """
    suite, content = read_suite(path), read_yaml(path)
    networks = {name: config for name in methods_of(suite) if not is_rule(config := method_config(suite, name, {}))}
    overrides = {name: scaled_recipe(config, share) for name, config in networks.items()}
    file = suite.folds_file and path.parent / suite.folds_file
    beside = {"folds": {"file": str(file.resolve())}} if file and file.is_file() else {}
    return merge(content, {"name": f"{suite.name}-{share:g}", "overrides": overrides}, beside)


def methods_of(suite: SuiteConfig) -> list[str]:
    """The suite's methods, and those that its overrides prepare for ``--methods``."""
    return list(dict.fromkeys([*suite.methods, *suite.overrides]))


def points(cases: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """What the trainings of one suite scored, and what they took.

    Args:
        cases: of its ``cases.csv``.
        costs: of its ``costs.csv``.

    Returns:
        A row for each network and seed: ``method``, ``seed`` (-1 where there is one training), mean ``dice`` over the
        cases (undefined values as the policy isles2018 counts them), and the budget of a training (mean over folds).

    Raises:
        InputError: the costs hold no budget, or one of the two tables lacks a training of a network.
    """
    if missing := [name for name in BUDGET if name not in costs.columns]:
        raise InputError(f"costs.csv: has no column {', '.join(missing)}: run the suite again with this version")
    dice = cases.assign(dice=apply_policy(cases, POLICIES["isles2018"], ("dice",))["dice"])
    scored = _with_seed(dice).groupby(["method", "seed"], as_index=False)["dice"].mean()
    spent = _with_seed(costs)
    own = scored[scored["method"].isin(spent["method"])]  # ablations and ensembles have no costs of their own
    both = spent.merge(own, on=["method", "seed"], how="outer", indicator="found")
    if lacking := sorted(set(both.loc[both["found"] != "both", "method"])):
        raise InputError(f"cases.csv and costs.csv hold other trainings of {', '.join(lacking)}: take those of one run")
    spent = spent[spent["parameters"] > 0].copy()
    if unknown := spent.loc[spent["steps"].isna(), "method"].unique().tolist():
        raise InputError(f"costs.csv: the budget of {', '.join(unknown)} is not known: train again with this version")
    spent[list(BUDGET)] = spent[list(BUDGET)].div(spent["folds"], axis=0)
    return spent[["method", "seed", *BUDGET]].merge(scored, on=["method", "seed"])


def _with_seed(table: pd.DataFrame) -> pd.DataFrame:
    seeds = table["seed"] if "seed" in table.columns else pd.Series(pd.NA, table.index)
    return table.assign(seed=seeds.astype("Int64").fillna(-1).astype(int))


def require_same(tables: Mapping[str, pd.DataFrame]) -> None:
    """Refuse suites that scored other cases, or in other folds, than the first.

    Args:
        tables: cases by name of the suite's folder.

    Raises:
        InputError: with each such suite.
    """
    parts = {name: set(zip(table["case"], table["fold"], strict=True)) for name, table in tables.items()}
    first, *others = parts
    if different := [name for name in others if parts[name] != parts[first]]:
        raise InputError(f"{name}: holds other cases or folds than {first}: choose the same" for name in different)


def markdown(found: pd.DataFrame) -> str:
    """The table: a row for each method and budget, the smallest first.

    Args:
        found: rows of `points` of all suites, which the column ``suite`` names.
    """
    lines = [
        "| method | steps | slices seen | GMAC | Dice | by seed |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for method, rows in found.groupby("method"):
        groups = sorted((group for _, group in rows.groupby("suite")), key=lambda group: group["steps"].mean())
        for group in groups:
            spent = " | ".join(f"{group[name].mean():,.0f}" for name in BUDGET)
            seeds = ", ".join(f"{dice:.3f}" for dice in group.sort_values("seed")["dice"])
            lines.append(f"| `{method}` | {spent} | {group['dice'].mean():.3f} | {seeds} |")
    return "\n".join(lines)


def draw(found: pd.DataFrame, by: str, picture: Path) -> None:
    """Mean Dice against the budget, a line a method; a dot for each training.

    Args:
        found: as `markdown` takes it.
        by: which of `BUDGET`.
        picture: a file to write.
    """
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for method, rows in found.groupby("method"):
        means = rows.groupby("suite")[[by, "dice"]].mean().sort_values(by)
        (line,) = axes.plot(means[by], means["dice"], marker="D", markersize=5, label=str(method))
        axes.plot(rows[by], rows["dice"], "o", color=line.get_color(), alpha=0.4, markersize=4, markeredgewidth=0)
    axes.set(xscale="log", xlabel=TITLES[by], ylabel="mean Dice")
    plain(axes)
    axes.legend(frameon=False, loc="lower right")
    save(figure, picture)


def recipes(options: argparse.Namespace) -> int:
    """``recipes``."""
    if not 0 < options.share < float("inf"):
        raise InputError(f"--share {options.share}: is no number greater than 0: give a share such as 0.25")
    if options.out.exists():
        raise InputError(f"--out {options.out}: is there already: name a new file, or remove it first")
    content = scaled_suite(find_config(options.suite), options.share)
    said = f"# {options.suite} with {options.share:g} times the epochs: written by tools/budget.py\n"
    write_text(options.out, said + yaml.safe_dump(content, sort_keys=False))
    return 0


def figure(options: argparse.Namespace) -> int:
    """``figure``."""
    cases = {str(folder): read_cases(folder / "cases.csv") for folder in options.folders}
    require_same(cases)
    parts = []
    for name, table in cases.items():
        if not (path := Path(name) / "costs.csv").is_file():
            raise InputError(f"{path}: is missing: name the leaderboard folder of a suite")
        parts.append(points(table, pd.read_csv(path)).assign(suite=name))
    found = pd.concat(parts, ignore_index=True)
    suites = found.groupby("method")["suite"].nunique()
    if lacking := suites.index[suites < len(cases)].tolist():
        raise InputError(f"{', '.join(lacking)}: not in every suite's costs.csv: train the same methods in each")
    if found[options.by].isna().any():
        raise InputError(f"--by {options.by}: is not known of every method: choose another")
    publish(markdown(found), options.page, MARKERS, ALT, lambda picture: draw(found, options.by, picture))
    return 0


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True)
    part = commands.add_parser("recipes", help="write a suite with a share of every network's epochs")
    part.add_argument("suite", metavar="SUITE", help="a suite's config, by path or name")
    part.add_argument("--share", type=float, required=True, help="of the epochs: 0.25, or 2")
    part.add_argument("--out", type=Path, required=True, help="new YAML, beside methods/ if the suite has its own")
    part.set_defaults(command=recipes)
    part = commands.add_parser("figure", help="table and picture of finished suites")
    part.add_argument("folders", nargs="+", type=Path, metavar="LEADERBOARD", help="folder of cases.csv and costs.csv")
    part.add_argument("--by", choices=BUDGET, default="training_gmac", help="the axis (default: training_gmac)")
    part.add_argument("--page", type=Path, help="markdown file with the markers; its picture goes beside it")
    part.set_defaults(command=figure)
    return parser.parse_args(argv)


if __name__ == "__main__":
    matplotlib.use("Agg")
    sys.exit(run_command("budget", lambda: parsed(sys.argv[1:])))
