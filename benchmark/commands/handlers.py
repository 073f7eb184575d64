"""What each command of ``benchmark`` does with its arguments: it calls what does the work and says what came of it.

Heavy imports happen within, so that other commands and help start at once. A handler returns the exit status.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leaderboard.errors import InputError


def _require_training(command: str) -> None:
    _require(command, "torch", "pytorch_lightning", "torchio")


def _require(command: str, *modules: str) -> None:
    """Say what to install where the extra `train` is missing."""
    from importlib.util import find_spec

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        from benchmark.machine.environment import installing

        raise InputError(f"{command}: needs {', '.join(missing)}: in the project's clone, {installing('train')}")


def _compute_here(command: str) -> None:
    """What a command needs that computes networks in this process or in its children, and not in jobs of a launcher."""
    _require_training(command)
    from benchmark.machine.memory import keep_memory

    keep_memory()


def _console() -> Any:
    from rich.console import Console

    return Console(markup=False)  # what users name (x[/b]) is no markup; what has a style is a Text


def lightning_command(options: argparse.Namespace) -> int:
    """``benchmark fit`` and ``predict``."""
    _compute_here(f"benchmark {options.arguments[0]}")
    from benchmark.training.by_hand import main as lightning

    return lightning(options.arguments)


def run_command(options: argparse.Namespace) -> int:
    """``benchmark run``."""
    _require_training("benchmark run")
    from benchmark.commands.run import Request, run
    from benchmark.suite.config_files import merge

    request = Request(
        config=options.config,
        cohort=options.cohort,
        format=options.format,
        out=options.out,
        methods=options.methods,
        folds=options.folds,
        seeds=options.seeds,
        settings=merge(*options.settings),
        allow_leaky_folds=options.allow_leaky_folds,
        restart_changed=options.restart_changed,
        launcher=options.launcher,
    )
    return run(request, _console())


def cancel_command(options: argparse.Namespace) -> int:
    """``benchmark cancel``."""
    from benchmark.commands.cancel import cancel

    ended = cancel(options.config, options.out, options.methods, options.folds, options.seeds)
    for run in ended:
        print(f"ended: {run}")
    print(f"{len(ended)} jobs ended" if ended else "none of the suite's jobs is queued or runs elsewhere")
    return 0


def twin_command(options: argparse.Namespace) -> int:
    """``benchmark twin``."""
    from benchmark.cohort.twin import write_twin
    from benchmark.commands.progress import counted

    with counted("twin", _console()) as progress:
        write_twin(
            options.out,
            cases=options.cases,
            size=options.size,
            seed=options.seed,
            test_cases=options.test_cases,
            jobs=options.jobs,
            progress=progress,
            format_name=options.format,
        )
    return 0


def check_command(options: argparse.Namespace) -> int:
    """``benchmark check``."""
    return _check_folder(options.cohort, options.partition, options.format)


def _check_folder(cohort: Path, partition: Any = None, format_name: str | None = None) -> int:
    from benchmark.cohort.check import check_cohort, print_report
    from benchmark.commands.progress import counted

    console = _console()
    with counted("checked", console) as progress:
        report = check_cohort(cohort, partition, progress, format_name)
    print_report(report, console)
    return report.exit_status


def fetch_command(options: argparse.Namespace) -> int:
    """``benchmark fetch``: the release, then its check."""
    _require("benchmark fetch", "pooch")
    from benchmark.commands.fetch import fetch

    def agree() -> bool:
        if options.yes:
            return True
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise InputError(f"{options.release}: nobody can be asked here: give --yes to fetch it under this licence")
        try:
            return input("fetch it? [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            return False

    cohort = fetch(options.release, options.folder, agree, _console())
    return _check_folder(cohort, format_name=options.release)


def predict_cohort_command(options: argparse.Namespace) -> int:
    """``benchmark predict-cohort``."""
    from benchmark.commands.first_checks import require_file_name, require_finished, require_free
    from leaderboard.cohort.formats import find_format

    require_file_name(options.name)
    require_finished(options.run)
    find_format(options.cohort, options.format)
    require_free(options.out)
    _compute_here("benchmark predict-cohort")
    from benchmark.commands.predict_cohort import predict_cohort

    predicted = predict_cohort(
        options.run,
        options.cohort,
        options.out,
        options.partition,
        options.name,
        format_name=options.format,
        probabilities=options.probabilities,
        trust=options.trust,
    )
    print(f"{len(predicted.cases)} predictions written to {options.out}")
    if count := len(predicted.trained_on):
        print(
            f"note: {options.run} was trained on {count} of these cases: their scores would say nothing",
            file=sys.stderr,
        )
    return 0


def verify_command(options: argparse.Namespace) -> int:
    """``benchmark verify``; 1 if a file differs."""
    from benchmark.commands.first_checks import require_finished

    require_finished(options.run, " (published tables are for leaderboard verify)")
    _compute_here("benchmark verify")
    from benchmark.commands.verify import verify

    verdict = verify(options.run, retrain=options.retrain, trust=options.trust)
    for name in verdict.different:
        remedy = ": it was damaged, benchmark run makes it again" if name in verdict.damaged else ""
        print(f"{options.run / name}: differs{remedy}", file=sys.stderr)
    for remark in verdict.remarks:
        print(f"note: {remark}", file=sys.stderr)
    how = "training" if options.retrain else "predicting"
    print(f"{verdict.compared - len(verdict.different)} of {verdict.compared} files are the same after {how} again")
    return 1 if verdict.different else 0


def sanity_command(options: argparse.Namespace) -> int:
    """``benchmark sanity``; 1 if a check has not passed."""
    if options.epochs < 1 or options.minutes <= 0:  # before torch is imported
        raise InputError("--epochs and --minutes must be greater than 0")
    if options.steps == 1 or options.steps < 0:
        raise InputError("--steps must be 0, or 2 at least")
    named = _cohort_format(options)
    _compute_here("benchmark sanity")
    from benchmark.commands.progress import counted
    from benchmark.commands.sanity import Check, check_method
    from benchmark.commands.steadiness import check_steadiness, write_suite_twin
    from benchmark.suite.config_files import merge

    console = _console()
    passed = True

    def tell(checks: Sequence[Check]) -> None:
        nonlocal passed
        for check in checks:
            console.print(f"{check.outcome}  {check.name}: {check.seen}", highlight=False, soft_wrap=True)
            if check.advice:
                console.print(f"        {check.advice}", highlight=False, soft_wrap=True)
        passed = passed and all(check.passed for check in checks)

    cohort, settings = options.cohort, merge(*options.settings)
    with counted("learning by heart", console, "epochs") as progress:
        checks = check_method(
            options.method,
            suite=options.config,
            cohort=cohort,
            format_name=named,
            settings=settings,
            epochs=options.epochs,
            minutes=options.minutes,
            progress=progress,
        )
    tell(checks)
    if options.steps:
        with tempfile.TemporaryDirectory() as folder:
            if cohort is None:
                cohort = Path(folder)
                with counted("twin", console) as progress:
                    write_suite_twin(options.config, cohort, progress)
            with counted("the real recipe", console, "steps") as progress:
                check = check_steadiness(
                    options.method,
                    cohort,
                    suite=options.config,
                    format_name=named,
                    settings=settings,
                    steps=options.steps,
                    progress=progress,
                )
        tell([check])
    return 0 if passed else 1


def _cohort_format(options: argparse.Namespace) -> str | None:
    """The format of the cohort that is given, if a name is; refuses an unknown suite, method or cohort, and a rule."""
    from benchmark.commands.first_checks import require_weights
    from benchmark.commands.suites import open_suite
    from benchmark.suite.config import method_config
    from leaderboard.cohort.formats import find_format

    read = open_suite(options.config)
    require_weights(options.method, method_config(read, options.method, {}))
    if options.cohort is None:
        return None
    named: str | None = options.format or read.format
    find_format(options.cohort, named)
    return named


def cost_command(options: argparse.Namespace) -> int:
    """``benchmark cost``."""
    _compute_here("benchmark cost")
    from benchmark.commands.cost import measure_costs
    from benchmark.commands.cost_table import print_costs
    from benchmark.commands.progress import counted
    from benchmark.suite.config_files import merge
    from leaderboard.io.images import write_text
    from leaderboard.outputs import prepare_output

    if options.out:
        prepare_output(options.out, begins="method,parameters,")
    console = _console()
    with counted("measured", console, "methods") as progress:
        table, problems = measure_costs(
            options.methods,
            suite=options.config,
            cohort=options.cohort,
            format_name=options.format,
            size=options.size,
            settings=merge(*options.settings),
            progress=progress,
            tell=lambda line: console.print(line, highlight=False, soft_wrap=True),
        )
    print_costs(table, console)
    if options.out:
        write_text(options.out, table.to_csv(index=False, lineterminator="\n"))
    if problems:
        raise InputError(problems)
    return 0


def export_nnunet_command(options: argparse.Namespace) -> int:
    """``benchmark export-nnunet``."""
    from benchmark.cohort.fold_json import read_folds
    from benchmark.commands.export_nnunet import export_nnunet
    from benchmark.commands.progress import counted
    from leaderboard.cohort.formats import read_cohort

    if not 1 <= options.number <= 999:
        raise InputError(f"--number {options.number}: nnU-Net's dataset ids go from 1 to 999")
    cohort = read_cohort(options.cohort, "training", options.format)
    folds = read_folds(options.folds, cohort, allow_leaky=options.allow_leaky_folds)
    if absent := len(folds.fold_of.keys() - {case.name for case in cohort.cases}):
        print(f"note: {options.folds} names {absent} cases that {options.cohort} does not hold", file=sys.stderr)
    with counted("exported", _console()) as progress:
        written = export_nnunet(cohort, folds, options.out, options.number, progress)
    print(f"Written to {written.raw / written.name}; train with")
    print(f"  export nnUNet_raw={written.raw.resolve()} nnUNet_preprocessed={written.preprocessed.resolve()}")
    print("  export nnUNet_results=...")
    print(f"  nnUNetv2_plan_and_preprocess -d {options.number}; nnUNetv2_train {options.number} 2d FOLD")
    return 0


def folds_command(options: argparse.Namespace) -> int:
    """``benchmark folds``."""
    from benchmark.commands.folds import write_folds
    from leaderboard.cohort.formats import read_cohort

    folds = write_folds(
        read_cohort(options.cohort, "training", options.format),
        options.out,
        source=options.folds,
        number=5 if options.number is None else options.number,
        seed=options.seed,
        by_centre=options.by == "centre",
        allow_leaky=options.allow_leaky_folds,
    )
    print(f"{len(folds.fold_of)} cases in {len(set(folds.fold_of.values()))} folds written to {options.out}")
    return 0


def job_command(options: argparse.Namespace) -> int:
    """``benchmark job``."""
    _require_training("benchmark job")
    started = time.monotonic()  # before torch is imported, which is the longest part of starting
    gc.disable()  # what is imported stays: to look for garbage in it, again and again, takes a second
    try:
        from benchmark.training.job import main as job
    finally:
        gc.freeze()
        gc.enable()
    return job(options.runs, started)
