"""What trainings take, held against numbers counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from benchmark.methods.all_background import AllBackground
from benchmark.methods.base import Method
from benchmark.pipeline.curriculum import Stage
from benchmark.pipeline.datamodule import StrokeData
from benchmark.training.budget import CountTraining, ghost_of, pass_gmac

#: Of the twin, with 8, 4 and 2 slices of 32 x 32.
DEPTHS = {"case_1": 8, "case_17": 4, "case_18": 2}


class Sliced(Method):
    """One convolution of a slice and its neighbours."""

    view = "slices"
    neighbours = 1

    def configure_network(self, channels: int) -> nn.Module:
        return nn.Conv2d(3 * channels, 1, 3, padding=1)

    def loss(self, logits: torch.Tensor, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        return {"loss": logits.square().mean()}

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1e-3)


class Whole(Sliced):
    """One convolution of volumes, of crops of half the side in the first of two epochs."""

    view = "volumes"

    def configure_network(self, channels: int) -> nn.Module:
        return nn.Conv3d(channels, 1, (1, 3, 3), padding=(0, 1, 1))

    def curriculum(self, max_epochs: int) -> Callable[[int], Stage]:
        return lambda epoch: Stage(crop=0.5 if epoch == 0 else 1.0)


def train(method: Method, cohort: Path, cache: Path, epochs: int = 2, **settings: Any) -> dict[str, Any]:
    data = StrokeData(str(cohort), cases=list(DEPTHS), cache=str(cache), **settings)
    counter = CountTraining()
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, logger=False, enable_checkpointing=False, callbacks=[counter],
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, limit_val_batches=1,
        num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(method, datamodule=data)
    return counter.budget(trainer, method)


@pytest.mark.parametrize("sampling", ["slice", "case"])
def test_slices_are_counted_as_they_are_served_with_those_that_fill_a_batch(
    twin: Path, cache: Path, sampling: str
) -> None:
    # 14 slices fill three batches of 5, one slice twice, whatever the sampling.
    gmac = 3 * 30 * 32 * 32 * (15 * 9) / 1e9
    expected = {"steps": 6, "slices_seen": 30, "training_gmac": pytest.approx(gmac, abs=1e-6)}
    assert train(Sliced(), twin, cache, batch_size=5, sampling=sampling) == expected


def test_volumes_count_their_own_slices_and_crops_fewer_multiplications(twin: Path, cache: Path) -> None:
    # Of three volumes in batches of two, the shallowest comes twice: 2 + 2 and 4 + 8 slices, the latter padded to 16.
    gmac = 3 * (4 + 16) * (16 * 16 + 32 * 32) * (5 * 9) / 1e9
    expected = {"steps": 4, "slices_seen": 2 * 16, "training_gmac": pytest.approx(gmac, abs=1e-6)}
    assert train(Whole(), twin, cache, batch_size=2) == expected


class Named(Sliced):
    """Calls itself with the images by name."""

    def __call__(self, *images: Any, **named: Any) -> Any:
        return super().__call__(image=images[0]) if images else super().__call__(**named)


def test_images_that_are_given_by_name_are_counted(twin: Path, cache: Path) -> None:
    gmac = 3 * 15 * 32 * 32 * (15 * 9) / 1e9
    expected = {"steps": 3, "slices_seen": 15, "training_gmac": pytest.approx(gmac, abs=1e-6)}
    assert train(Named(), twin, cache, epochs=1, batch_size=5) == expected


def test_a_rule_takes_nothing(twin: Path, cache: Path) -> None:
    assert train(AllBackground(), twin, cache, epochs=0) == {"steps": 0, "slices_seen": 0, "training_gmac": 0}


def test_a_training_that_was_begun_without_a_count_has_none(twin: Path, cache: Path) -> None:
    counter, trainer = CountTraining(), pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = 2
    method = Sliced()
    method.network = method.configure_network(5)
    shape = {(4, 15, 32, 32): 2}  # two batches a step: as many batches as steps though the first half is not in them
    counter.load_state_dict({"slices": 8, "batches": shape, "whole": False})
    counter.on_train_start(trainer, method)
    counter.on_train_end(trainer, method)
    assert set(counter.budget(trainer, method).values()) == {None}
    again = CountTraining()
    again.load_state_dict({**counter.state_dict(), "whole": True})
    again.on_train_start(trainer, method)
    assert again.state_dict() == {"slices": 8, "batches": shape, "whole": True}
    assert None not in again.budget(trainer, method).values()


def test_no_weight_is_copied_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    network.append(network[0])  # shared weights stay shared
    monkeypatch.setattr(torch.Tensor, "__deepcopy__", lambda *_: pytest.fail("a tensor was copied"))
    ghost = ghost_of(network)
    tensors = [*ghost.parameters(), *ghost.buffers()]
    assert {str(tensor.device) for tensor in tensors} == {"meta"}
    assert [tuple(tensor.shape) for tensor in tensors] == [
        tuple(tensor.shape) for tensor in (*network.parameters(), *network.buffers())
    ]


class Asking(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image if float(image.mean()) > 0 else -image


def test_a_network_is_counted_without_being_changed_and_one_that_asks_for_a_value_is_not() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    assert pass_gmac(network.eval(), {(2, 1, 500, 500): 3, (1, 1, 500, 500): 4}) == 10 * 500 * 500 * 2 / 1e9
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert pass_gmac(Asking(), {(1, 1, 4, 4): 1}) is None
