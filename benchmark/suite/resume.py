"""Which jobs of a suite are done, which were made with other inputs, and which are still to do."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark.rundir.digests import damaged_results, read_provenance
from benchmark.rundir.locks import owner
from benchmark.rundir.names import CHECKPOINTS, CONFIG, PROVENANCE, fold_folder, seed_folders
from benchmark.rundir.state import State, write_state
from benchmark.suite.config_files import read_yaml
from benchmark.suite.plan import Job, decisive
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError, listed
from leaderboard.io.images import write_text


def prepare_runs(jobs: Sequence[Job], *, restart_changed: bool = False, underway: Collection[Path] = ()) -> list[Job]:
    """Write each job's config and return the jobs that are not done.

    Args:
        jobs: of the suite.
        restart_changed: repeat those that were made with other inputs.
        underway: run directories of jobs that are queued or running somewhere. They are left as they are, like those
            in which a process works.

    Raises:
        InputError: a run directory holds work on other inputs, and `restart_changed` is not set or a process still
            works there; or trainings of another number of seeds are in its place. All are listed.
    """
    if misplaced := list(dict.fromkeys(filter(None, map(_other_layout, jobs)))):
        raise InputError(misplaced)
    owners = {job.run: owner(job.run) for job in jobs}
    changed = [
        job
        for job in jobs
        if job.state.inputs != job.inputs and (has_begun(job.run) or owners[job.run] or job.run in underway)
    ]
    if queued := [job for job in changed if job.run in underway]:
        raise InputError(f"{job.run}: is under way with other inputs: benchmark cancel ends it" for job in queued)
    if busy := [job.run for job in changed if owners[job.run]]:
        raise InputError(f"{run}: another process works here ({owners[run]}): wait for it or end it" for run in busy)
    if changed and not restart_changed:
        raise InputError(
            f"{job.run}: {_change(job)}; else give another --out, or --restart-changed to do it again"
            for job in changed
        )
    for job in changed:
        shutil.rmtree(job.run)
    todo = [job for job in jobs if not is_done(job)]
    for job in [job for job in todo if job.run not in underway and not owners[job.run]]:
        job.run.mkdir(parents=True, exist_ok=True)
        write_text(job.run / CONFIG, yaml.safe_dump(job.config, sort_keys=False))
        write_state(job.run, State(inputs=job.inputs))
    return todo


def unusable_runs(jobs: Sequence[Job]) -> dict[Path, str]:
    """Run directories that cannot be made or written to, with the reason, so that the other jobs can run.

    No directory is made.
    """
    found = {}
    for job in jobs:
        try:
            place = next(folder for folder in (job.run, *job.run.parents) if folder.exists())
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            found[job.run] = (
                f"{job.run}: cannot be written to ({error.strerror or error}): check the folder, or give another --out"
            )
    return found


def _other_layout(job: Job) -> str:
    """What is said of a fold's folder that holds a training of one seed where the suite has several, or the reverse."""
    fold = fold_folder(job.run)
    if job.seed is not None and (fold / CONFIG).exists():
        found = "holds a training from when the suite had one seed"
    elif job.seed is None and (found_in := seed_folders(fold)):
        found = f"holds trainings from when the suite had several seeds ({listed([run.name for run in found_in])})"
    else:
        return ""
    return f"{fold}: {found}, and is left as it is: give another --out, or give the suite another name"


def _change(job: Job) -> str:
    """What has changed since the job was planned, and the remedy."""
    try:
        before = read_yaml(job.run / CONFIG)
    except InputError:
        return "its config.yaml is missing or damaged"
    if not job.state.inputs or any(not isinstance(before.get(name), dict) for name in ("data", "suite")):
        return "its config.yaml or state.json is damaged"
    notes, own = before["suite"], job.config["suite"]
    changes = [
        f"{key} {_told(was)} (now {_told(now)})"
        for key, was, now in differences(decisive(before), decisive(job.config))
    ]
    if notes.get("threads") != own["threads"]:
        changes.append(f"threads {_told(notes.get('threads'))} (now {_told(own['threads'])})")
    cohort = job.config["data"]["cohort"]
    if notes.get("cohort_sha256") == own["cohort_sha256"]:
        if notes.get("folds_sha256") != own["folds_sha256"]:
            changes.append("other folds")
    elif before["data"].get("cohort") != cohort:
        changes.append(f"the cohort {before['data'].get('cohort')} (now {cohort})")
    else:
        names = _changed_cases(job)
        cases = f" ({listed(names)})" if names else ""
        return f"{cohort} has changed{cases}: restore it (a suite's own twin is written again once deleted)"
    return f"was made with {', '.join(changes) or 'other inputs'}: change it back"


def _told(value: Any) -> str:
    return "unset" if value is None else str(value)


def _changed_cases(job: Job) -> list[str]:
    """Cases of the cohort that have changed since a finished job read them; empty if it did not record them."""
    from benchmark.pipeline.cache import case_digest, changed_cases

    try:
        provenance = read_provenance(job.run)
    except InputError:
        return []
    data = job.config["data"]
    cohort = read_cohort(Path(data["cohort"]), "training", data["format"])
    digests = {case.name: case_digest(case, cohort.images, Path(data["cache"])) for case in cohort.cases}
    return changed_cases(digests, provenance)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> list[tuple[str, Any, Any]]:
    """Keys, with dots between levels, whose values differ, with both values; None stands for an absent one."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*before, *now]):
        was, is_now = before.get(key), now.get(key)
        if isinstance(was, Mapping) and isinstance(is_now, Mapping):
            found += differences(was, is_now, f"{above}{key}.")
        elif _as_json(was) != _as_json(is_now):
            found.append((f"{above}{key}", was, is_now))
    return found


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def has_begun(run: Path) -> bool:
    """Whether a run directory holds work: a checkpoint or a result."""
    return (run / PROVENANCE).exists() or any((run / CHECKPOINTS).glob("*.ckpt"))


def is_done(job: Job) -> bool:
    """Whether the job has finished with these inputs: it writes its provenance last."""
    state = job.state
    return state.status == "done" and state.inputs == job.inputs and not damaged_results(job.run)
