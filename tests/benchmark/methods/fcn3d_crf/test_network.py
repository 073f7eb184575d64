from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from narrow import narrow
from torch import nn

from benchmark.methods.fcn3d_crf import FCN3DCRFMethod
from benchmark.methods.fcn3d_crf.network import FCN3D, Down, Residual, Up


@pytest.fixture(scope="module")
def network() -> FCN3D:
    torch.manual_seed(0)
    return FCN3D(5)


@pytest.fixture(scope="module")
def on_meta() -> FCN3D:
    """For shapes, which need no values."""
    with torch.device("meta"):
        return FCN3D(5)


@pytest.fixture(scope="module")
def slim() -> FCN3D:
    """On the CPU, where slabs no deeper than a kernel are padded by hand; a quarter of the channels."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch.setattr)
        return FCN3D(5)


@torch.no_grad()
def logits_of(network: FCN3D, *shape: int) -> torch.Tensor:
    """Of two volumes at once; each alone, which the CPU convolves slice by slice, has the same."""
    volumes = torch.randn(2, 5, *shape)
    logits = network(volumes)
    torch.testing.assert_close(torch.cat([network(volume[None]) for volume in volumes]), logits, rtol=1e-3, atol=1e-5)
    return logits


@pytest.mark.parametrize(("channels", "parameters"), [(5, 43_943_969), (6, 43_945_969)])
def test_it_has_the_number_of_parameters_that_its_readme_says(channels: int, parameters: int) -> None:
    with torch.device("meta"):
        network = FCN3D(channels)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == parameters


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16, 22])
def test_it_takes_every_depth_of_the_cohort(slim: FCN3D, depth: int) -> None:
    assert logits_of(slim, depth, 16, 16).shape == (2, 1, depth, 16, 16)


@pytest.mark.parametrize("size", [(64, 64), (96, 90), (65, 79), (17, 1)])
def test_it_takes_every_height_and_width(slim: FCN3D, size: tuple[int, int]) -> None:
    assert logits_of(slim, 2, *size).shape == (2, 1, 2, *size)


def test_two_slices_become_one_at_the_first_step_down_and_stay_one(on_meta: FCN3D) -> None:
    sizes = []
    hooks = [
        encoder.register_forward_hook(lambda *call: sizes.append(tuple(call[-1].shape[1:])))
        for encoder in on_meta.encoders
    ]
    on_meta(torch.empty(1, 5, 2, 96, 90, device="meta"))
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


def test_a_step_takes_more_memory_than_what_its_backward_pass_keeps(network: FCN3D) -> None:
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.zeros(1, 5, 8, 64, 64))  # held, so that no address is used twice
    each = sum(size for address, size in kept.items() if address not in weights) / logits.numel()
    assert each < FCN3DCRFMethod.step_bytes


def test_the_memory_of_a_training_is_what_was_seen_for_the_deepest_slab() -> None:
    page = (Path(__file__).parents[4] / "docs" / "performance.md").read_text(encoding="utf-8")
    seen = re.search(r"^\| `fcn3d_crf`, `strokenet`, `ms_dcnn` \|[^|]*\| 3.6, [^|]*\| ([\d.]+),", page, re.MULTILINE)
    assert seen
    assert FCN3DCRFMethod.step_bytes == pytest.approx(float(seen[1]) * 1e9 / (22 * 256 * 256), rel=0.05)


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
    network(torch.randn(1, 5, depth, 32, 32)).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
