"""What of a job of the default suite is neither training nor prediction: of those that train for the shortest time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.bench

METHODS = ("plain_unet", "residual_unet")


def test_share_of_a_job_outside_training_and_prediction(
    tmp_path: Path, benchmark: Any, figure: Callable[[str, float, str], None]
) -> None:
    command = [sys.executable, "-m", "benchmark", "run", "--config", "twin", "--folds", "0", "--methods"]
    command += [",".join(METHODS), "--out", str(tmp_path)]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=1)
    for method in METHODS:
        costs = json.loads((tmp_path / "twin" / method / "fold0" / "provenance.json").read_text())["costs"]
        seconds = [costs[f"{part}_seconds"] for part in ("other", "fit", "predict")]
        figure(f"share of a job outside training and prediction, {method}", seconds[0] / sum(seconds), "<= 0.15")
        assert min(seconds) > 0
