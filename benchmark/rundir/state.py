"""The state of a job in its run directory: ``state.json``, written atomically."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from benchmark.rundir.names import CONFIG, STATE
from leaderboard.io.images import write_text
from leaderboard.io.plain_yaml import load_yaml

Status = Literal["pending", "running", "done", "failed"]


@dataclass(frozen=True)
class State:
    """State of a job."""

    status: Status = "pending"  #: of the job
    phase: str = ""  #: while running: ``starting``, ``training``, ``fitting`` (a rule, case by case) or ``predicting``
    done: int = 0  #: finished epochs or cases of the phase
    total: int = 0  #: of how many
    step: int = 0  #: in training, finished steps of the current epoch
    steps: int = 0  #: of how many
    reason: str = ""  #: for a failure, one line
    inputs: str = ""  #: digest of everything that decides the job's result (see `benchmark.suite.plan.Job.inputs`)

    @property
    def share(self) -> float:
        """How much of the phase is done, 0 to 1."""
        return (self.done + self.step / max(self.steps, 1)) / self.total if self.total else 0.0


_TYPES = {field.name: type(field.default) for field in fields(State)}


def read_state(run: Path) -> State:
    """The state on disk; a missing or damaged file counts as a pending job with its config.yaml's inputs."""
    try:
        content: dict[str, Any] = json.loads((run / STATE).read_text(encoding="utf-8"))
        if all(type(value) is _TYPES[name] for name, value in content.items()):
            return State(**content)
    except (OSError, ValueError, TypeError, RecursionError, AttributeError, KeyError):
        pass
    return State(inputs=_inputs(run))


def _inputs(run: Path) -> str:
    try:
        return str(load_yaml(run / CONFIG)["suite"]["inputs"])
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return ""


def write_state(run: Path, state: State) -> None:
    """Replace the state on disk."""
    write_text(run / STATE, json.dumps(asdict(state), indent=1) + "\n", durable=True)


def update_state(run: Path, **changes: Any) -> State:
    """Change some fields of the state on disk."""
    state = replace(read_state(run), **changes)
    write_state(run, state)
    return state
