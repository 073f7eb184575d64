from __future__ import annotations

import pytest
import torch
from recipe import running
from slabs import prepare, prepare_reference

from benchmark.methods.plain_unet import PlainUNetMethod
from benchmark.methods.plain_unet.network import PlainUNet
from leaderboard.errors import InputError


def small(dimensions: int = 2) -> PlainUNet:
    """Three stages of few channels."""
    if dimensions == 2:
        return PlainUNet(2, (4, 8, 8), ((3, 3),) * 3, ((1, 1), (2, 2), (2, 2)))
    return PlainUNet(2, (4, 8, 8), ((1, 3, 3), (1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2), (2, 2, 2)))


def test_odd_depths_repeat_their_last_slice_in_image_and_reference_and_the_inverse_drops_it() -> None:
    preparation, spacing_mm = PlainUNetMethod(3).preparation, (1.0, 1.0, 5.0)
    image, reference = torch.rand(5, 3, 64, 40), (torch.rand(3, 64, 40) > 0.5).byte()
    prepared, truth = (
        prepare(preparation, image, spacing_mm),
        prepare_reference(preparation, reference, spacing_mm),
    )
    assert prepared.shape == (5, 4, 64, 64)
    assert torch.equal(prepared[:, :3, :, :40], image)
    assert torch.equal(prepared[:, 3], prepared[:, 2])
    assert truth.shape == (4, 64, 64)
    assert torch.equal(truth[:3, :, :40], reference)
    assert torch.equal(truth[3], truth[2])
    assert not truth[:, :, 40:].any()
    assert torch.equal(preparation.inverse(truth, (3, 64, 40), spacing_mm), reference)


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


def test_a_network_that_was_trained_without_augmentation_is_not_mirrored() -> None:
    method = PlainUNetMethod(2, stages=3)
    method.network = small().eval()
    image = torch.randn(2, 2, 16, 16)
    with torch.no_grad():
        mirrored, plain = method.predict_images(image), method.probability(method.network(image))
        for augmented, expected in ((True, mirrored), (False, plain)):
            running(method, augmented=augmented)
            assert torch.equal(method.predict_images(image), expected)


def test_in_3d_mirroring_is_in_plane() -> None:
    method = PlainUNetMethod(3, stages=3)
    method.network = small(3).eval()
    image = torch.randn(1, 2, 4, 16, 16)
    with torch.no_grad():
        plain = method.predict_images(image)
        torch.testing.assert_close(method.predict_images(image.flip(-2)).flip(-2), plain)
        assert not torch.allclose(method.predict_images(image.flip(2)).flip(2), plain)


def test_the_optimiser_is_nnunets_and_its_rate_falls_polynomially_to_zero() -> None:
    method = PlainUNetMethod(2, stages=3)
    method.network = small()
    running(method, steps=4)
    configured = method.configure_optimizers()
    optimiser, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    (group,) = optimiser.param_groups
    assert isinstance(optimiser, torch.optim.SGD)
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.99, True, 3e-5)
    assert len(group["params"]) == len(list(method.network.parameters()))
    assert configured["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(5):
        rates.append(group["lr"])
        optimiser.step()
        schedule.step()
    # 0.01 times 1, 0.75^0.9, 0.5^0.9, 0.25^0.9, 0, from a table of powers.
    assert rates == pytest.approx([0.01, 0.0077189, 0.0053589, 0.0028717, 0.0], abs=1e-7)


def test_more_stages_than_planned_are_refused() -> None:
    with pytest.raises(InputError, match="stages must be 2 to 7"):
        PlainUNetMethod(2, stages=8)
