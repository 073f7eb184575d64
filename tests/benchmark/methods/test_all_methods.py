"""What holds for every method: each shipped config is trained for two epochs and predicts, in one process."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trees
import yaml
from medpy.metric.binary import dc
from narrow import NARROWED, narrow
from slabs import prepare_reference

from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.datasets import WholeCases
from benchmark.pipeline.sampling import EpochBatches
from benchmark.pipeline.store import Store
from benchmark.suite.config import lacking, method_config, read_suite
from benchmark.suite.config_files import find_config, merge, shipped_configs
from benchmark.training.budget import CountTraining
from benchmark.training.loading import load
from leaderboard.cohort.formats import read_cohort
from leaderboard.io.images import read_volume

CONFIGS = sorted((shipped_configs() / "methods").glob("*.yaml"))
#: What the tests' slices of 32 x 32 need beside the settings of the suite twin; fewer weights train sooner.
SMALL: dict[str, dict[str, Any]] = {
    name: {"model": {"init_args": {"stages": 3}}}
    for name in ("plain_unet", "plain_unet_3d", "resenc_unet", "resenc_unet_3d")
} | {"residual_unet": {"model": {"init_args": {"base": 8}}}}


def small_config(method: str) -> dict[str, Any]:
    """The method's config in the default suite, on the CPU."""
    config = method_config(read_suite(find_config("twin")), method, SMALL.get(method, {}))
    return merge(config, {"trainer": {"accelerator": "cpu"}})


@pytest.fixture(scope="module")
def tree(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for number in (17, 18, 20, 21):
        shutil.copytree(twin / "TRAINING" / f"case_{number}", root / "TRAINING" / f"case_{number}")
    return root


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_it_trains_and_predicts_on_the_native_grid(
    config: Path, tree: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = small_config(config.stem)
    if lacks := lacking(content):
        pytest.skip(f"needs {', '.join(lacks)}")
    if "ADC" in content.get("needs", []):  # the twin is of CT
        tree = trees.isles2022(tmp_path / "cohort")
    own = content["trainer"]["max_epochs"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    epochs = []
    original = EpochBatches.__iter__

    def spy(batches: EpochBatches) -> object:
        epochs.append(batches.epoch)
        return original(batches)

    monkeypatch.setattr(EpochBatches, "__iter__", spy)
    narrow(monkeypatch.setattr)
    monkeypatch.chdir(tmp_path)
    cli = load(
        tmp_path / "config.yaml",
        {"logger": False, "enable_checkpointing": False, "callbacks": [counter := CountTraining()]},
        f"--data.cohort={tree}",
        f"--data.cache={cache}",
        f"--predictions.folder={tmp_path / 'out'}",
        f"--trainer.max_epochs={min(own, 2)}",
    )
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    if own > 1:
        assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
        assert epochs == [0, 1]  # the second epoch does not serve the first one's samples again
    budget = counter.budget(cli.trainer, cli.model).values()
    assert all(number > 0 for number in budget) if own > 1 else set(budget) == {0}
    cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
    for case in read_cohort(tree).cases:
        mask, image = read_volume(tmp_path / "out" / f"{case.name}.nii.gz"), read_volume(case.images[case.grid])
        assert mask.data.shape == image.data.shape
        assert mask.spacing_mm == image.spacing_mm


@pytest.mark.slow
@pytest.mark.parametrize("method", NARROWED)
def test_at_its_full_width_it_takes_a_step_and_predicts(
    method: str, tree: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(small_config(method)))
    monkeypatch.chdir(tmp_path)
    cli = load(
        tmp_path / "config.yaml",
        {"logger": False, "enable_checkpointing": False},
        f"--data.cohort={tree}",
        f"--data.cache={cache}",
        f"--predictions.folder={tmp_path / 'out'}",
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=1",
        "--trainer.limit_val_batches=0",
        "--trainer.limit_predict_batches=1",
    )
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    assert sum(weight.numel() for weight in cli.model.parameters()) > 5_000_000
    assert all(torch.isfinite(weight).all() for weight in cli.model.parameters())
    cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
    assert len(list((tmp_path / "out").glob("case_*.nii.gz"))) == 1


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_prediction_that_equals_the_reference_comes_back(config: Path, cached: list[CachedCase]) -> None:
    """To the voxel where nothing is resampled (no interpolation error is granted), else but for edges, of all cases."""
    model = yaml.safe_load(config.read_text())["model"]
    module, _, name = model["class_path"].rpartition(".")
    method = getattr(importlib.import_module(module), name)(**model.get("init_args", {}))
    whole = WholeCases(Store(cached, torch.device("cpu")), method.view_of(max_epochs=1))
    resampled = bool({"size", "pixel_mm"} & model.get("init_args", {}).keys())
    returned, references = [], []
    for index, case in enumerate(cached):
        item = whole[index]
        prepared = prepare_reference(method.preparation, item["reference"], case.spacing_mm)
        assert prepared.shape == item["image"].shape[1:]
        back = method.preparation.inverse(prepared.float(), tuple(item["reference"].shape), case.spacing_mm)
        returned.append((back > method.threshold).numpy().ravel())
        references.append(np.asarray(case.reference).ravel())
    dice = dc(np.concatenate(returned), np.concatenate(references))
    assert dice > 0.9 if resampled else dice == 1.0


def test_with_a_methods_folder_deleted_the_rest_works(tmp_path: Path) -> None:
    package = Path(str(importlib.import_module("benchmark").__file__)).parent
    shutil.copytree(package, tmp_path / "benchmark", ignore=shutil.ignore_patterns("strokenet*", "__pycache__"))
    shutil.copytree(
        shipped_configs(), tmp_path / "benchmark" / "_configs",
        ignore=shutil.ignore_patterns("strokenet.yaml"), dirs_exist_ok=True,
    )  # fmt: skip
    (tmp_path / "benchmark" / "_configs" / "methods" / "strokenet.yaml").unlink(missing_ok=True)
    code = (
        "import json, benchmark.training.job, benchmark.commands.run\n"
        "import benchmark.methods.residual_unet, benchmark.methods.all_background\n"
        "from benchmark.suite.config_files import find_method, find_config\n"
        "from leaderboard.errors import InputError\n"
        "try: find_method('strokenet', find_config('isles2018'))\n"
        "except InputError as error: print(json.dumps([benchmark.__file__, str(error)]))\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    where, message = json.loads(result.stdout)
    assert where.startswith(str(tmp_path))
    assert "unknown method" in message
    assert "residual_unet" in message
