"""``benchmark run``: a suite from its config to the printed leaderboard."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from rich.console import Console

from benchmark.commands.progress import counted
from benchmark.commands.run_plan import Plan, Request, make_plan
from benchmark.commands.suites import open_suite
from benchmark.machine.precision import slow_precision
from benchmark.rundir.locks import hold, owner
from benchmark.rundir.names import LOG
from benchmark.suite.overview import Overview
from benchmark.suite.plan import Job
from benchmark.suite.resume import is_done
from leaderboard.errors import InputError

#: How a line looks that asks for attention.
_NOTE = "yellow"


def run(request: Request, console: Console) -> int:
    """Run a suite: plan, report, launch, finish.

    Returns:
        Exit status: 0 when every job is done, 1 when some failed (the leaderboard then holds the complete methods).

    Raises:
        InputError: nothing can be run.
    """
    suite = open_suite(request.config)
    if suite.wandb:
        from benchmark.training.wandb_sink import settle

        if note := settle(os.environ):
            _say(note, console, style=_NOTE)
    root = request.out / suite.name
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{root}: cannot be created ({error.strerror or error}): give another --out") from None

    def busy(owner: str) -> None:
        raise InputError(f"{root}: another benchmark run works here ({owner}): wait for it, or give another --out")

    with hold(root, busy):
        started = time.monotonic()
        plan = make_plan(request, suite, root, console)
        report(plan, console)
        ready = time.monotonic()
        launch(plan, console)
        spent = {"cohort and preprocessing": ready - started, "jobs": time.monotonic() - ready}
        return finish(plan, spent, console)


def report(plan: Plan, console: Console) -> None:
    """Say what is left out, done already, done again or waited for."""
    notes = list(plan.left_out)
    if plan.launcher.here:
        notes += sorted({slow_precision(job.config) for job in plan.wanted} - {""})
    notes += [f"{run}: not as its job left it, done again: {', '.join(names)}" for run, names in plan.damaged.items()]
    for note in notes:
        _say(note, console, style=_NOTE)
    count = len(plan.wanted)
    if done := count - len(plan.todo) - len(plan.unusable):
        console.print(f"{done} of {count} jobs are done already")
    if plan.queued:
        console.print(f"{len(plan.queued)} of {count} jobs are under way from an earlier call")
    for job in plan.todo:
        if job.run not in plan.queued and (who := owner(job.run)):
            _say(
                f"{job.method} fold {job.fold}: an earlier call's process works on it ({who}): its end is waited for",
                console,
            )


def launch(plan: Plan, console: Console) -> None:
    """Do what is to do, and show how it stands until every job has ended."""
    with Overview(plan.wanted, console) as overview:
        plan.launcher.run(plan.todo, overview.update)
        overview.update()


def finish(plan: Plan, spent: Mapping[str, float], console: Console) -> int:
    """Say what failed; score, rank and print the methods whose every job is done.

    Methods of the suite that an earlier call finished stand on the leaderboard too.

    Args:
        plan: what was to be done.
        spent: seconds by what they were spent on.
        console: where to print.

    Returns:
        See `run`.
    """
    undone = [job for job in plan.jobs if not is_done(job)]
    asked = {job.method for job in plan.wanted}
    failed = [job for job in undone if job.method in asked]
    for job in failed:
        _say(f"failed: {job.method} fold {job.fold}: {_reason(job, plan)}", console, style="red")
    incomplete = {job.method for job in undone}
    complete = [job for job in plan.jobs if job.method not in incomplete]
    if complete:
        _score(plan, complete, spent, console)
    if others := list(dict.fromkeys(job.method for job in complete if job.method not in asked)):
        _say(f"Besides what was asked for, the table holds what earlier calls finished: {', '.join(others)}", console)
    for line in plan.left_out:
        _say(line, console, style=_NOTE)
    return 1 if failed else 0


def _reason(job: Job, plan: Plan) -> str:
    reason = plan.unusable.get(job.run) or job.state.reason or "its results are not whole: run the same command again"
    return reason if LOG in reason else f"{reason} (log: {job.run / LOG})"


def _score(plan: Plan, jobs: Sequence[Job], spent: Mapping[str, float], console: Console) -> None:
    """Score, rank and print finished jobs; then tell W&B."""
    from benchmark.suite.results import write_results
    from leaderboard.report.terminal import print_leaderboard

    suite, folder = plan.suite, plan.leaderboard
    with counted("scoring", console) as progress:
        table = write_results(jobs, plan.cohort, plan.folds, folder, suite.name, progress, spent)
    print_leaderboard(table, console)
    console.print(f"Written to {folder} (index.html is the page)", soft_wrap=True, highlight=False, markup=False)
    if suite.wandb:
        from benchmark.training.wandb_sink import log_leaderboard

        log_leaderboard(suite.name, folder, folder.parent)


def _say(line: str, console: Console, style: str | None = None) -> None:
    """A line as it is, of any length."""
    console.print(line, style=style, soft_wrap=True, highlight=False, markup=False)
