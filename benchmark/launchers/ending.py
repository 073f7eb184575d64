"""How a job's process ended, for jobs that could not say it themselves."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from benchmark.rundir.names import LOG
from benchmark.rundir.state import read_state, update_state
from leaderboard.errors import InputError

#: Lines of a job's log that are reported with its failure.
LOG_LINES = 3


def note_end(run: Path, how: str) -> None:
    """Make sure that a job which has ended is done or failed, with a reason.

    Args:
        run: its run directory.
        how: how it ended, as ``ended with status 3``.
    """
    state = read_state(run)
    if state.status in ("done", "failed"):
        return
    reason = f"its process {how}: see {run / LOG}"
    if tail := log_tail(run):
        reason += f", which ends: {tail}"
    try:
        update_state(run, status="failed", phase="", reason=reason)
    except InputError as error:  # a full disk must not end the suite: the other jobs may write elsewhere
        print("; ".join([*error.problems, reason]), file=sys.stderr)


def describe(status: int) -> str:
    """A process's exit status in words; negative is a signal."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def log_tail(run: Path) -> str:
    """The last lines of a job's log that are not blank, joined by `` | ``."""
    try:
        lines = (run / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join([line.strip() for line in lines if line.strip()][-LOG_LINES:])
