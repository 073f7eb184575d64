from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from benchmark.methods.fcn3d_crf.loss import cross_entropy_and_soft_dice
from benchmark.methods.fcn3d_crf.module import FCN3DCRFMethod, decay
from benchmark.methods.fcn3d_crf.network import FCN3D, Down, Residual, Up
from benchmark.suite.config_files import shipped_configs


@pytest.fixture(scope="module")
def network() -> FCN3D:
    torch.manual_seed(0)
    return FCN3D(5)


# ---- network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "parameters"), [(5, 43_943_969), (6, 43_945_969)])
def test_it_has_the_specified_number_of_parameters(channels: int, parameters: int) -> None:
    assert sum(p.numel() for p in FCN3D(channels).parameters() if p.requires_grad) == parameters


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16, 22])
def test_it_takes_every_depth_of_the_cohort(network: FCN3D, depth: int) -> None:
    with torch.no_grad():
        assert network(torch.rand(1, 5, depth, 16, 16)).shape == (1, 1, depth, 16, 16)


@pytest.mark.parametrize("size", [(64, 64), (96, 90), (65, 79), (17, 1)])
def test_it_takes_every_height_and_width(network: FCN3D, size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert network(torch.rand(1, 5, 2, *size)).shape == (1, 1, 2, *size)


def test_two_slices_become_one_at_the_first_step_down_and_stay_one(network: FCN3D) -> None:
    sizes = []
    hooks = [
        encoder.register_forward_hook(lambda *call: sizes.append(tuple(call[-1].shape[1:])))
        for encoder in network.encoders
    ]
    with torch.no_grad():
        network(torch.rand(1, 5, 2, 96, 90))
    for hook in hooks:
        hook.remove()
    assert sizes == [(16, 2, 96, 90), (32, 1, 48, 45), (64, 1, 24, 23), (128, 1, 12, 12), (256, 1, 6, 6)]


def test_the_step_down_pads_odd_axes_at_their_end_with_zeros() -> None:
    torch.manual_seed(0)
    down = Down(2)
    x = torch.randn(1, 2, 3, 4, 5)
    weight, bias = down.convolution.weight.detach().numpy(), down.convolution.bias.detach().numpy()
    expected = np.zeros((4, 2, 2, 3))
    for place in np.ndindex(2, 2, 3):
        value = bias.astype(float)
        for tap in np.ndindex(2, 2, 2):
            voxel = [2 * p + t for p, t in zip(place, tap, strict=True)]
            if all(v < size for v, size in zip(voxel, x.shape[2:], strict=True)):
                value = value + weight[(..., *tap)] @ x[(0, slice(None), *voxel)].numpy()
        expected[(slice(None), *place)] = np.where(value > 0, value, 0.1 * value)
    np.testing.assert_allclose(down(x)[0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 4, 3), (2, 5, 6)])
def test_the_step_up_is_the_gradient_of_the_step_down(size: tuple[int, int, int]) -> None:
    # That is TensorFlow's definition of a transposed convolution with 'SAME' padding and a given output size.
    torch.manual_seed(0)
    down, up = Down(2), Up(4)
    up.convolution.weight.data = down.convolution.weight.data
    nn.init.zeros_(up.convolution.bias)
    up.activation = nn.Identity()
    down.activation = nn.Identity()
    skip = torch.randn(1, 2, *size, requires_grad=True)
    forward = down(skip)
    x = torch.randn_like(forward)
    (expected,) = torch.autograd.grad(forward, skip, x)
    torch.testing.assert_close(up(x, skip), expected)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
def test_the_gradients_of_both_steps_in_bfloat16_are_those_of_float32(depth: int) -> None:
    torch.manual_seed(0)
    down, up = Down(16), Up(32)
    down.activation = up.activation = nn.Identity()  # a rounding that changes a sign would count as an error
    x = torch.randn(2, 16, depth, 9, 8)
    weights = [down.convolution.weight, up.convolution.weight]
    direction = torch.randn(2, 16, depth, 9, 8)

    def gradients(low: bool) -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            output = up(down(x), x)
        return list(torch.autograd.grad(output.float(), weights, direction))

    expected = gradients(False)
    for _ in range(3):
        for found, right in zip(gradients(True), expected, strict=True):
            assert (found - right).norm() / right.norm() < 0.02


def test_the_residual_is_added_after_the_activation() -> None:
    level = Residual(3, 3, 1)
    nn.init.zeros_(level.body[0][0].weight)
    nn.init.constant_(level.body[0][0].bias, -1.0)
    shortcut = torch.full((1, 3, 2, 4, 4), 5.0)
    # Added before, it would be the activation of -1 + 5.
    torch.testing.assert_close(level(shortcut, shortcut), torch.full_like(shortcut, 5.0 - 0.1))


def test_it_starts_as_the_authors_did_but_for_the_biases(network: FCN3D) -> None:
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv3d | nn.ConvTranspose3d)]
    activations = [module for module in network.modules() if isinstance(module, nn.PReLU)]
    assert all((module.bias == 0).all() for module in convolutions)
    assert all((module.weight == 0.1).all() for module in activations)
    assert len(activations) == len(convolutions) - 1  # the head has none
    for module, fans in ((network.input[0], (5 + 16) * 125), (network.ups[0].convolution, (256 + 128) * 8)):
        bound = math.sqrt(6 / fans)  # Glorot & Bengio 2010, eq. 16
        assert 0.98 * bound < module.weight.abs().max() <= bound


def test_it_has_no_normalisation_and_no_dropout(network: FCN3D) -> None:
    layers = {type(module).__name__ for module in network.modules() if not list(module.children())}
    assert layers == {"ShallowConv3d", "Conv3d", "ConvTranspose3d", "PReLU"}


@pytest.mark.parametrize("seed", range(3))
def test_the_untrained_logits_have_a_like_scale_at_every_depth_and_seed(seed: int) -> None:
    torch.manual_seed(seed)
    network = FCN3D(5)
    with torch.no_grad():
        logits = [network(torch.randn(1, 5, depth, 32, 32)) for depth in (2, 8, 16, 22)]
    sizes = [value.square().mean().sqrt().item() for value in logits]
    assert max(sizes) < 1, sizes


@pytest.mark.parametrize("depth", [2, 8])
def test_every_parameter_receives_gradient(network: FCN3D, depth: int) -> None:
    network.zero_grad()
    torch.manual_seed(0)
    network(torch.randn(1, 5, depth, 64, 64)).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


# ---- loss --------------------------------------------------------------------------------------------------------


def everything(reference: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(reference, dtype=torch.bool)


def test_the_loss_equals_a_loop_over_volumes_and_voxels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 1, 2, 3, 4))
    g = (rng.random((2, 2, 3, 4)) < 0.3).astype(np.uint8)
    valid = rng.random((2, 2, 3, 4)) < 0.8
    entropies, dices = [], []
    for x, lesion, inside in zip(logits[:, 0], g, valid, strict=True):
        overlap = total = entropy = 0.0
        for value, own, counts in zip(x.ravel(), lesion.ravel(), inside.ravel(), strict=True):
            if counts:
                p = 1 / (1 + math.exp(-value))
                entropy -= math.log(p if own else 1 - p)
                overlap, total = overlap + p * own, total + p + own
        entropies.append(entropy / inside.sum())
        dices.append(1 - (2 * overlap + 1) / (total + 1))
    found = cross_entropy_and_soft_dice(torch.from_numpy(logits), torch.from_numpy(g), torch.from_numpy(valid))
    assert [term.item() for term in found] == pytest.approx([np.mean(entropies), np.mean(dices)], rel=1e-5)


def test_the_loss_of_a_batch_is_the_mean_over_gpus_that_hold_a_volume_each() -> None:
    torch.manual_seed(0)
    logits, reference = torch.randn(2, 1, 2, 8, 8), (torch.rand(2, 2, 8, 8) < 0.2).byte()
    reference[1, :, 2:] = 0
    together = sum(cross_entropy_and_soft_dice(logits, reference, everything(reference)))
    apart = [
        sum(cross_entropy_and_soft_dice(logits[[i]], reference[[i]], everything(reference[[i]]))) for i in range(2)
    ]
    torch.testing.assert_close(together, sum(apart) / 2)


def test_padded_voxels_change_nothing() -> None:
    torch.manual_seed(0)
    logits, reference = torch.randn(1, 1, 2, 8, 8), (torch.rand(1, 2, 8, 8) < 0.2).byte()
    plain = cross_entropy_and_soft_dice(logits, reference, everything(reference))
    pad = (0, 3, 0, 0, 0, 2)
    padded = cross_entropy_and_soft_dice(
        nn.functional.pad(logits, pad, value=7.0),
        nn.functional.pad(reference, pad, value=1),
        nn.functional.pad(everything(reference), pad, value=False),
    )
    torch.testing.assert_close(padded, plain)


def test_without_lesion_the_dice_term_is_that_of_the_false_positives_alone() -> None:
    logits = torch.zeros(1, 1, 2, 4, 4, requires_grad=True)
    reference = torch.zeros(1, 2, 4, 4)
    entropy, dice = cross_entropy_and_soft_dice(logits, reference, everything(reference))
    assert entropy.item() == pytest.approx(math.log(2))
    assert dice.item() == pytest.approx(1 - 1 / (16 + 1))
    dice.backward()
    assert (logits.grad > 0).all()


@pytest.mark.parametrize("extreme", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize("lesion", [0, 1])
def test_the_loss_is_finite_and_in_float32_for_extreme_bfloat16_logits(extreme: float, lesion: int) -> None:
    logits = torch.full((1, 1, 2, 4, 4), extreme, dtype=torch.bfloat16, requires_grad=True)
    reference = torch.full((1, 2, 4, 4), lesion, dtype=torch.uint8)
    terms = cross_entropy_and_soft_dice(logits, reference, everything(reference))
    sum(terms).backward()
    assert {term.dtype for term in terms} == {torch.float32}
    assert all(torch.isfinite(term) for term in (*terms, logits.grad.sum()))


# ---- recipe ------------------------------------------------------------------------------------------------------


def test_the_learning_rate_falls_smoothly_by_a_twentieth_in_200_steps() -> None:
    assert [decay(step) for step in (0, 100, 200, 2000)] == pytest.approx([1, 0.95**0.5, 0.95, 0.95**10])


@pytest.mark.parametrize(
    ("paper", "kind", "rate"), [(False, torch.optim.Adam, 1e-4), (True, torch.optim.Adagrad, 0.01)]
)
def test_the_paper_flag_chooses_the_authors_optimiser(paper: bool, kind: type, rate: float) -> None:
    method = FCN3DCRFMethod(paper=paper)
    method.network = nn.Linear(1, 1)
    optimizer = method.configure_optimizers()["optimizer"]
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == rate


def test_the_config_trains_single_volumes_with_bounded_gradients() -> None:
    content = yaml.safe_load(Path(shipped_configs() / "methods" / "fcn3d_crf.yaml").read_text())
    assert content["model"]["init_args"]["learning_rate"] == 1e-4
    assert content["trainer"] == {"max_epochs": 300, "gradient_clip_val": 1.0}
    assert content["data"] == {"batch_size": 1}


#: Slices of volumes in an order in which deep ones follow shallow ones, as in an epoch.
DEPTHS = (2, 16, 2, 22, 2, 8, 2, 22)


def test_the_recipe_is_steady_on_volumes_of_all_depths() -> None:
    torch.manual_seed(0)
    method = FCN3DCRFMethod()
    method.network = FCN3D(5)
    optimizer = method.configure_optimizers()["optimizer"]
    losses = []
    for step, depth in enumerate(DEPTHS):
        generator = torch.Generator().manual_seed(step)
        reference = torch.zeros(1, depth, 32, 32)
        reference[:, depth // 2 :, 8:16, 8:16] = 1
        image = torch.randn(1, 5, depth, 32, 32, generator=generator) + reference[:, None]
        terms = method.loss(method.network(image), {"reference": reference, "valid": everything(reference)})
        optimizer.zero_grad()
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(method.network.parameters(), 1.0)
        optimizer.step()
        losses.append(terms["loss"].item())
    # Adam at 1e-3 comes to a loss of 10,000 at the first volume of 22 slices.
    assert max(losses) < 2, losses
    assert losses[-1] < min(losses[:3]), losses
