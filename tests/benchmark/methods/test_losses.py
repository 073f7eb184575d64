from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmark.methods.losses import focal, generalised_dice, weighted_cross_entropy


def everything(reference: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(reference, dtype=torch.bool)


def two_class(probability: np.ndarray) -> torch.Tensor:
    """Logits whose softmax gives this lesion probability."""
    return torch.from_numpy(np.stack([np.log(1 - probability), np.log(probability)], axis=1))


# ---- generalised Dice: each of the four pitfalls of its README -----------------------------------------------


def test_generalised_dice_equals_the_formula_by_hand() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, (2, 6, 7))
    r = (rng.random((2, 6, 7)) < 0.3).astype(np.uint8)
    numerator = denominator = 0.0
    for own, prob in ((r, p), (1 - r, 1 - p)):
        weight = 1 / max(own.mean(), 1e-3) ** 2
        numerator += weight * (own * prob).mean()
        denominator += weight * (own + prob).mean()
    reference = torch.from_numpy(r)
    assert generalised_dice(two_class(p), reference, everything(reference)).item() == pytest.approx(
        1 - 2 * numerator / denominator, rel=1e-4
    )


def test_pitfall_1_a_batch_without_lesion_gives_zero_and_no_gradient_not_nan() -> None:
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    reference = torch.zeros(2, 8, 8, dtype=torch.uint8)
    loss = generalised_dice(logits, reference, everything(reference))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad.any()


def test_pitfall_2_the_smoothing_weighs_the_same_on_a_slice_and_on_a_volume() -> None:
    values = []
    for repeats in (1, 64):
        p = np.full((repeats, 64, 64), 0.3)
        r = np.zeros((repeats, 64, 64), np.uint8)
        r[:, :8, :8] = 1
        values.append(generalised_dice(two_class(p), torch.from_numpy(r), everything(torch.from_numpy(r))).item())
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def _false_positives(lesions: list[int], share: float) -> float:
    """Loss of slices of 256 x 256 that are perfect on a lesion of so many pixels, with false positives elsewhere."""
    p, r = np.full((len(lesions), 256 * 256), share), np.zeros((len(lesions), 256 * 256), np.uint8)
    for row, pixels in enumerate(lesions):
        r[row, :pixels], p[row, :pixels] = 1, 1 - 1e-9
    reference = torch.from_numpy(r.reshape(-1, 256, 256))
    return generalised_dice(two_class(p.reshape(-1, 256, 256)), reference, everything(reference)).item()


@pytest.mark.parametrize(("pixels", "share", "loss"), [(50, 0.001, 0.396), (50, 0.01, 0.867), (5000, 0.001, 0.006)])
def test_pitfall_3_a_tiny_lesion_alone_dominates_as_the_readme_calculates(
    pixels: int, share: float, loss: float
) -> None:
    assert _false_positives([pixels], share) == pytest.approx(loss, abs=2e-3)


def test_pitfall_3_within_a_batch_a_tiny_lesion_does_not_dominate() -> None:
    assert _false_positives([50, 5000, 5000, 5000], 0.001) < 0.02


def test_pitfall_3_it_is_computed_over_the_batch_not_over_slices() -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(0.05, 0.95, (2, 16, 16))
    r = np.zeros((2, 16, 16), np.uint8)
    r[0, :8] = 1
    r[1, 0, 0] = 1
    whole = generalised_dice(two_class(p), torch.from_numpy(r), everything(torch.from_numpy(r)))
    stacked_p, stacked_r = p.reshape(1, 32, 16), torch.from_numpy(r.reshape(1, 32, 16))
    assert whole.item() == pytest.approx(
        generalised_dice(two_class(stacked_p), stacked_r, everything(stacked_r)).item(), rel=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pitfall_4_sums_are_in_float32(dtype: torch.dtype) -> None:
    logits = torch.randn(1, 2, 256, 256)
    reference = torch.zeros(1, 256, 256, dtype=torch.uint8)
    reference[0, :100, :100] = 1
    low = generalised_dice(logits.to(dtype), reference, everything(reference))
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(generalised_dice(logits, reference, everything(reference)).item(), abs=2e-3)


def test_generalised_dice_is_zero_for_a_perfect_prediction_and_one_for_its_opposite() -> None:
    reference = torch.zeros(1, 16, 16, dtype=torch.uint8)
    reference[0, 4:9, 4:9] = 1
    sure = torch.stack([1 - reference.float(), reference.float()], dim=1) * 60 - 30
    assert generalised_dice(sure, reference, everything(reference)).item() == pytest.approx(0, abs=1e-5)
    assert generalised_dice(-sure, reference, everything(reference)).item() == pytest.approx(1, abs=1e-5)


# ---- weighted cross-entropy --------------------------------------------------------------------------------------


def test_weighted_cross_entropy_equals_a_loop_over_pixels() -> None:
    rng = np.random.default_rng(2)
    p = rng.uniform(0.05, 0.95, (2, 20, 20))
    r = np.zeros((2, 20, 20), np.uint8)
    r[0, 9:11, 5] = 1
    near = np.stack([ndimage.binary_dilation(slice_, np.ones((7, 7))) for slice_ in r])
    weights = np.where(near, 8.0, 1.0)
    entropy = -np.log(np.where(r, p, 1 - p))
    reference = torch.from_numpy(r)
    result = weighted_cross_entropy(two_class(p), reference, everything(reference), 8.0)
    assert result.item() == pytest.approx((weights * entropy).sum() / weights.sum(), rel=1e-5)


def test_weight_one_is_the_plain_cross_entropy() -> None:
    logits, reference = torch.randn(2, 2, 9, 9), torch.randint(0, 2, (2, 9, 9))
    plain = torch.nn.functional.cross_entropy(logits, reference)
    assert weighted_cross_entropy(logits, reference, everything(reference), 1.0).item() == pytest.approx(plain.item())


# ---- focal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "gamma"), [(0.75, 2.0), (0.25, 2.0), (0.75, 0.0), (0.5, 0.7)])
def test_focal_equals_a_loop_over_voxels(alpha: float, gamma: float) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 1, 3, 5, 5))
    r = (rng.random((2, 3, 5, 5)) < 0.2).astype(np.uint8)
    total = 0.0
    for x, lesion in zip(logits[:, 0].ravel(), r.ravel(), strict=True):
        p = 1 / (1 + math.exp(-x))
        p_t, alpha_t = (p, alpha) if lesion else (1 - p, 1 - alpha)
        total -= alpha_t * (1 - p_t) ** gamma * math.log(p_t)
    reference = torch.from_numpy(r)
    result = focal(torch.from_numpy(logits), reference, everything(reference), alpha=alpha, gamma=gamma)
    assert result.item() == pytest.approx(total / max(r.sum(), 1e-3 * r.size, 1), rel=1e-5)


def test_focal_without_lesion_is_normalised_by_a_thousandth_of_the_voxels() -> None:
    logits, reference = torch.zeros(1, 1, 10, 100, 100), torch.zeros(1, 10, 100, 100)
    result = focal(logits, reference, everything(reference), alpha=0.75, gamma=0.0)
    assert result.item() == pytest.approx(0.25 * math.log(2) * 1e5 / 100, rel=1e-5)


@pytest.mark.parametrize("extreme", [-200.0, 200.0])
def test_focal_stays_finite_at_extreme_logits(extreme: float) -> None:
    logits = torch.full((1, 1, 2, 4, 4), extreme, dtype=torch.bfloat16, requires_grad=True)
    reference = torch.zeros(1, 2, 4, 4)
    reference[0, 0, 0, 0] = 1
    loss = focal(logits, reference, everything(reference), alpha=0.75, gamma=2.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


# ---- padding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["generalised_dice", "weighted_cross_entropy", "focal"])
def test_padded_voxels_change_nothing(name: str) -> None:
    # Height and width are padded far from the lesion, so that its dilation does not reach the padding's edge.
    channels = 1 if name == "focal" else 2
    logits, reference = torch.randn(2, channels, 16, 16), torch.zeros(2, 16, 16, dtype=torch.uint8)
    reference[:, 3:6, 3:6] = 1
    compute = {
        "generalised_dice": generalised_dice,
        "weighted_cross_entropy": lambda *arguments: weighted_cross_entropy(*arguments, 5.0),
        "focal": lambda *arguments: focal(*arguments, alpha=0.75, gamma=2.0),
    }[name]
    plain = compute(logits, reference, everything(reference))
    pad = torch.nn.functional.pad
    padded = compute(
        pad(logits, (0, 8), value=3.0), pad(reference, (0, 8)), pad(everything(reference), (0, 8), value=False)
    )
    assert padded.item() == pytest.approx(plain.item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("lesion", [True, False], ids=["lesion", "none"])
@pytest.mark.parametrize(
    ("loss", "classes"),
    [
        (generalised_dice, 2),
        (functools.partial(weighted_cross_entropy, weight=10.0), 2),
        (functools.partial(focal, alpha=0.75, gamma=2.0), 1),
    ],
    ids=["generalised Dice", "weighted cross-entropy", "focal"],
)
def test_in_16_bits_and_without_lesion_value_and_gradient_are_finite_and_in_32_bits(
    loss: Any, classes: int, lesion: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    logits = (20 * torch.randn(2, classes, 16, 16)).to(dtype).requires_grad_()
    reference = torch.zeros(2, 16, 16)
    reference[0, 4:9, 4:9] = float(lesion)
    valid = torch.ones(2, 16, 16, dtype=torch.bool)
    value = loss(logits, reference, valid)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    exact = loss(logits.detach().double().float(), reference, valid)
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)
