from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.methods.plain_unet import PlainUNetMethod
from benchmark.methods.plain_unet.loss import deep_supervision, lesion_dice, supervision_weights
from benchmark.methods.plain_unet.network import PlainUNet
from leaderboard.errors import InputError


def small(dimensions: int = 2) -> PlainUNet:
    """Three stages of few channels."""
    if dimensions == 2:
        return PlainUNet(2, (4, 8, 8), ((3, 3),) * 3, ((1, 1), (2, 2), (2, 2)))
    return PlainUNet(2, (4, 8, 8), ((1, 3, 3), (1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2), (2, 2, 2)))


@pytest.mark.parametrize(("dimensions", "count"), [(2, 33_472_972), (3, 28_881_930)])
def test_the_number_of_weights_is_the_specifications(dimensions: int, count: int) -> None:
    with torch.device("meta"):
        network = PlainUNetMethod(dimensions).configure_network(5)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("size", [(128, 128), (64, 128), (256, 256)])
def test_in_2d_every_decoder_resolution_has_logits_while_training_and_the_finest_alone_otherwise(
    size: tuple[int, int],
) -> None:
    with torch.device("meta"):
        network = PlainUNetMethod(2).configure_network(5)
        image = torch.empty(1, 5, *size)
    shapes = [tuple(part.shape) for part in network(image)]
    assert shapes == [(1, 2, size[0] >> level, size[1] >> level) for level in range(6)]
    assert [tuple(part.shape) for part in network.eval()(image)] == [(1, 2, *size)]


@pytest.mark.parametrize("depth", [2, 4, 8, 16, 22])
@pytest.mark.parametrize("size", [64, 256])
def test_in_3d_depths_of_the_cohort_pass(depth: int, size: int) -> None:
    with torch.device("meta"):
        network = PlainUNetMethod(3).configure_network(5)
        shapes = [tuple(part.shape[2:]) for part in network(torch.empty(1, 5, depth, size, size))]
    assert shapes == [(depth, size, size), *((depth, size >> level, size >> level) for level in (1, 2, 3)),
                      (depth // 2, size >> 4, size >> 4)]  # fmt: skip


def test_sizes_that_the_strides_do_not_divide_and_stages_of_one_voxel_are_refused() -> None:
    with torch.device("meta"):
        network = PlainUNetMethod(2).configure_network(5)
        with pytest.raises(ValueError, match="multiples of 64 x 64, not 96 x 128"):
            network(torch.empty(1, 5, 96, 128))
        with pytest.raises(ValueError, match="take fewer stages"):
            network(torch.empty(1, 5, 64, 64))
        assert PlainUNetMethod(2, stages=5).configure_network(5)(torch.empty(1, 5, 64, 64))
        with pytest.raises(ValueError, match="multiples of 2 x 32 x 32, not 3 x 64 x 64"):
            PlainUNetMethod(3).configure_network(5)(torch.empty(1, 5, 3, 64, 64))


def test_odd_depths_are_padded_by_the_preparation() -> None:
    image = PlainUNetMethod(3).preparation.image(torch.rand(5, 3, 64, 64), torch.ones(3, 64, 64), (1.0, 1.0, 5.0))
    assert image.shape == (5, 4, 64, 64)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_weight_receives_gradient(dimensions: int) -> None:
    torch.manual_seed(0)
    network = small(dimensions)
    shape = (16, 16) if dimensions == 2 else (2, 16, 16)
    reference = (torch.rand(2, *shape) > 0.7).byte()
    logits = network(torch.randn(2, 2, *shape))
    deep_supervision(logits, reference, torch.ones(2, *shape, dtype=torch.bool), batch_dice=True)["loss"].backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("depth", range(1, 5))
def test_in_bf16_the_3d_networks_gradients_are_those_of_float32(depth: int) -> None:
    torch.manual_seed(0)
    network = PlainUNet(2, (8, 8), ((1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2)))
    image = torch.randn(1, 2, depth, 32, 32)
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = network(image)
        sum(part.float().square().mean() for part in logits).backward()
        gradients.append(torch.cat([p.grad.flatten() for m in network.modules() if isinstance(m, nn.Conv3d)
                                    for p in [m.weight]]))  # fmt: skip
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.995
    assert gradients[1].norm().item() == pytest.approx(gradients[0].norm().item(), rel=0.05)


def test_supervision_halves_with_each_resolution_and_the_coarsest_counts_almost_nothing() -> None:
    weights = supervision_weights(4)
    assert sum(weights) == pytest.approx(1)
    assert np.allclose(np.array(weights) / weights[0], [1, 1 / 2, 1 / 4, 1e-6])
    assert supervision_weights(1) == [1.0]


def test_the_loss_equals_a_calculation_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 2, 8, 8, generator=generator), torch.randn(2, 2, 4, 4, generator=generator)]
    reference = (torch.rand(2, 8, 8, generator=generator) > 0.6).byte()
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[1, :, 6:] = False
    for batch_dice in (True, False):
        dice, entropy = 0.0, 0.0
        for level, (part, weight) in enumerate(zip(logits, (1 / 1.000001, 1e-6 / 1.000001), strict=True)):
            offset, step = level, 2**level  # nearest-exact: the second of each pair
            g, inside = (x.numpy()[:, offset::step, offset::step].astype(float) for x in (reference, valid))
            scores = np.exp(part.double().numpy())
            p = scores[:, 1] / scores.sum(axis=1)
            groups = [slice(None)] if batch_dice else [slice(0, 1), slice(1, 2)]
            each = []
            for group in groups:
                tp = (p[group] * g[group] * inside[group]).sum()
                size = (p[group] * inside[group]).sum() + (g[group] * inside[group]).sum()
                each.append(1 - (2 * tp + 1e-5) / (size + 1e-5))
            dice += weight * np.mean(each)
            entropy += weight * -(np.log(np.where(g > 0, p, 1 - p)) * inside).sum() / inside.sum()
        found = deep_supervision(logits, reference, valid, batch_dice=batch_dice)
        assert found["dice"].item() == pytest.approx(dice, rel=1e-5)
        assert found["cross_entropy"].item() == pytest.approx(entropy, rel=1e-5)
        assert found["loss"].item() == pytest.approx(dice + entropy, rel=1e-5)


def test_without_lesion_the_loss_is_finite_in_bf16() -> None:
    logits = torch.randn(2, 2, 8, 8).bfloat16().requires_grad_()
    empty, valid = torch.zeros(2, 8, 8, dtype=torch.uint8), torch.ones(2, 8, 8, dtype=torch.bool)
    found = deep_supervision([logits], empty, valid, batch_dice=True)["loss"]
    found.backward()
    assert math.isfinite(found.item())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (
        lesion_dice(torch.tensor([[[[50.0]], [[-50.0]]]]), torch.zeros(1, 1, 1), torch.ones(1, 1, 1), batch_dice=True)
        == 0
    )


def test_mirrored_prediction_of_a_flipped_image_is_the_flipped_prediction() -> None:
    method = PlainUNetMethod(2, stages=3)
    method.network = small().eval()
    image = torch.randn(2, 2, 16, 16)
    with torch.no_grad():
        plain = method.predict_images(image)
        for axes in ((-1,), (-2,), (-2, -1)):
            torch.testing.assert_close(method.predict_images(image.flip(axes)).flip(axes), plain)
        assert not torch.allclose(method.probability(method.network(image)), plain)
        method.mirror = False
        assert torch.equal(method.predict_images(image), method.probability(method.network(image)))


def test_more_stages_than_planned_are_refused() -> None:
    with pytest.raises(InputError, match="stages must be 2 to 7"):
        PlainUNetMethod(2, stages=8)
