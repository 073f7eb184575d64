"""Is a finished job what it says it is? Predict again, or train again, and compare the bytes (``benchmark verify``)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmark.checkpoints import is_loadable
from benchmark.cohort.folds import read_folds
from benchmark.configs import read_yaml
from benchmark.job import load, quiet_lightning, use_threads
from benchmark.outputs import CHECKPOINT, PROVENANCE, read_provenance
from benchmark.pipeline.cache import build_cache, case_digest
from benchmark.provenance import versions
from benchmark.rows import row_folder
from leaderboard.cohort import read_cohort
from leaderboard.errors import InputError


@dataclass(frozen=True)
class Verdict:
    """What a verification found.

    Attributes:
        compared: how many files were compared.
        different: those of the run that came out otherwise, relative to it.
        remarks: what is not as it was when the job ran, and may explain a difference.
    """

    compared: int
    different: list[str]
    remarks: list[str]


def verify(run: Path, *, retrain: bool = False) -> Verdict:
    """Predict the held-out cases of a finished job again and compare the files to the byte.

    Args:
        run: run directory of a finished job.
        retrain: train again from the beginning first; then the training's metrics are compared as well.

    Raises:
        InputError: `run` is no finished job, or its cohort or folds are not what they were.
    """
    if not (run / "config.yaml").is_file() or not (run / PROVENANCE).is_file() or not is_loadable(run / CHECKPOINT):
        raise InputError(f"{run}: holds no finished job (config.yaml, {CHECKPOINT}): give .../<method>/fold<k>")
    quiet_lightning()
    config, provenance = read_yaml(run / "config.yaml"), read_provenance(run)
    _check_inputs(run, config, provenance)
    rows = ("", *provenance["ablations"])
    with tempfile.TemporaryDirectory(prefix=".verify-", dir=run) as folder:
        again = Path(folder)
        if retrain:
            _train_again(config, again)
        else:
            changes = (f"--predictions.folder={again / 'predictions'}", f"--trainer.default_root_dir={again}")
            use_threads(config)
            cli = load(run / "config.yaml", {"logger": False}, *changes)
            checkpoint = run / CHECKPOINT
            cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False, ckpt_path=checkpoint)
        pairs = {
            path.relative_to(run): row_folder(again / "predictions", row) / path.name
            for row in rows
            for path in sorted(row_folder(run / "predictions", row).iterdir())
        }
        if retrain and (run / "metrics.csv").exists():
            pairs[Path("metrics.csv")] = again / "metrics.csv"
        different = [
            str(name) for name, other in pairs.items()
            if not other.is_file() or other.read_bytes() != (run / name).read_bytes()
        ]  # fmt: skip
    return Verdict(len(pairs), different, _remarks(provenance))


def _check_inputs(run: Path, config: dict[str, Any], provenance: dict[str, Any]) -> None:
    """The cohort and the folds must be those that the job had; anything else is not the same experiment."""
    data = config["data"]
    cohort = read_cohort(Path(data["cohort"]), provenance["cohort"]["partition"])
    cache = Path(data["cache"])
    build_cache(cohort.cases, cohort.channels, cache)
    found = {case.name: case_digest(case, cohort.channels, cache) for case in cohort.cases}
    known = {name: case["sha256"] for name, case in provenance["cohort"]["cases"].items()}
    changed = sorted(name for name in known.keys() | found.keys() if known.get(name) != found.get(name))
    problems = [f"{data['cohort']}: {name} is not what {run} was made with: restore it" for name in changed]
    folds = None if data.get("folds") is None else read_folds(
        Path(data["folds"]), allow_leaky=data.get("allow_leaky_folds", False)
    ).digest  # fmt: skip
    if folds != provenance["folds"]:
        problems.append(f"{data['folds']}: is not what {run} was made with: restore it")
    if problems:
        raise InputError(problems)


def _train_again(config: dict[str, Any], again: Path) -> None:
    """The same job in another folder and in a process of its own, without W&B."""
    changed = config | {
        "predictions": {"folder": str(again / "predictions")},
        "suite": config.get("suite", {}) | {"wandb": False},
    }
    (again / "config.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    result = subprocess.run(
        [sys.executable, "-m", "benchmark", "job", str(again)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{again}: training again failed: {last}")


def _remarks(provenance: dict[str, Any]) -> list[str]:
    """Versions that are not those of the job."""
    now = versions()
    return [
        f"{name} was {then}, is {now.get(name, 'not installed')}"
        for name, then in provenance["packages"].items()
        if now.get(name) != then
    ]
