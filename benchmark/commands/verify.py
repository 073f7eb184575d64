"""``benchmark verify``: predict a finished job's cases again, or train it again, and compare the bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmark.commands.first_checks import require_finished
from benchmark.pipeline.cache import changed_cases
from benchmark.pipeline.datamodule import StrokeData
from benchmark.rundir.digests import damaged_results, is_inside, map_digests, read_provenance, remembered_digest
from benchmark.rundir.locks import hold
from benchmark.rundir.names import CONFIG, LAST, METRICS, PREDICTIONS, is_plain_name, result_folders
from benchmark.rundir.trust import received_config, require_plain_files
from benchmark.suite.config_files import read_yaml
from benchmark.training.checkpoints import damage_of
from benchmark.training.loading import load, quiet_lightning, use_threads
from benchmark.training.provenance import git_state, hardware, versions
from leaderboard.errors import InputError

#: Prefix of the folder, in a run directory, for what is made again.
PREFIX = ".verify-"


@dataclass(frozen=True)
class Verdict:
    """What a verification found."""

    compared: int  #: how many files were compared
    different: list[str]  #: files of the run that came out different, relative to it
    damaged: list[str]  #: files of the run that have changed since its job ended, relative to it
    remarks: list[str]  #: what else has changed since the job ran and may explain a difference


def verify(run: Path, *, retrain: bool = False, trust: bool = False) -> Verdict:
    """Predict the held-out cases of a finished job again and compare the files to the byte.

    Args:
        run: run directory of a finished job.
        retrain: first train again from the beginning; the training's metrics are then compared as well.
        trust: load whatever its config names; else what `require_harmless` allows.

    Raises:
        InputError: `run` is not a finished job, a process works in it, or its cohort or folds have changed.
    """
    require_finished(run)
    if not trust:
        require_plain_files(run)
    if damage := damage_of(run / LAST):
        raise InputError(f"{run}: its {LAST} {damage}: benchmark run makes it again")

    def busy(owner: str) -> None:
        raise InputError(f"{run}: {owner} works in it: wait for its end")

    with tempfile.TemporaryDirectory() as own:
        path, config = run / CONFIG, read_yaml(run / CONFIG)
        if not trust:
            path, config = received_config(run, config, Path(own))
        with hold(run, busy):
            for left in run.glob(f"{PREFIX}*"):  # left by a verification that was killed
                shutil.rmtree(left)
            return _verify(run, path, config, retrain)


def _verify(run: Path, path: Path, config: dict[str, Any], retrain: bool) -> Verdict:
    """`verify` once the run directory is locked; `path` is the file with `config`."""
    quiet_lightning()
    provenance = read_provenance(run, "outputs", "ablations", "packages", "hardware", "git", "folds", "cohort.cases")
    use_threads(config)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=run) as folder:
        again = Path(folder)
        mapped = bool(map_digests(provenance))
        # One process: Lightning would start others with this command line.
        changes = (
            f"--predictions.folder={again / PREDICTIONS}", f"--predictions.probabilities={str(mapped).lower()}",
            f"--trainer.default_root_dir={again}",
            "--trainer.devices=1", "--trainer.num_nodes=1",
        )  # fmt: skip
        cli = load(path, {"logger": False}, *changes, named=run / CONFIG)
        _check_inputs(run, cli.datamodule, provenance)
        if retrain:
            _train_again(run, config, again, mapped)
        else:
            cli.trainer.predict(
                cli.model, datamodule=cli.datamodule, return_predictions=False, ckpt_path=run / LAST, weights_only=True
            )
        outputs = [name for name in provenance["outputs"] if is_inside(name)]
        names = {Path(name) for name in outputs if name.endswith(".nii.gz")}  # lost ones too
        rows = list(filter(is_plain_name, provenance["ablations"]))
        for root in (run, again):
            for predicted in result_folders(root, rows, mapped):
                names |= {path.relative_to(root) for path in predicted.glob("*")}
        if retrain and METRICS in outputs:
            names.add(Path(METRICS))
        different = sorted(
            str(name)
            for name in names
            if not (mine := remembered_digest(run / name)) or remembered_digest(again / name) != mine
        )
    damaged = damaged_results(run)
    return Verdict(len(names), different, damaged, _remarks(damaged, provenance))


def _check_inputs(run: Path, data: StrokeData, provenance: dict[str, Any]) -> None:
    """Require the cohort and the folds that the job had; anything else is another experiment."""
    problems = [
        f"{data.cohort_path}: {name} is not what {run} was made with: restore it"
        for name in changed_cases(data.case_digests, provenance)
    ]
    if (data.fold_file.digest if data.fold_file else None) != provenance["folds"]:
        problems.append(f"{data.folds_path}: is not what {run} was made with: restore it")
    if problems:
        raise InputError(problems)


def _train_again(run: Path, config: dict[str, Any], again: Path, mapped: bool) -> None:
    """Run the same job in another folder, in a separate process and without W&B; with probability maps or without."""
    changed = config | {
        "predictions": {"folder": str(again / PREDICTIONS), "probabilities": mapped},
        "suite": config.get("suite", {}) | {"wandb": False},
    }
    (again / CONFIG).write_text(yaml.safe_dump(changed, sort_keys=False))
    result = subprocess.run(
        [sys.executable, "-m", "benchmark", "job", str(again)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{run}: training again failed: {last.replace(str(again), str(run))}")


def _remarks(damaged: list[str], provenance: dict[str, Any]) -> list[str]:
    """What has changed since the job ran: versions, the commit, the hardware, files."""
    now = {**versions(), **_flat(hardware()), "commit": (git_state() or {}).get("commit")}
    before = {**provenance["packages"], **_flat(provenance["hardware"])}
    before["commit"] = (provenance["git"] or {}).get("commit")
    changed = [
        f"{name} was {then}, is {now.get(name, 'not installed')}"
        for name, then in before.items()
        if now.get(name) != then
    ]
    files = [name for name in damaged if not name.endswith(".nii.gz")]
    return changed + [f"{name} has changed since the job ended" for name in files]


def _flat(hardware: dict[str, Any]) -> dict[str, str]:
    """Hardware as text, without the host's name, which does not matter."""
    return {name: str(value) for name, value in hardware.items() if name != "host"}
