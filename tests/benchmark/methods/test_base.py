from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import nn

from benchmark.methods.base import Method
from benchmark.pipeline.datasets import Batch
from leaderboard.errors import InputError

CPU = torch.device("cpu")


def method_with_gradient(precision: str) -> Method:
    method = Method()
    method.network = nn.Linear(3, 1, bias=False)
    method.network.weight.grad = torch.tensor([[3.0, 0.0, 4.0]])
    method.trainer = SimpleNamespace(  # type: ignore[assignment]
        precision=precision, precision_plugin=MixedPrecision("bf16-mixed", "cpu"), gradient_clip_val=1.0,
        gradient_clip_algorithm="norm",
    )  # fmt: skip
    return method


@pytest.mark.parametrize(
    ("algorithm", "expected"), [(None, [0.6, 0.0, 0.8]), ("norm", [0.6, 0.0, 0.8]), ("value", [1.0, 0.0, 1.0])]
)
def test_gradients_are_clipped_with_a_fused_optimiser_by_norm_or_value(
    algorithm: str | None, expected: list[float]
) -> None:
    method = method_with_gradient("bf16-mixed")
    optimiser = torch.optim.Adam(method.parameters(), fused=True)
    method.configure_gradient_clipping(optimiser, 1.0, algorithm)
    assert method.network.weight.grad is not None
    assert method.network.weight.grad[0].tolist() == pytest.approx(expected, rel=1e-4)


def test_without_a_limit_gradients_stay_as_they_are() -> None:
    method = method_with_gradient("32-true")
    method.configure_gradient_clipping(torch.optim.Adam(method.parameters(), fused=True), None)
    assert method.network.weight.grad is not None
    assert method.network.weight.grad[0].tolist() == [3.0, 0.0, 4.0]


def test_in_float16_lightning_refuses_to_clip_what_a_fused_optimiser_unscales() -> None:
    method = method_with_gradient("16-mixed")
    with pytest.raises(RuntimeError, match="does not allow for gradient clipping"):
        method.configure_gradient_clipping(torch.optim.Adam(method.parameters(), fused=True), 1.0, "norm")


class Noted(Method):
    """Its network gives the image as logits; what it logs is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Identity()
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: Any, **options: Any) -> None:
        self.logged[name] = float(value)

    def log_dict(self, values: Any, **options: Any) -> None:
        self.logged |= {name: float(value) for name, value in values.items()}

    def loss(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        return {"loss": logits.mean(), "double": 2 * logits.mean()}


def in_training(method: Noted, *, step: int = 0, last: bool = False, seed: int = 0, rank: int = 0) -> Noted:
    method.trainer = SimpleNamespace(  # type: ignore[assignment]
        is_last_batch=last, optimizers=[SimpleNamespace(param_groups=[{"lr": 0.5}])], global_step=step,
        global_rank=rank, datamodule=SimpleNamespace(seed=seed), strategy=SimpleNamespace(root_device=CPU),
    )  # fmt: skip
    return method


def batch_of_value(value: float) -> Batch:
    return {
        "image": torch.full((1, 1, 2, 4, 4), value),
        "reference": torch.zeros(1, 2, 4, 4),
        "valid": torch.ones(1, 2, 4, 4, dtype=torch.bool),
    }


def test_each_term_of_the_loss_is_logged_as_the_mean_of_its_epochs_batches() -> None:
    method = Noted()
    for values in ((1.0, 2.0, 6.0), (4.0, 8.0)):
        method.logged.clear()
        for index, value in enumerate(values):
            assert method.logged == {}
            loss = in_training(method, last=index == len(values) - 1).training_step(batch_of_value(value), index)
            assert loss.item() == value
        mean = sum(values) / len(values)
        expected = {"train/loss": mean, "train/double": 2 * mean, "train/learning_rate": 0.5}
        assert method.logged == pytest.approx(expected)


def test_terms_without_one_to_minimise_are_refused() -> None:
    class Nameless(Noted):
        def loss(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
            return {"dice": logits.mean()}

    with pytest.raises(InputError, match=r"Nameless.loss gives dice: call one term loss"):
        in_training(Nameless()).training_step(batch_of_value(1.0), 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda mean: mean, "gives a Tensor: return a dictionary of its terms"),
        (lambda mean: None, "gives a NoneType: return a dictionary"),
        (lambda mean: {"loss": mean, "share": 0.5}, "gives no single number for share: take the mean, as a tensor"),
        (lambda mean: {"loss": mean.expand(4)}, "gives no single number for loss"),
        (lambda mean: {"loss": mean.detach()}, "gives a loss without a gradient"),
    ],
)
def test_what_a_loss_gives_is_looked_at(given: Any, words: str) -> None:
    class Own(Noted):
        def loss(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
            terms: dict[str, torch.Tensor] = given(logits.mean())
            return terms

    method = in_training(Own())
    method.network = nn.Conv3d(1, 1, 1)
    with pytest.raises(InputError, match=rf"test_base\.py:\d+: Own\.loss {words}"):
        method.training_step(batch_of_value(1.0), 0)


def test_a_loss_that_raises_is_noted_with_the_shapes_it_was_given() -> None:
    class Own(Noted):
        def loss(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
            return {"loss": logits @ batch["missing"]}

    with pytest.raises(KeyError) as failed:
        in_training(Own()).training_step(batch_of_value(1.0), 0)
    assert failed.value.__notes__ == ["logits (1, 1, 2, 4, 4), reference (1, 2, 4, 4)"]


def test_an_optimiser_that_is_not_returned_is_told() -> None:
    method = in_training(Noted())
    method.trainer.optimizers = []
    with pytest.raises(InputError, match="configure_optimizers gives nothing: return the optimiser"):
        method.training_step(batch_of_value(1.0), 0)


CASE = {
    "image": torch.zeros(1, 2, 4, 4), "brain": torch.ones(2, 4, 4), "spacing_mm": (1.0, 1.0, 1.0), "case": 0,
}  # fmt: skip


def test_a_probability_of_another_size_is_told_with_both() -> None:
    class Own(Noted):
        def probability(self, logits: torch.Tensor) -> torch.Tensor:
            return logits[..., ::2, ::2].sigmoid()[:, 0]

    words = r"Own\.probability \(.*test_base\.py:\d+\) gives \(2, 2, 2\) .* on the case's grid of \(2, 4, 4\)"
    with pytest.raises(InputError, match=words):
        in_training(Own()).predict_case(CASE)


@pytest.mark.parametrize(
    "masks",
    [lambda mask: mask, lambda mask: {}, lambda mask: {"": mask.float()}, lambda mask: {"": mask[0]},
     lambda mask: {"": mask, "other": mask}, lambda mask: {"": mask.tolist()}],
    ids=["tensor", "empty", "float", "shape", "another row", "no tensor"],
)  # fmt: skip
def test_what_a_postprocessing_gives_is_looked_at(masks: Any) -> None:
    class Own(Noted):
        def postprocess(self, probability: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
            given: dict[str, torch.Tensor] = masks(probability > 0.5)
            return given

    with pytest.raises(InputError, match=r"test_base\.py:\d+: Own\.postprocess must give a dictionary with one bool"):
        in_training(Own()).predict_step(CASE, 0)


def test_a_picture_of_a_slice_looks_at_a_postprocessing_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.training import wandb_sink

    class Own(Noted):
        def postprocess(self, probability: torch.Tensor, batch: Batch) -> Any:
            return probability > 0.5

    monkeypatch.setattr(wandb_sink, "_wandb_of", lambda trainer: object())
    trainer: Any = SimpleNamespace(is_global_zero=True)
    with pytest.raises(InputError, match=r"Own\.postprocess must give a dictionary"):
        wandb_sink.SlicePicture().on_validation_batch_end(trainer, in_training(Own()), None, CASE, 0)


def test_a_network_that_is_not_returned_is_told() -> None:
    class Own(Noted):
        def configure_network(self, channels: int) -> Any:
            pass

    method = in_training(Own())
    method.data.channels = 5  # type: ignore[misc]
    del method.network
    with pytest.raises(InputError, match=r"test_base\.py:\d+: Own\.configure_network gives a NoneType: return"):
        method.configure_model()


def test_dropout_follows_from_seed_step_and_process_alone() -> None:
    def drawn(**where: int) -> float:
        torch.rand(3)  # whatever came before
        in_training(Noted(), **where).on_train_batch_start({}, 0)
        return torch.rand(()).item()

    first = drawn(step=7)
    assert drawn(step=7) == first
    assert len({first, drawn(step=8), drawn(step=7, seed=1), drawn(step=7, rank=1)}) == 4


@pytest.mark.parametrize(
    ("predicted", "present", "dice"),
    [((0, 1, 2), (1, 2, 3, 4, 5), 2 * 2 / 8), ((), (3,), 0.0), ((3,), (), 0.0), ((), (), 1.0)],
    ids=["overlap", "none predicted", "none there", "neither"],
)
def test_validation_logs_the_dice_of_the_mask_and_1_where_there_is_nothing_to_find(
    predicted: tuple[int, ...], present: tuple[int, ...], dice: float
) -> None:
    image, reference = torch.full((1, 2, 4, 4), -3.0), torch.zeros(2, 4, 4, dtype=torch.uint8)
    image.view(-1)[list(predicted)] = 3.0
    reference.view(-1)[list(present)] = 1
    item = {"image": image, "reference": reference, "brain": reference, "spacing_mm": (1.0, 1.0, 1.0)}
    method = in_training(Noted())
    method.validation_step(item, 0)
    assert method.logged == {"val/dice": pytest.approx(dice)}
