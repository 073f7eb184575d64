from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from recipe import batch_of, running
from torch import nn

from benchmark.methods.strokenet.module import Curriculum, StrokeNetMethod, focusing
from benchmark.pipeline.datamodule import StrokeData


def test_the_curriculum_has_three_stages_and_ends_with_the_suites_own_samples() -> None:
    stages = [Curriculum(10, 0.625)(epoch) for epoch in range(10)]
    assert "".join(stage.name for stage in stages) == "AAABBBBCCC"
    easy, middle, full = stages[0], stages[5], stages[9]
    assert (easy.augmentation, easy.lesion_crops, easy.crop) == (0.0, 1.0, 0.625)
    assert (middle.augmentation, middle.lesion_crops, middle.crop) == (0.5, 2 / 3, 0.625)
    assert (full.augmentation, full.crop) == (1.0, 1.0)


def test_focusing_is_zero_in_stage_a_rises_linearly_in_b_and_is_gamma_in_c() -> None:
    assert [focusing(progress, 2.0) for progress in (0.0, 0.29, 0.7, 0.99)] == [0.0, 0.0, 2.0, 2.0]
    assert focusing(0.5, 2.0) == pytest.approx(1.0)


@pytest.mark.parametrize(("epoch", "gamma"), [(1, 0.0), (5, 1.0), (9, 2.0)])
def test_strokenets_loss_is_the_focal_loss_with_the_curriculums_gamma(epoch: int, gamma: float) -> None:
    torch.manual_seed(0)
    batch = batch_of((2, 3, 8, 8))
    logits = torch.randn(2, 1, 3, 8, 8)
    loss = running(StrokeNetMethod(), epoch, 10).loss(logits, batch)["loss"].item()
    p = 1 / (1 + np.exp(-logits[:, 0].double().numpy()))
    g, inside = batch["reference"].numpy(), batch["valid"].numpy()
    of_lesion = -0.75 * (1 - p) ** gamma * np.log(p) * g
    of_background = -0.25 * p**gamma * np.log(1 - p) * (1 - g)
    expected = ((of_lesion + of_background) * inside).sum() / (g * inside).sum()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_strokenets_learning_rate_falls_with_the_power_of_nine_tenths() -> None:
    method = running(StrokeNetMethod(), steps=100)
    method.network = nn.Linear(1, 1)
    recipe = method.configure_optimizers()
    (factor,) = recipe["lr_scheduler"]["scheduler"].lr_lambdas
    assert type(recipe["optimizer"]) is torch.optim.Adam
    assert recipe["optimizer"].defaults["lr"] == 1e-3
    assert (factor(0), factor(50), factor(100)) == pytest.approx((1.0, 0.5**0.9, 0.0))


class OneConvolution(StrokeNetMethod):
    """The recipe with a network that takes no time."""

    def configure_network(self, channels: int) -> nn.Module:
        return nn.Conv3d(channels, 1, 1)


class Logged(pl.Callback):
    """What each epoch logged of the curriculum."""

    def __init__(self) -> None:
        self.stages: list[float] = []
        self.gammas: list[float] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.stages.append(float(trainer.callback_metrics["curriculum/stage"]))
        self.gammas.append(float(trainer.callback_metrics["curriculum/gamma"]))


def test_the_three_stages_of_the_curriculum_are_logged(tree: Path, cache: Path, tmp_path: Path) -> None:
    logged = Logged()
    trainer = pl.Trainer(
        max_epochs=10, limit_train_batches=1, limit_val_batches=0, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[logged],
        default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(OneConvolution(), datamodule=StrokeData(str(tree), cache=str(cache)))
    assert logged.stages == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert logged.gammas == pytest.approx([0, 0, 0, 0, 0.5, 1, 1.5, 2, 2, 2], abs=1e-6)
