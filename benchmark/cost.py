"""What a method costs: weights, multiplications, memory and time for one case (``benchmark cost``).

Methods are measured one after the other in one process, on one synthetic case: the network's pass over the prepared
case, and everything from the case's NIfTI files to the written mask. Weights are random; they do not change the cost.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
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
        peak_memory_mb: of the process while it measured this method, or of its GPU where it has one.
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
) -> tuple[pd.DataFrame, list[str]]:
    """Measure methods one after the other.

    Args:
        methods: their names; None takes those of the suite that have all they need.
        suite: suite whose settings the methods take.
        cohort: the first of its training cases is taken; None makes a synthetic one of eight slices.
        size: pixels a side of the synthetic case.
        settings: config over everything else. The precision is what the machine is fast in (auto) unless it is here.
        progress: called with (done, all).

    Returns:
        A row a method, see `Cost`, and a line for each that could not be measured.

    Raises:
        InputError: an unknown method, a method that lacks a package, a cohort that cannot be read, or no method could
            be measured.
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
    rows, problems = [], []
    scratches = {}
    with tempfile.TemporaryDirectory() as folder:
        tree = (cohort or _one_case(Path(folder) / "cohort", size)).resolve()
        for name, config in configs.items():
            scratch = scratches[name] = Path(folder) / name
            scratch.mkdir()
            config["data"] = config.get("data", {}) | {
                "cohort": str(tree),
                "cache": str(scratch / "cache"),
            }
            (scratch / "config.yaml").write_text(yaml.safe_dump(config))
        for done, (name, outcome) in enumerate(_measured(scratches), start=1):
            if isinstance(outcome, Cost):
                rows.append(asdict(outcome))
            else:
                problems.append(f"{name}: cannot be measured: {outcome}")
            if progress:
                progress(done, len(configs))
    if not rows:
        raise InputError(problems)
    return pd.DataFrame(rows), problems


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


def _measured(scratches: Mapping[str, Path]) -> Iterator[tuple[str, Cost | str]]:
    """Each method with its cost, or with what is wrong: one after the other in a process that imports once.

    Where that process dies, another goes on with the next method.
    """
    context = multiprocessing.get_context("spawn")
    waiting = dict(scratches)
    while waiting:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_measure, args=(dict(waiting), sender), daemon=True)
        with children_keep_memory():  # as the suite's jobs do
            process.start()
        sender.close()
        try:
            for method in list(waiting):
                del waiting[method]
                try:
                    yield method, receiver.recv()
                except EOFError:
                    process.join()
                    yield method, f"its process ended with {process.exitcode}"
                    break
        finally:
            receiver.close()
            process.terminate()
            process.join()


def _measure(scratches: Mapping[str, Path], sender: Connection) -> None:
    """Measure methods in this process; sends a `Cost`, or what is wrong, for each."""
    from benchmark.cost_meter import measure
    from benchmark.loading import quiet_lightning

    quiet_lightning()
    for method, scratch in scratches.items():
        try:
            sender.send(measure(method, scratch))
        except InputError as error:  # the config is a temporary file, which nobody can correct
            sender.send("; ".join(error.problems).replace(f"{scratch / 'config.yaml'}: ", ""))
        except Exception as error:
            traceback.print_exc()
            sender.send(f"{type(error).__name__}: {error}")
