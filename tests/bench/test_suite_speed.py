"""What of a job of the default suite is neither training nor prediction, from its start to the end of its process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.launchers.fork_server import WITH_WANDB, ForkServer
from benchmark.machine.memory import keeping_memory

pytestmark = pytest.mark.bench

METHODS = ("all_background", "perfusion_t38", "plain_unet", "residual_unet")


def test_seconds_of_a_job_outside_training_and_prediction(
    tmp_path: Path, benchmark: Any, figure: Callable[[str, float, str], None]
) -> None:
    command = [sys.executable, "-m", "benchmark", "run", "--config", "twin", "--folds", "0", "--methods"]
    command += [",".join(METHODS), "--set", "trainer.max_epochs=1", "--out", str(tmp_path)]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=1)
    packages = ("all_background", "perfusion_threshold", "plain_unet", "residual_unet")
    server = ForkServer(os.environ, [*(f"benchmark.methods.{name}" for name in packages), *WITH_WANDB])
    runs = {method: tmp_path / "twin" / method / "fold0" for method in METHODS}
    for method, run in runs.items():  # each again, alone, as the suite starts it
        config = (run / "config.yaml").read_text()
        shutil.rmtree(run)
        run.mkdir()
        (run / "config.yaml").write_text(config)
        process = server.start([run], keeping_memory(os.environ), run / "log.txt")  # the first waits for the server
        started = time.perf_counter()
        assert process.wait(600) == 0
        seconds = time.perf_counter() - started
        costs = json.loads((run / "provenance.json").read_text())["costs"]
        network = costs["fit_seconds"] + costs["predict_seconds"]
        assert 0 < network < seconds
        figure(f"a job outside training and prediction, {method} [s]", seconds - network, "<= 2")
    server.close()
