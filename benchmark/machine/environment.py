"""The environment of the processes that we start."""

from __future__ import annotations

from collections.abc import Mapping


def without_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Lightning starts its processes itself, inside a SLURM allocation too."""
    return {name: value for name, value in environment.items() if not name.startswith("SLURM_")}


def installing(extras: str) -> str:
    """The command that installs this project with further dependencies; no index has it, a clone does."""
    return f"pip install -c constraints.txt -e '.[{extras}]'"
