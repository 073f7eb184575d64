"""Two processes train and predict what one does with the same global batch: every method.

Run as a script, this file is what the processes do.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from narrow import narrow
from sync_norm import SyncBatchNorms, with_support

from benchmark.rundir.names import BUDGET
from benchmark.suite.config import method_config, read_suite
from benchmark.suite.config_files import find_config, merge

#: Methods with the settings that tests need besides those of the twin. No dropout: it differs between processes. What
#: processes exchange does not depend on a network's width, so all are narrow; see `narrow` for those without a setting.
METHODS: dict[str, dict[str, Any]] = {
    "multiscale_resnet": {},
    "fcn3d_crf": {},
    "residual_unet": {"model": {"init_args": {"base": 8}}},
    "ms_dcnn": {"model": {"init_args": {"dropouts": [0.0, 0.0], "light": True}}},
    "strokenet": {},
    "strokenet with batch norm": {"model": {"init_args": {"norm": "batch"}}},
    "plain_unet": {"model": {"init_args": {"stages": 3}}},
    "plain_unet_3d": {"model": {"init_args": {"stages": 3}}},
    "any": {
        "model": {
            "class_path": "benchmark.methods.Any",
            "init_args": {
                "network": {
                    "class_path": "torch.nn.Conv2d",
                    "init_args": {"in_channels": 5, "out_channels": 2, "kernel_size": 3, "padding": 1},
                }
            },
        },
    },
}
CASES = (17, 18, 20, 21)
#: All their slices, or all volumes, in one global batch: an epoch is a step. The volumes differ in depth.
SLICES, VOLUMES = 10, 4
PROCESSES = (1, 2)
#: Validates and logs to W&B, which is the same code for all.
WATCHED = "residual_unet"
#: More epochs than there are: nothing restarts.
NEVER = 100
#: Relative, of the losses of the first step and of the second.
TOLERANCES = (1e-5, 1e-3)


def job_config(name: str, run: Path, processes: int, cohort: Path, cache: Path) -> dict[str, Any]:
    """Two epochs on all cases, and the prediction of all; one method validates and logs to W&B."""
    method = name.split()[0]
    together = VOLUMES if method in ("fcn3d_crf", "strokenet", "plain_unet_3d") else SLICES
    settings = {
        "trainer": {
            "accelerator": "cpu", "devices": processes, "precision": "32-true", "max_epochs": 2,
            "check_val_every_n_epoch": 2 if method == WATCHED else NEVER,
        },
        "data": {"cohort": str(cohort), "cache": str(cache), "batch_size": together // processes},
    }  # fmt: skip
    suite = read_suite(find_config("twin"))
    if method == "any":  # has no config of its own
        config = merge(suite.defaults, METHODS[name], settings)
    else:
        config = method_config(suite, method, merge(METHODS[name], settings))
    notes = {"method": name, "fold": 0, "wandb": method == WATCHED, "checkpoint_every_n_epochs": NEVER}
    return config | {"seed_everything": 0, "suite": notes, "predictions": {"folder": str(run / "predictions")}}


def work(runs: Iterable[Path]) -> None:
    """What each process of jobs does; notes what it trained on and what it wrote."""
    from benchmark.pipeline.datasets import TrainingSamples
    from benchmark.training import callbacks, job, loading

    write, serve, defaults = callbacks.write_masks, TrainingSamples.plan, loading.trainer_defaults

    def defaults_with_norms() -> dict[str, Any]:
        found = defaults()
        return found | {"plugins": [*found["plugins"], SyncBatchNorms()]}

    narrow()
    loading.trainer_defaults = defaults_with_norms
    job.require_training = lambda cli: None  # which refuses what SyncBatchNorms can do
    for run in runs:
        notes = run / f"notes{os.environ.get('LOCAL_RANK', '0')}.txt"

        def noted_write(folder: Path, case: Any, *others: Any, notes: Path = notes) -> None:
            note(notes, "wrote", case.name)
            write(folder, case, *others)

        def noted_serve(samples: TrainingSamples, keys: Any, executor: Any, notes: Path = notes) -> Any:
            for key in keys:
                for index in key.slices or (None,):
                    note(notes, "served", key.epoch, key.case, index)
            return serve(samples, keys, executor)

        callbacks.write_masks, TrainingSamples.plan = noted_write, noted_serve  # type: ignore[method-assign]
        job.main([run])


def note(path: Path, *words: Any) -> None:
    with path.open("a") as file:
        print(*words, file=file)


def notes_of(run: Path, word: str) -> list[list[str]]:
    """What each process noted."""
    return [
        [line for line in path.read_text().splitlines() if line.startswith(word)]
        for path in sorted(run.glob("notes*.txt"))
    ]


@pytest.fixture(scope="module")
def runs(twin: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jobs of every method, done by one process and by two: ``<method>/processes<n>``."""
    root = tmp_path_factory.mktemp("runs")
    for number in CASES:
        shutil.copytree(twin / "TRAINING" / f"case_{number}", root / "cohort" / "TRAINING" / f"case_{number}")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    environment = with_support(environment) | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    for processes in PROCESSES:
        folders = []
        for name in METHODS:
            folder = root / name / f"processes{processes}"
            config = job_config(name, folder, processes, root / "cohort", cache)
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
            folders.append(str(folder))
        with (root / f"log{processes}.txt").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, __file__, *folders],
                env=environment, cwd=root, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                assert process.wait(timeout=600) == 0
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # the second process, where the first is gone
    return root


def rows(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def masks(run: Path) -> dict[str, np.ndarray]:
    return {
        f"{path.parent.name}/{path.name}": np.asanyarray(nib.load(path).dataobj)
        for path in sorted(run.glob("predictions*/*.nii.gz"))
    }


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_and_predict_what_one_does_with_the_same_global_batch(runs: Path, method: str) -> None:
    one, two = (runs / method / f"processes{processes}" for processes in PROCESSES)
    for run, processes in ((one, 1), (two, 2)):
        state = json.loads((run / "state.json").read_text())
        assert state["status"] == "done", state
        assert json.loads((run / "provenance.json").read_text())["devices"] == processes
    costs = [json.loads((run / "provenance.json").read_text())["costs"] for run in (one, two)]
    together = [{name: spent[name] for name in BUDGET} for spent in costs]
    assert together[0] == together[1]
    assert together[0]["steps"] == 2

    # Together the processes trained on what the one did, half of it each.
    (served,), shares = notes_of(one, "served"), notes_of(two, "served")
    assert len({len(share) for share in shares}) == 1
    assert sorted(line for share in shares for line in share) == sorted(served)
    # Every case was predicted by one of them.
    (written,), shares = notes_of(one, "wrote"), notes_of(two, "wrote")
    assert sorted(written) == [f"wrote case_{number}" for number in CASES]
    assert sorted(line for share in shares for line in share) == sorted(written)
    assert [len(share) for share in shares] == [2, 2]

    first, second = rows(one), rows(two)
    assert [row["epoch"] for row in second] == [0, 1]
    # After a step, weights whose gradient is only rounding differ: Adam moves them just as far.
    for alone, together, tolerance in zip(first, second, TOLERANCES, strict=True):
        losses = [name for name in alone if name.startswith("train/")]
        assert [together[name] for name in losses] == pytest.approx([alone[name] for name in losses], rel=tolerance)
    assert ("val/dice" in second[-1]) == (method == WATCHED)
    if method == WATCHED:
        assert second[-1]["val/dice"] == pytest.approx(first[-1]["val/dice"], abs=0.02)
    expected, found = masks(one), masks(two)
    assert list(found) == list(expected)
    same = np.concatenate([(found[name] == expected[name]).ravel() for name in expected])
    assert same.mean() > 0.99


def test_wandb_and_the_console_hear_of_the_first_process_alone(runs: Path) -> None:
    assert len([path for path in runs.rglob("offline-run-*") if path.is_dir()]) == len(PROCESSES)
    said = (runs / "log2.txt").read_text()
    assert "rank: 0" in said.lower()
    assert "rank: 1" not in said.lower()
    assert "Traceback" not in said


if __name__ == "__main__":
    work(map(Path, sys.argv[1:]))
