"""``benchmark run``: a suite from its config to the printed leaderboard."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from benchmark.commands.forecast import forecast, in_words, to_time
from benchmark.commands.progress import counted
from benchmark.commands.run_plan import Plan, Request, check_places, check_request, make_plan, prepare
from benchmark.commands.suites import open_suite, suite_folder
from benchmark.rundir.locks import owner
from benchmark.rundir.names import LOG
from benchmark.suite.overview import Overview
from benchmark.suite.plan import Job
from benchmark.suite.resume import has_begun, is_done

if TYPE_CHECKING:
    from benchmark.suite.ensembles import Ensemble

#: Style of lines that ask for attention.
_NOTE = "yellow"


def run(request: Request, console: Console) -> int:
    """Run a suite: check, plan, report, prepare, launch, finish.

    Returns:
        Exit status: 0 when every job is done, 1 when some failed (the leaderboard then holds the complete methods).

    Raises:
        InputError: nothing can be run.
    """
    suite = open_suite(request.config)
    check_places(request, suite)
    if suite.wandb:
        from benchmark.training.wandb_sink import settle

        if note := settle(os.environ):
            _say(note, console, style=_NOTE)
    root = request.out / suite.name
    launcher, notes = check_request(request, suite, root)
    for note in notes:
        _say(note, console, style=_NOTE)
    with suite_folder(root):
        started = time.monotonic()
        plan = make_plan(request, suite, root, launcher, console)
        report(plan, console)
        prepare(plan, request)
        ready = time.monotonic()
        launch(plan, console)
        spent = {"cohort and preprocessing": ready - started, "jobs": time.monotonic() - ready}
        return finish(plan, spent, console)


def report(plan: Plan, console: Console) -> None:
    """Report which jobs are left out, already done, repeated or waited for."""
    notes = list(plan.left_out)
    notes += [f"{run}: changed after its job, made again: {', '.join(names)}" for run, names in plan.damaged.items()]
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
                f"{job.title}: still running from an earlier call ({who}): waiting for it",
                console,
            )


def launch(plan: Plan, console: Console) -> None:
    """Run the jobs that are not done, and show their progress until all have ended."""
    with Overview(plan.wanted, console, _expected(plan, console)) as overview:
        plan.launcher.run(plan.todo, overview.update)
        overview.update()


def _expected(plan: Plan, console: Console) -> dict[str, float]:
    """Forecast how long the trainings of a large suite will take on this machine; seconds per job by method."""
    new = [job for job in plan.todo if plan.launcher.here and not has_begun(job.run)]
    if not (runs := to_time(new, plan.cohort)):
        return {}
    with counted("timing a step", console, "methods") as progress:
        seconds = forecast(runs, lambda line: _say(line, console, style=_NOTE), progress)
    if seconds:
        trainings = [job for job in new if job.method in seconds]
        _say(in_words(seconds, trainings, plan.launcher.at_a_time(trainings)), console)
    return seconds


def finish(plan: Plan, spent: Mapping[str, float], console: Console) -> int:
    """Report what failed; score, rank and print the methods with all jobs done.

    Methods of the suite that an earlier call finished are on the leaderboard too.

    Args:
        plan: of this call.
        spent: seconds by activity.
        console: where to print.

    Returns:
        See `run`.
    """
    undone = [job for job in plan.jobs if not is_done(job)]
    asked = {job.method for job in plan.wanted}
    failed = [job for job in undone if job.method in asked]
    for job in failed:
        _say(f"failed: {job.title}: {_reason(job, plan)}", console, style="red")
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
    from benchmark.suite.results import leaky_note, write_results
    from leaderboard.report.terminal import print_leaderboard

    suite, folder = plan.suite, plan.leaderboard
    ensembles = _ensembles(plan, jobs, console)
    with counted("scoring", console, "masks", then="ranking, writing the page") as progress:
        table = write_results(jobs, plan.cohort, plan.folds, folder, suite.name, progress, spent, suite.note, ensembles)
    print_leaderboard(table, console)
    for note in filter(None, (leaky_note(plan.folds), suite.note)):
        _say(note, console, style=_NOTE)
    if suite.wandb and os.environ.get("WANDB_MODE") != "disabled":
        from benchmark.training.wandb_sink import log_leaderboard

        _say(f"W&B: logging the leaderboard ({os.environ.get('WANDB_MODE', 'offline')})", console)
        log_leaderboard(suite.name, folder, folder.parent)
    _say(f"Written to {folder} (index.html is the page)", console)


def _ensembles(plan: Plan, jobs: Sequence[Job], console: Console) -> list[Ensemble]:
    """The rows that the suite wants besides those of its methods, made from finished jobs."""
    from benchmark.suite.ensembles import make_ensembles, plan_ensembles

    if not plan.suite.ensembles:
        return []
    ensembles, remarks = plan_ensembles(jobs, plan.root.resolve(), plan.suite.ensembles)
    for remark in remarks:
        _say(remark, console, style=_NOTE)
    with counted("averaging", console, "ensembles") as progress:
        make_ensembles(ensembles, plan.cohort.cases, plan.folds, progress)
    return ensembles


def _say(line: str, console: Console, style: str | None = None) -> None:
    """Print a line as it is, whatever its length."""
    console.print(line, style=style, soft_wrap=True, highlight=False, markup=False)
