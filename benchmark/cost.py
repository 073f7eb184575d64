"""What a method costs: weights, multiplications, memory and time for one case (``benchmark cost``).

Each method is measured in a process of its own, on one synthetic case: first the network's pass over the prepared
case, then everything from the case's NIfTI files to the written mask. Weights are random; they do not change the cost.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

from benchmark.configs import find_config, merge
from benchmark.memory import children_keep_memory
from benchmark.precision import slow_precision
from benchmark.suite import lacking, method_config, read_suite
from leaderboard.errors import InputError


@dataclass(frozen=True)
class Cost:
    """What one method costs for one case.

    Attributes:
        method: its name.
        parameters: trainable weights.
        gmac: 10^9 multiply-accumulates of the network's pass over the case.
        network_seconds: of that pass.
        case_seconds: from the case's image files to its mask file.
        peak_memory_mb: of the process, or of its GPU where it has one.
        slices: of the case.
        size: pixels a side.
        precision: of the network.
        device: what it ran on.
    """

    method: str
    parameters: int
    gmac: float
    network_seconds: float
    case_seconds: float
    peak_memory_mb: int
    slices: int
    size: int
    precision: str
    device: str


def measure_costs(
    methods: Sequence[str] | None,
    *,
    suite: str,
    cohort: Path | None,
    size: int,
    settings: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Measure methods one after the other.

    Args:
        methods: their names; None takes those of the suite that have all they need.
        suite: suite whose settings the methods take.
        cohort: the first of its training cases is taken; None makes a synthetic one of eight slices.
        size: pixels a side of the synthetic case.
        settings: config over everything else. The precision is what the machine is fast in (auto) unless it is here.
        progress: called with (done, all).

    Returns:
        A row a method, see `Cost`.

    Raises:
        InputError: an unknown method, a method that lacks a package, or a cohort that cannot be read.
    """
    read = read_suite(find_config(suite))
    names = tuple(methods or read.methods)
    settings = merge({"trainer": {"precision": "auto"}}, settings)
    configs = {name: method_config(read, name, settings) for name in names}
    missing = {name: lacks for name, config in configs.items() if (lacks := lacking(config))}
    if methods and missing:
        raise InputError(f"{name}: needs {', '.join(lacks)}, or leave it out" for name, lacks in missing.items())
    for name, lacks in missing.items():
        print(f"{name} is left out, it needs {', '.join(lacks)}", file=sys.stderr)
        del configs[name]
    for line in sorted({slow_precision(config) for config in configs.values()} - {""}):
        print(line, file=sys.stderr)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tree = (cohort or _one_case(Path(folder) / "cohort", size)).resolve()
        for place, (name, config) in enumerate(configs.items()):
            scratch = Path(folder) / name
            scratch.mkdir()
            config["data"] = config.get("data", {}) | {
                "cohort": str(tree),
                "cache": str(scratch / "cache"),
            }
            (scratch / "config.yaml").write_text(yaml.safe_dump(config))
            rows.append(_in_a_process(name, scratch))
            if progress:
                progress(place + 1, len(configs))
    return pd.DataFrame([asdict(row) for row in rows])


def print_costs(table: pd.DataFrame, console: Console) -> None:
    """The table of `measure_costs` on a terminal."""
    first = table.iloc[0]
    title = (
        f"One case of {first['size']} x {first['size']} x {first['slices']} ({first['device']}, {first['precision']})"
    )
    printed = Table(title=title)
    for heading in ("method", "weights", "GMAC", "network\ns", "file to file\ns", "peak\nMB"):
        printed.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
    for row in table.itertuples():
        printed.add_row(
            str(row.method), f"{row.parameters:,}", f"{row.gmac:,.1f}", f"{row.network_seconds:.3f}",
            f"{row.case_seconds:.3f}", f"{row.peak_memory_mb:,}",
        )  # fmt: skip
    console.print(printed)


def _one_case(folder: Path, size: int) -> Path:
    from benchmark.cohort.twin import write_twin

    write_twin(folder, cases=1, size=size, seed=0, jobs=1)
    return folder


def _in_a_process(method: str, scratch: Path) -> Cost:
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_measure, args=(method, scratch, queue))
    with children_keep_memory():  # as the suite's jobs do
        process.start()
    process.join()
    outcome = None if queue.empty() else queue.get()
    if isinstance(outcome, Cost):
        return outcome
    raise InputError(f"{method}: cannot be measured: {outcome or f'its process ended with {process.exitcode}'}")


def _measure(method: str, scratch: Path, queue: Any) -> None:
    """Measure one method in this process; puts a `Cost`, or what is wrong, into the queue."""
    from benchmark.cost_meter import CostMeter
    from benchmark.loading import load, quiet_lightning

    quiet_lightning()
    try:
        meter = CostMeter(method, scratch)
        trainer = {"logger": False, "callbacks": [meter], "enable_checkpointing": False, "limit_predict_batches": 1}
        changes = ("--trainer.devices=1", "--trainer.num_nodes=1", f"--predictions.folder={scratch / 'predictions'}")
        cli = load(scratch / "config.yaml", trainer, *changes)
        cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
        queue.put(meter.cost)
    except InputError as error:  # the config is a temporary file, which nobody can correct
        queue.put("; ".join(error.problems).replace(f"{scratch / 'config.yaml'}: ", ""))
