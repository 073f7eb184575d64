"""What of a job of the default suite is neither training nor prediction, for the networks that train the shortest."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.launchers.local import job_command
from benchmark.memory import children_keep_memory

pytestmark = pytest.mark.bench

METHODS = ("plain_unet", "residual_unet")


def test_share_of_a_job_outside_training_and_prediction(
    tmp_path: Path, benchmark: Any, figure: Callable[[str, float, str], None]
) -> None:
    command = [sys.executable, "-m", "benchmark", "run", "--config", "twin", "--folds", "0", "--methods"]
    command += [",".join(METHODS), "--out", str(tmp_path)]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=1)
    for method in METHODS:  # each again, alone, from the start of its process to the end
        run = tmp_path / "twin" / method / "fold0"
        config = (run / "config.yaml").read_text()
        shutil.rmtree(run)
        run.mkdir()
        (run / "config.yaml").write_text(config)
        started = time.perf_counter()
        with children_keep_memory():
            subprocess.run(job_command([run]), check=True, capture_output=True)
        seconds = time.perf_counter() - started
        costs = json.loads((run / "provenance.json").read_text())["costs"]
        network = costs["fit_seconds"] + costs["predict_seconds"]
        figure(f"share of a job outside training and prediction, {method}", 1 - network / seconds, "<= 0.15")
        assert 0 < network < seconds
