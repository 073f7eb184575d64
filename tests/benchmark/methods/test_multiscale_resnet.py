from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmark.methods.multiscale_resnet import MultiScaleResNetMethod
from benchmark.methods.multiscale_resnet.loss import multiscale_dice
from benchmark.methods.multiscale_resnet.network import MultiScaleResNet
from benchmark.pipeline.augment import draw
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.curriculum import ConstantCurriculum
from benchmark.pipeline.datasets import MethodView, TrainingSamples, WholeCases
from benchmark.pipeline.inplane import sample
from benchmark.pipeline.midline import mirror_map
from benchmark.pipeline.preparation import PadToMultiple, Plane, Preparation, with_neighbours
from benchmark.pipeline.sampling import Key
from benchmark.pipeline.store import Store
from leaderboard.errors import InputError


@pytest.mark.parametrize(("channels", "count"), [(30, 5_221_640), (42, 5_279_624), (24, 5_192_648)])
def test_the_number_of_weights_is_the_readmes(channels: int, count: int) -> None:
    with torch.device("meta"):
        network = MultiScaleResNet(channels)
    assert sum(p.numel() for p in network.parameters()) == count


def test_five_maps_make_thirty_channels() -> None:
    with torch.device("meta"):
        network: Any = MultiScaleResNetMethod().configure_network(5)
    assert network.encoders[0][0].in_channels == 30


@pytest.mark.parametrize("size", [(64, 64), (64, 80), (240, 240), (256, 256)])
def test_every_level_of_the_upscaling_path_has_logits(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        logits = MultiScaleResNet(30)(torch.empty(2, 30, *size))
    assert [tuple(at_level.shape) for at_level in logits] == [
        (2, 2, size[0] >> level, size[1] >> level) for level in range(4)
    ]


def test_sizes_that_are_no_multiples_of_16_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"multiples of 16, not 64 x 100"):
        MultiScaleResNet(2)(torch.zeros(1, 2, 64, 100))


def test_the_pooled_input_of_every_level_reaches_the_lowest() -> None:
    """The first channels of what goes down are the network's input, averaged over ever larger blocks."""
    network = MultiScaleResNet(3).eval()
    seen = []
    network.lowest.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(1, 3, 64, 64)
    network(x)
    assert seen[0].shape[1] == 3 + 32 + 64 + 128 + 256
    torch.testing.assert_close(seen[0][:, :3], functional.avg_pool2d(x, 16))


def test_the_activation_goes_down_by_its_maximum() -> None:
    network = MultiScaleResNet(3).eval()
    activations, inputs = [], []
    network.encoders[0].register_forward_hook(lambda _, __, output: activations.append(output.clone()))
    network.encoders[1].register_forward_pre_hook(lambda _, taken: inputs.append(taken[0]))
    network(torch.randn(1, 3, 32, 32))
    blocks = activations[0].reshape(1, 32, 16, 2, 16, 2)
    assert torch.equal(inputs[0][:, 3:], blocks.amax(dim=(3, 5)))
    # Leaky with a slope of 0.01: what is negative stays so, a hundredth as large.
    positive, negative = activations[0].clamp(min=0).mean(), (-activations[0]).clamp(min=0).mean()
    assert 0.001 < negative / positive < 0.1


def test_batch_normalisation_follows_every_convolution_but_the_classifiers() -> None:
    network = MultiScaleResNet(3)
    levels = [*network.encoders, network.lowest, *network.decoders]
    kinds = [[type(layer).__name__ for layer in level] for level in levels]
    assert kinds == [["Conv2d", "BatchNorm2d", "LeakyReLU"] * 2] * 9
    kernels = [level[0].kernel_size for level in levels]
    assert kernels == [(3, 3)] * 4 + [(1, 1)] + [(3, 3)] * 4


def test_every_weight_receives_gradient() -> None:
    network = MultiScaleResNet(3)
    logits = network(torch.randn(2, 3, 32, 32))
    reference = (torch.rand(2, 32, 32) > 0.7).byte()
    multiscale_dice(logits, reference, torch.ones(2, 32, 32, dtype=torch.bool), lesion_prior=0.02).backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def by_hand(logits: list[torch.Tensor], reference: np.ndarray, prior: float) -> float:
    """The formula of the docstring with loops over levels, classes and blocks of pixels; nothing is padded."""
    total = 0.0
    for level, at_level in enumerate(logits):
        block = 2**level
        n, h, w = reference.shape
        share = reference.reshape(n, h // block, block, w // block, block).mean(axis=(2, 4))
        scores = np.exp(at_level.double().numpy())
        dice = 0.0
        for c, (pi, truth) in enumerate(((1 - prior, 1 - share), (prior, share))):
            p = scores[:, c] / scores.sum(axis=1)
            weight = (1 / pi) / (1 / prior + 1 / (1 - prior))
            dice += weight * (2 * (p * truth).sum() + 1) / ((p**2).sum() + (truth**2).sum() + 1)
        total += 1 - dice
    return total


def test_the_loss_equals_the_formula_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(3, 2, 16 >> level, 16 >> level, generator=generator) for level in range(4)]
    reference = np.zeros((3, 16, 16))
    reference[0, 2:9, 3:5] = reference[2, 10:, 10:] = 1
    valid = torch.ones(3, 16, 16, dtype=torch.bool)
    found = multiscale_dice(logits, torch.from_numpy(reference), valid, lesion_prior=0.015)
    assert found.item() == pytest.approx(by_hand(logits, reference, 0.015), rel=1e-5)


def test_padding_changes_nothing() -> None:
    logits = [torch.randn(2, 2, 16 >> level, 16 >> level) for level in range(4)]
    reference = (torch.rand(2, 16, 16) > 0.8).byte()
    valid = torch.ones(2, 16, 16, dtype=torch.bool)
    wide = [torch.cat([part, torch.randn_like(part)], dim=3) for part in logits]
    padded = [functional.pad(part, (0, 16)) for part in (reference, valid)]
    one = multiscale_dice(logits, reference, valid, lesion_prior=0.02)
    other = multiscale_dice(wide, padded[0], padded[1].bool(), lesion_prior=0.02)
    torch.testing.assert_close(one, other)


def test_without_lesion_the_loss_in_bf16_is_finite_and_falls_with_fewer_false_positives() -> None:
    empty, valid = torch.zeros(2, 16, 16, dtype=torch.uint8), torch.ones(2, 16, 16, dtype=torch.bool)

    def loss(lesion_logit: float) -> float:
        part = torch.tensor([0.0, lesion_logit], dtype=torch.bfloat16)[None, :, None, None]
        logits = [part.expand(2, 2, 16 >> level, 16 >> level) for level in range(4)]
        return multiscale_dice(logits, empty, valid, lesion_prior=0.015).item()

    assert np.isfinite(loss(0.0))
    assert loss(0.0) > loss(-3.0) > loss(-6.0)


def test_bf16_logits_lose_nothing_but_their_own_digits() -> None:
    # The same logits everywhere: what a softmax in bf16 rounds does not average out.
    pair = torch.tensor([0.3, -1.1], dtype=torch.bfloat16)[None, :, None, None]
    logits = [pair.expand(2, 2, 64 >> level, 64 >> level) for level in range(4)]
    reference = np.zeros((2, 64, 64))
    reference[0, 20:30, 20:27] = 1
    valid = torch.ones(2, 64, 64, dtype=torch.bool)
    found = multiscale_dice(logits, torch.from_numpy(reference), valid, lesion_prior=0.015)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(by_hand([part.float() for part in logits], reference, 0.015), rel=1e-5)


def trained(method: MultiScaleResNetMethod, **trainer: Any) -> MultiScaleResNetMethod:
    """The method as in a training whose trainer has these attributes."""
    method._trainer = SimpleNamespace(**trainer)  # type: ignore[assignment]
    return method


def test_the_loss_takes_the_prior_from_the_training_fold() -> None:
    method = trained(MultiScaleResNetMethod(), datamodule=SimpleNamespace(background_per_lesion=49.0))
    logits = [torch.randn(2, 2, 16 >> level, 16 >> level) for level in range(4)]
    reference = np.zeros((2, 16, 16))
    reference[1, 3:9, 2:6] = 1
    batch = {"reference": torch.from_numpy(reference), "valid": torch.ones(2, 16, 16, dtype=torch.bool)}
    terms = method.loss(logits, batch)
    assert terms["loss"].item() == pytest.approx(by_hand(logits, reference, 1 / 50), rel=1e-5)


def test_the_prediction_is_the_lesion_class_of_the_finest_level() -> None:
    logits = [torch.randn(2, 2, 16 >> level, 16 >> level) for level in range(4)]
    probability = MultiScaleResNetMethod().probability(logits)
    scores = np.exp(logits[0].double().numpy())
    np.testing.assert_allclose(probability.numpy(), scores[:, 1] / scores.sum(axis=1), rtol=1e-5)
    assert torch.equal(probability > 0.5, logits[0].argmax(dim=1) == 1)


@pytest.mark.parametrize(("decay", "halfway"), [(0.0, 1.0), (0.9, 0.5**0.9)])
def test_the_recipe_is_adam_with_a_constant_or_a_polynomial_learning_rate(decay: float, halfway: float) -> None:
    method = trained(MultiScaleResNetMethod(decay=decay), estimated_stepping_batches=100)
    method.network = torch.nn.Linear(1, 1)
    recipe: Any = method.configure_optimizers()
    assert type(recipe["optimizer"]) is torch.optim.Adam
    settings = recipe["optimizer"].defaults
    assert (settings["lr"], settings["betas"], settings["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-5)
    (factor,) = recipe["lr_scheduler"]["scheduler"].lr_lambdas
    assert recipe["lr_scheduler"]["interval"] == "step"
    assert (factor(0), factor(50)) == pytest.approx((1.0, halfway))


def test_the_first_authors_own_momentum_is_an_option() -> None:
    method = trained(MultiScaleResNetMethod(first_beta=0.99), estimated_stepping_batches=100)
    method.network = torch.nn.Linear(1, 1)
    recipe: Any = method.configure_optimizers()
    assert recipe["optimizer"].defaults["betas"] == (0.99, 0.999)


def mirrored(image: torch.Tensor, pixels: np.ndarray) -> torch.Tensor:
    """(C, D, H, W), each slice through a map."""
    slices = sample(image.transpose(0, 1), [pixels] * image.shape[1], (image.shape[2], image.shape[3]), "border")
    return slices.transpose(0, 1)


def test_channels_are_maps_then_mirror_images_then_neighbours(cached: list[CachedCase]) -> None:
    store = Store(cached, torch.device("cpu"))
    item = WholeCases(store, MultiScaleResNetMethod(pixel_mm=None, size=None).view_of(1))[2]
    plain = WholeCases(store, MethodView("slices", 0, PadToMultiple(16), ConstantCurriculum()))[2]
    case = cached[2]
    assert torch.equal(item["image"][:5], plain["image"])
    assert torch.equal(item["image"][5:], mirrored(plain["image"], mirror_map(case.midline, case.spacing_mm)))
    stacked = with_neighbours(item["image"], torch.tensor([1]), 1)
    assert stacked.shape[1] == 30
    assert torch.equal(stacked[0, 10:15], plain["image"][:, 1])  # the slice itself is the middle third


def test_the_mirror_image_of_an_augmented_head_is_the_augmented_mirror_image(cached: list[CachedCase]) -> None:
    """Whichever way a head was turned, each half lies beside its own other half."""
    store, case = Store(cached, torch.device("cpu")), cached[20]
    views = [
        MultiScaleResNetMethod(pixel_mm=None, size=None).view_of(1),
        MethodView("volumes", 0, Brain(), ConstantCurriculum()),
    ]
    served, brains = (TrainingSamples(store, view, seed=3) for view in views)
    original = torch.from_numpy(case.zscored()).transpose(0, 1)
    reflected = mirrored(original, mirror_map(case.midline, case.spacing_mm))
    moved = 0
    for epoch in range(6):
        drawn = replace(draw(5, seed=3, epoch=epoch, case=case.number), gammas=None, noise=None)
        pixels = drawn.pixels(case.size, case.pixel_mm)
        key = Key(epoch, 20, tuple(range(case.depth)))
        seen = served[[key]]["image"].unflatten(1, (3, 2, 5))[:, 1]  # the slices themselves, both halves
        inside = brains[[Key(epoch, 20)]]["image"][0, 0] > 0
        expected = mirrored(reflected, pixels)
        for channel in range(5):
            pair = torch.stack([seen[:, 1, channel][inside], expected[channel][inside]])
            assert torch.corrcoef(pair)[0, 1] > 0.85  # noise and gamma are in one of them
        moved += not np.allclose(pixels, np.eye(2, 3))
    assert moved > 3


class Brain(Preparation):
    """Serves the brain mask as the image."""

    def image(self, image: torch.Tensor, brain: torch.Tensor, planes: Sequence[Plane]) -> torch.Tensor:
        return brain[:, None].float()


@pytest.mark.parametrize(
    "wrong", [{"size": None}, {"pixel_mm": None}, {"size": 100}, {"pixel_mm": None, "size": None, "slice_mm": 5.0}]
)
def test_settings_that_do_not_fit_together_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="correct the config"):
        MultiScaleResNetMethod(**wrong)
