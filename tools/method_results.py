"""Each method's cost, training curve and twin result, written into its README from a suite's run.

    benchmark cost --methods a,b --out costs.csv
    python tools/method_results.py RUNS/SUITE --costs costs.csv --command "nox -s benchmark" --chosen "..."

Replaces what stands between the markers at the end of ``benchmark/methods/<folder>/README.md`` and draws
``docs/methods/<method>.png``: loss and held-out Dice by epoch, one line a training. Methods of one folder share its
README.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from marked_page import plain, save, write_page
from matplotlib.ticker import MaxNLocator

from benchmark.cohort.twin_manifest import MANIFEST
from benchmark.rundir.digests import read_provenance
from benchmark.rundir.names import METRICS, method_folder, row_name, runs_of_method
from benchmark.suite.config_files import find_method, read_yaml
from benchmark.suite.results import bar_of
from leaderboard.io.images import write_text

ROOT = Path(__file__).resolve().parent.parent
HEADING = "## Cost, training curve and twin result"
MARKERS = ("<!-- results: written by tools/method_results.py -->", "<!-- end of results -->")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("suite", type=Path, help="folder of a finished suite: runs/<suite>")
    parser.add_argument("--costs", type=Path, required=True, help="CSV of benchmark cost")
    parser.add_argument("--command", required=True, help="command that made the suite's run")
    parser.add_argument("--chosen", required=True, help="a sentence on how the recipes were chosen")
    options = parser.parse_args(argv)
    costs = pd.read_csv(options.costs).set_index("method")
    spent = pd.read_csv(options.suite / "leaderboard" / "costs.csv").groupby("method", sort=False).max()  # over seeds
    table = pd.read_csv(options.suite / "leaderboard" / "leaderboard.csv").set_index("method")
    ran = Run(options.suite, options.command, options.chosen, costs, spent, table)
    folders: dict[Path, list[str]] = defaultdict(list)
    for method in spent.index:
        config = read_yaml(runs_of_method(options.suite / method)[0] / "config.yaml")
        folders[ROOT / Path(*config["model"]["class_path"].split(".")[:-1])].append(method)
    for folder, methods in folders.items():
        fill(folder / "README.md", "\n\n".join(text_of(method, ran) for method in methods))
    return 0


@dataclass(frozen=True)
class Run:
    """A finished suite; tables are by method."""

    suite: Path  #: its folder
    command: str  #: that made it
    chosen: str  #: how the recipes were chosen, a sentence
    costs: pd.DataFrame  #: of ``benchmark cost``
    spent: pd.DataFrame  #: its ``costs.csv``, of the seeds the most
    table: pd.DataFrame  #: its ``leaderboard.csv``


def text_of(method: str, ran: Run) -> str:
    """What a method's README says of its run; the picture of its curves is drawn."""
    parts = [cost_of(method, ran), rows_of(method, ran)]
    if ran.spent["parameters"].loc[method]:
        parts.append(training_of(method, ran))
    return "\n\n".join(filter(None, parts))


def cost_of(method: str, ran: Run) -> str:
    """What one case costs; empty for a rule, and where it was not measured."""
    if method not in ran.costs.index or not ran.costs.loc[method, "parameters"]:
        return ""
    cost = ran.costs.loc[method]
    return (
        f"**Cost** of one case of {cost['size']} x {cost['size']} x {cost['slices']} with the recipe of the real "
        f"data, {cost['device']}, {cost['precision']} (`benchmark cost --methods {method}`): "
        f"{cost['gmac']:.0f} GMAC, {cost['network_seconds']:.2f} s for the network, {cost['case_seconds']:.2f} s "
        f"from the case's files to its mask, {cost['peak_memory_mb']} MB at most."
    )


def rows_of(method: str, ran: Run) -> str:
    """The method's row of the leaderboard, and those of its ablations."""
    ablations = read_provenance(runs_of_method(ran.suite / method)[0])["ablations"]
    cohort = "a synthetic cohort, no ISLES result" if (ran.suite / "leaderboard" / MANIFEST).exists() else "not a twin"
    lines = [f"**Result of {method}** (`{ran.command}`; {cohort}):\n"]
    lines += ["| row | rank | Dice | precision | recall | AVD [mL] |", "|---|---:|---:|---:|---:|---:|"]
    for name in (method, *(row_name(method, ablation) for ablation in ablations)):
        row = ran.table.loc[name]
        values = [
            f"{row[f'{metric}_mean']:.2f} ({row[f'{metric}_sd']:.2f})"
            for metric in ("dice", "precision", "recall", "avd_ml")
        ]
        lines.append(f"| {name} | {row['rank']:.0f} of {len(ran.table)} | {' | '.join(values)} |")
    return "\n".join(lines)


def training_of(method: str, ran: Run) -> str:
    """How a network was trained, and the picture of its curves, which is drawn."""
    said = [recipe_of(method, ran.suite), ran.chosen, compared(method, ran.table)]
    parts = [" ".join(filter(None, said))]
    trainings = ran.table["trainings"].loc[method] if "trainings" in ran.table else 1
    if trainings > 1:
        parts.append(
            f"Means over {trainings:.0f} trainings on each fold. From one to the next, the mean Dice moves by "
            f"{ran.table['dice_seed_sd'].loc[method]:.3f} (standard deviation)."
        )
    parts.append(f"A training needed {ran.spent['peak_memory_mb'].loc[method]} MB at most.")
    picture = ROOT / "docs" / "methods" / f"{method}.png"
    draw(runs_of_method(ran.suite / method), picture)
    parts.append(f"![Loss and held-out Dice by epoch](../../../docs/methods/{picture.name})")
    return "\n\n".join(parts)


def recipe_of(method: str, suite: Path) -> str:
    """What the run changed in the method's own config, in words."""
    ran, own = (
        read_yaml(path) for path in (runs_of_method(suite / method)[0] / "config.yaml", find_method(method, suite))
    )
    changes = [
        f"{name} {value} in place of {own['model']['init_args'].get(name, 'the default')}"
        for name, value in ran["model"].get("init_args", {}).items()
        if value != own["model"].get("init_args", {}).get(name)
    ]
    batches = [config.get("data", {}).get("batch_size") for config in (ran, own)]
    if batches[0] != batches[1]:
        changes.append(f"batch size {batches[0]} in place of {batches[1]}")
    epochs = f"{ran['trainer']['max_epochs']} of the recipe's {own['trainer']['max_epochs']} epochs"
    return f"Its recipe here: {', '.join([epochs, *changes])}; the rest is the method's own config."


def compared(method: str, table: pd.DataFrame) -> str:
    """How far above or below the fitted threshold the method's mean Dice lies."""
    if (bar := bar_of(table.reset_index())) is None:
        return ""
    difference = table["dice_mean"].loc[method] - table["dice_mean"].loc[bar]
    return f"Its mean Dice is {abs(difference):.2f} {'above' if difference > 0 else 'BELOW'} that of `{bar}`."


def draw(runs: Sequence[Path], picture: Path) -> None:
    """Loss and held-out Dice by epoch, one line a training."""
    figure, axes = plt.subplots(1, 2, sharex=True, figsize=(8, 2.8), layout="constrained")
    for run in runs:
        metrics = pd.read_csv(run / METRICS)
        metrics = metrics.reindex(columns=["epoch", "train/loss", "val/dice"])  # a short training validates never
        dice = metrics.dropna(subset=["val/dice"])
        axes[0].plot(metrics["epoch"], metrics["train/loss"], label=run.relative_to(method_folder(run)).as_posix())
        axes[1].plot(dice["epoch"], dice["val/dice"], marker="o", label=run.relative_to(method_folder(run)).as_posix())
    for axis, label in zip(axes, ("training loss", "Dice of held-out cases"), strict=True):
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain(axis)
    axes[1].set_ylim(0, 1)
    if not any(line.get_xdata().size for line in axes[1].lines):
        axes[1].text(0.5, 0.5, "not validated in so few epochs", ha="center", transform=axes[1].transAxes)
    axes[0].legend(frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    save(figure, picture)


def fill(readme: Path, text: str) -> None:
    """Replace what stands between the markers of a README, which get a heading at its end if they are not there."""
    before = readme.read_text(encoding="utf-8")
    if MARKERS[0] not in before:
        write_text(readme, "\n".join([before.rstrip("\n"), "", HEADING, "", *MARKERS, ""]))
    write_page(readme, MARKERS, text)


if __name__ == "__main__":
    matplotlib.use("Agg")
    sys.exit(main())
