"""One job: fit, then predict, in one run directory.

The directory's ``config.yaml`` is a complete LightningCLI config: ``benchmark fit --config RUN/config.yaml`` trains the
same thing by hand. A job that finds checkpoints continues from the last one.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.loggers import Logger

from benchmark.machine.memory import peak_memory_mb, reset_peak_memory
from benchmark.methods.base import RuleMethod
from benchmark.methods.faults import exits_told, told
from benchmark.pipeline.cache import cohort_digest
from benchmark.pipeline.datamodule import StrokeData
from benchmark.rundir.digests import damaged_results, needs_training, read_provenance
from benchmark.rundir.locks import hold
from benchmark.rundir.names import BUDGET, CHECKPOINTS, CONFIG, LAST, LOG, METRICS, result_folders
from benchmark.rundir.state import read_state, update_state
from benchmark.suite.config import EVERY_EPOCHS
from benchmark.suite.config_files import read_yaml
from benchmark.training.budget import CountTraining
from benchmark.training.callbacks import FiniteLoss, MetricsFile, ProgressReport
from benchmark.training.checkpoints import checkpoint_callbacks, newest_checkpoint
from benchmark.training.lightning_cli import SuiteCLI
from benchmark.training.loading import load, quiet_lightning, require_training, use_threads
from benchmark.training.multiplications import CountMultiplications
from benchmark.training.provenance import record_provenance
from benchmark.training.wandb_sink import SlicePicture, close_run, wandb_logger
from leaderboard.cohort.names import prediction_file
from leaderboard.errors import InputError

#: Reason in the state of a job that was asked to end.
INTERRUPTED = "interrupted: run the same command again to continue"


def run_job(run: Path, started: float | None = None) -> int:
    """Fit and predict as ``run/config.yaml`` says; the outcome goes into ``run/state.json``.

    Args:
        run: run directory.
        started: when the process started, by `time.monotonic`; default now.

    Returns:
        Exit status: 0 done, 1 failed.
    """
    started = time.monotonic() if started is None else started
    if not is_rank_zero():
        return _outcome(run, started)[0]

    def busy(owner: str) -> None:  # a suite that was killed may leave a job behind; two jobs here would mix their files
        print(f"{run}: waits for the end of {owner}", file=sys.stderr)

    with hold(run, busy):
        if read_state(run).status == "done" and not damaged_results(run):
            return 0  # the process that worked here before has finished it
        update_state(run, status="running", phase="starting", done=0, total=0, step=0, steps=0, reason="")
        status, reason = _outcome(run, started)
        update_state(run, status="failed" if status else "done", phase="", reason=reason)
    return status


def _outcome(run: Path, started: float) -> tuple[int, str]:
    """Fit and predict; returns the exit status, and one line about what went wrong."""
    try:
        with exits_told():
            _fit_and_predict(run, started)
        return 0, ""
    except InputError as error:
        reason = "; ".join(error.problems)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns an interrupt and SIGTERM into SystemExit
        reason = INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        reason = told(error)
    print(reason, file=sys.stderr)
    return 1, reason


def is_rank_zero(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is the first of its job, according to whatever launched it (Lightning, torchrun, srun)."""
    if "RANK" in environment:
        return environment["RANK"] == "0"
    if "LOCAL_RANK" in environment:
        return (environment["LOCAL_RANK"], environment.get("NODE_RANK", "0")) == ("0", "0")
    return environment.get("SLURM_PROCID", "0") == "0"


def _fit_and_predict(run: Path, started: float) -> None:
    suite = read_yaml(run / CONFIG).get("suite", {})
    checkpoints = run / CHECKPOINTS
    sink = wandb_logger(run, suite) if suite.get("wandb", True) and is_rank_zero() else None
    loggers: list[Logger] = [sink] if sink else []
    timer, training, counter = Timer(), CountTraining(), CountMultiplications()
    callbacks = [
        *checkpoint_callbacks(checkpoints, int(suite.get("checkpoint_every_n_epochs", EVERY_EPOCHS))),
        ProgressReport(run),
        MetricsFile(run / METRICS),
        FiniteLoss(),
        SlicePicture(),
        timer,
        training,
        counter,
    ]
    if is_rank_zero():
        for leftover in checkpoints.glob(".*.tmp"):
            leftover.unlink()
    cli = load(run / CONFIG, {"logger": loggers or False, "callbacks": callbacks, "default_root_dir": str(run)})
    trainer, method, data = cli.trainer, cli.model, cli.datamodule
    check_inputs(run, suite, data)
    require_training(cli)
    last = run / LAST
    fit = _costs_of_sound_fit(run)
    trained = 0.0
    if fit is None:
        trainer.fit(method, datamodule=data, ckpt_path=newest_checkpoint(checkpoints), weights_only=True)
        # Including what earlier calls spent on it.
        fit = {"fit_seconds": round(timer.time_elapsed(), 3), **training.budget(trainer, method)}
        trained = (timer.end_time() or 0.0) - (timer.start_time() or 0.0)
        trainer.save_checkpoint(last, weights_only=True)
    fitted = time.monotonic()
    # From the file, so that the weights that predict are those that are kept.
    trainer.predict(method, datamodule=data, return_predictions=False, ckpt_path=last)
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        mapped = bool(cli.config["predictions"].probabilities) and not isinstance(method, RuleMethod)
        _check_predictions(run, data, result_folders(run, method.ablations, mapped))
        now = time.monotonic()
        costs = {
            "parameters": method.parameter_count,
            "gmac_per_slice": round(counter.gmac_per_slice, 3),
            **fit,
            "predict_seconds": round(now - fitted, 3),
            "other_seconds": round(fitted - started - trained, 3),
            "cases": len(data.held_out),
            "peak_memory_mb": peak_memory_mb_of(trainer.strategy.root_device),
        }
        threshold = float(method.threshold) if mapped else None
        record_provenance(run, data, trainer, method.ablations, threshold, costs, resolved_config(cli))
        for path in checkpoints.glob("epoch=*.ckpt"):
            path.unlink()
    for logger in loggers:
        logger.finalize("success")


def check_inputs(run: Path, suite: Mapping[str, Any], data: StrokeData) -> None:
    """Check that cohort and folds are those that the suite planned this job with; it may be started again much later.

    Raises:
        InputError: they are not.
    """
    if "cohort_sha256" not in suite:
        return
    problems = []
    if cohort_digest(data.case_digests) != suite["cohort_sha256"]:
        problems.append(f"{data.cohort_path}: is not the cohort that {run} was planned with: give the suite's command")
    if data.folds is not None and data.folds.digest != suite["folds_sha256"]:
        problems.append(f"{data.folds_path}: holds other folds than {run} was planned with: give the suite's command")
    if problems:
        raise InputError(problems)


def resolved_config(cli: SuiteCLI) -> dict[str, Any]:
    """Every setting of the job including the code's defaults, without the objects that the suite itself adds."""
    config: dict[str, Any] = yaml.safe_load(cli.parser.dump(cli.config, skip_validation=True))
    for name in ("callbacks", "logger", "plugins"):
        config["trainer"].pop(name, None)
    return config


def _costs_of_sound_fit(run: Path) -> dict[str, Any] | None:
    """Costs of the fit whose checkpoint is here undamaged; None if the job still has to fit.

    So a finished job with a damaged prediction predicts again without training again.
    """
    if needs_training(damaged_results(run)):
        return None
    costs = read_provenance(run)["costs"]
    return {"fit_seconds": float(costs["fit_seconds"]), **{name: costs.get(name) for name in BUDGET}}


def _check_predictions(run: Path, data: StrokeData, folders: Sequence[Path]) -> None:
    expected = [folder / prediction_file(case.name) for folder in folders for case in data.held_out_cases]
    if missing := [str(path.relative_to(run)) for path in expected if not path.exists()]:
        raise InputError(f"{run}: no prediction was written: {', '.join(missing)}: run again")


def peak_memory_mb_of(device: torch.device) -> int:
    """Peak memory in MB of this process, or of its GPU if it computes on one."""
    return torch.cuda.max_memory_allocated() // 2**20 if device.type == "cuda" else peak_memory_mb()


def main(runs: Sequence[Path], started: float | None = None) -> int:
    """Entry point of ``benchmark job RUN ...``: one job after the other, each as if it were alone.

    A single job writes to this process's output; of several, each writes to the ``log.txt`` in its run directory.

    Args:
        runs: run directories.
        started: when the process started, by `time.monotonic`; default now.

    Returns:
        Exit status: 0 if all are done, 1 if one failed (the others still run) or was asked to end.
    """
    torch.set_float32_matmul_precision("high")
    if not is_rank_zero():
        quiet_lightning()
    if len(runs) == 1:
        return _main(runs[0], started)
    statuses = []
    for run in runs:
        _speak_in(run / LOG)
        reset_peak_memory()
        try:
            statuses.append(_main(run, started))
        except InputError as error:  # about its config.yaml
            print("; ".join(error.problems), file=sys.stderr)
            statuses.append(1)
        close_run(statuses[-1])
        if read_state(run).reason == INTERRUPTED:
            break
        started = None
    return max(statuses)


def _main(run: Path, started: float | None) -> int:
    config = read_yaml(run / CONFIG)
    use_threads(config)
    pl.seed_everything(int(config.get("seed_everything", 0)), workers=True, verbose=False)
    return run_job(run, started)


def _speak_in(log: Path) -> None:
    """Send this process's output to a file from now on, including that of libraries and of processes that it starts."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
