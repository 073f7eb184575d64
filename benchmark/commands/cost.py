"""What a method costs: weights, multiplications, memory and time for one case (``benchmark cost``).

Methods are measured one after the other in one process, on the same case: the network's pass over the prepared case,
and everything from the case's NIfTI files to the written mask. Weights are random; they do not change the cost.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmark.commands.cost_table import RUNS, Cost
from benchmark.commands.in_turn import in_turn
from benchmark.commands.suites import open_suite
from benchmark.machine.precision import slow_precision
from benchmark.suite.config import lacking, method_config, unshown
from benchmark.suite.config_files import merge
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError


def measure_costs(
    methods: Sequence[str] | None,
    *,
    suite: str,
    cohort: Path | None,
    format_name: str | None = None,
    size: int,
    settings: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[pd.DataFrame, list[str]]:
    """Measure methods one after the other.

    Args:
        methods: their names; None takes those of the suite whose requirements are installed.
        suite: suite whose settings the methods take.
        cohort: the first of its training cases is taken; None makes a synthetic one of eight slices.
        format_name: the cohort's format; None takes the suite's, or recognises it.
        size: pixels a side of the synthetic case.
        settings: override all configs. Unless they name a precision, it is the one that the machine is fast in (auto).
        progress: called with (done, all).
        tell: called with a line about what is done, and about each method once it is measured.

    Returns:
        One row per method, see `Cost`, and one line for each that could not be measured.

    Raises:
        InputError: an unknown method, a method that lacks a package, a cohort that cannot be read, or no method could
            be measured.
    """
    read = open_suite(suite)
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
        found = read_cohort(tree, "training", (format_name or read.format) if cohort else None)
        for name, config in list(configs.items()):
            if absent := unshown(config, found):
                line = f"{name}: needs images of {', '.join(absent)}, the case has {', '.join(found.shows)}"
                if methods:
                    raise InputError(f"{line}: give a --cohort that has them")
                print(f"{line}: it is left out", file=sys.stderr)
                del configs[name]
        for name, config in configs.items():
            scratch = scratches[name] = Path(folder) / name
            scratch.mkdir()
            config["data"] = config.get("data", {}) | {
                "cohort": str(tree),
                "format": found.format.name,
                "cases": [case.name for case in found.cases[:1]],
                "cache": str(scratch / "cache"),
            }
            (scratch / "config.yaml").write_text(yaml.safe_dump(config))
        tell(f"measuring {len(configs)} methods, {RUNS + 1} times each")
        with contextlib.closing(in_turn(_measure, scratches)) as measured:
            for done, (name, outcome) in enumerate(measured, start=1):
                if isinstance(outcome, Cost):
                    rows.append(asdict(outcome))
                    tell(f"{name}: {outcome.case_seconds:.2f} s a case")
                else:
                    problems.append(f"{name}: cannot be measured: {outcome}")
                    tell(problems[-1])
                if progress:
                    progress(done, len(configs))
    if not rows:
        raise InputError(problems)
    return pd.DataFrame(rows), problems


def _one_case(folder: Path, size: int) -> Path:
    from benchmark.cohort.twin import write_twin

    write_twin(folder, cases=1, size=size, seed=0, jobs=1)
    return folder


def _measure(scratches: Mapping[str, Path], sender: Connection) -> None:
    """Measure methods in this process; sends a `Cost` or an error for each."""
    from benchmark.commands.cost_meter import measure
    from benchmark.methods.faults import exits_told, place_of, told
    from benchmark.training.loading import quiet_lightning

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the parent, which ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    quiet_lightning()
    for method, scratch in scratches.items():
        try:
            with exits_told():
                cost = measure(method, scratch)
            sender.send(cost)
        except InputError as error:  # the config is a temporary file, which nobody can correct
            sender.send("; ".join(error.problems).replace(f"{scratch / 'config.yaml'}: ", ""))
        except Exception as error:
            if not place_of(error):
                traceback.print_exc()
            sender.send(told(error))
