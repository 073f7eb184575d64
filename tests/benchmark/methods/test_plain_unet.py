from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from slabs import prepare, prepare_reference
from torch import nn

from benchmark.methods.plain_unet import PlainUNetMethod, loss
from benchmark.methods.plain_unet.loss import deep_supervision, lesion_dice, supervision_weights
from benchmark.methods.plain_unet.module import KERNELS, STRIDES
from benchmark.methods.plain_unet.network import PlainUNet
from leaderboard.errors import InputError


def small(dimensions: int = 2) -> PlainUNet:
    """Three stages of few channels."""
    if dimensions == 2:
        return PlainUNet(2, (4, 8, 8), ((3, 3),) * 3, ((1, 1), (2, 2), (2, 2)))
    return PlainUNet(2, (4, 8, 8), ((1, 3, 3), (1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2), (2, 2, 2)))


@pytest.mark.parametrize(("dimensions", "count"), [(2, 33_472_972), (3, 28_881_930)])
def test_the_number_of_weights_is_the_readmes(dimensions: int, count: int) -> None:
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


@pytest.mark.parametrize("dimensions", [2, 3])
def test_weights_begin_as_he_et_al_draw_them(dimensions: int) -> None:
    torch.manual_seed(0)
    network = PlainUNetMethod(dimensions, stages=4).configure_network(5)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            fan_in = math.prod(module.weight.shape[1:])
            expected = math.sqrt(2 / (1 + 0.01**2) / fan_in)
            spread = module.weight.std().item()
            assert spread == pytest.approx(expected, rel=4 / math.sqrt(2 * module.weight.numel())), name
            assert not module.bias.any(), name
        elif isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d):
            assert (module.weight == 1).all(), name
            assert not module.bias.any(), name


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_weight_receives_gradient(dimensions: int) -> None:
    torch.manual_seed(0)
    network = small(dimensions)
    shape = (16, 16) if dimensions == 2 else (2, 16, 16)
    reference = (torch.rand(2, *shape) > 0.7).byte()
    logits = network(torch.randn(2, 2, *shape))
    deep_supervision(logits, reference, torch.ones(2, *shape, dtype=torch.bool), batch_dice=True)["loss"].backward()
    largest = {name: p.grad.abs().max().item() for name, p in network.named_parameters() if p.grad is not None}
    assert len(largest) == len(list(network.parameters()))
    for name, value in largest.items():
        if not is_normalised_away(name):
            assert value > 1e-10, name


def is_normalised_away(name: str) -> bool:
    """A bias that the normalisation behind it subtracts again: its gradient is rounding (nnU-Net has these too)."""
    part, *_, layer, kind = name.split(".")
    return kind == "bias" and part in ("encoders", "decoders") and layer in ("0", "3")


@pytest.mark.parametrize("depth", range(1, 9))
def test_in_bf16_the_gradients_of_the_3d_networks_layers_are_those_of_float32(depth: int) -> None:
    torch.manual_seed(0)
    network = PlainUNet(8, (8,) * 6, KERNELS[3], STRIDES[3])
    layers = {
        (type(m), m.kernel_size, m.stride, m.in_channels): m
        for m in network.modules()
        if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)
    }
    # Convolutions: two kernels, of 8 and 16 channels, strides (1,2,2) with both and (2,2,2) with 3x3x3; head; two up.
    assert len(layers) == 10
    for kind, layer in layers.items():
        x = torch.randn(2, layer.in_channels, depth, 8, 8)
        direction = torch.randn_like(layer(x))
        layer(x).backward(direction)
        expected = layer.weight.grad
        for layout in (torch.contiguous_format, torch.channels_last_3d, torch.channels_last_3d):
            layer.weight.grad = None
            with torch.autocast("cpu", torch.bfloat16):
                output = layer(x.contiguous(memory_format=layout))
            output.float().backward(direction)
            assert (layer.weight.grad - expected).norm() / expected.norm() < 0.02, kind


def test_supervision_halves_with_each_resolution_and_the_coarsest_counts_almost_nothing() -> None:
    weights = supervision_weights(4)
    assert sum(weights) == pytest.approx(1)
    assert np.allclose(np.array(weights) / weights[0], [1, 1 / 2, 1 / 4, 1e-6])
    assert supervision_weights(1) == [1.0]


def test_the_loss_equals_a_calculation_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 2, size, size, generator=generator) for size in (8, 4, 2)]
    reference = (torch.rand(2, 8, 8, generator=generator) > 0.6).byte()
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[1, :, 5:] = False
    for batch_dice in (True, False):
        dice, entropy = 0.0, 0.0
        for level, (part, weight) in enumerate(zip(logits, np.array([1, 0.5, 1e-6]) / 1.500001, strict=True)):
            step = 2**level
            offset = step // 2  # nearest to the middle, the later of two: of each pair the second, of four the third
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


def test_slices_that_a_batch_was_padded_with_count_at_no_resolution() -> None:
    torch.manual_seed(0)
    sizes = ((4, 16, 16), (4, 8, 8), (2, 4, 4))
    logits = [torch.randn(2, 2, *size) for size in sizes]
    reference = (torch.rand(2, 4, 16, 16) > 0.6).byte()
    valid = torch.ones(2, 4, 16, 16, dtype=torch.bool)
    valid[1, 2:] = False
    for batch_dice in (True, False):
        before = deep_supervision(logits, reference, valid, batch_dice=batch_dice)
        changed = [part.clone() for part in logits]
        for part in changed:
            part[1, :, part.shape[2] // 2 :] = 40 * torch.randn_like(part[1, :, part.shape[2] // 2 :])
        other = reference.clone()
        other[1, 2:] = 1
        after = deep_supervision(changed, other, valid, batch_dice=batch_dice)
        assert before == after


#: Loads the loss alone, takes this process's half of the batch, leaves its value and gradient.
HALF = """
import importlib.util, sys
import torch
from torch import distributed
source, folder, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
spec = importlib.util.spec_from_file_location("loss", source)
loss = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loss)
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
logits, truth, inside = (part[2 * rank : 2 * rank + 2] for part in torch.load(f"{folder}/batch.pt"))
logits.requires_grad_()
value = loss.lesion_dice(logits, truth, inside, batch_dice=True)
value.backward()
torch.save((value.detach(), logits.grad), f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_see_the_batch_dice_of_one_with_both_their_batches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    logits, truth = torch.randn(4, 2, 8, 8), (torch.rand(4, 8, 8) > torch.tensor([0.2, 0.5, 0.9, 1])[:, None, None])
    batch = (logits, truth.float(), torch.ones(4, 8, 8))
    torch.save(batch, tmp_path / "batch.pt")
    commands = [[sys.executable, "-c", HALF, loss.__file__, str(tmp_path), str(rank)] for rank in range(2)]
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    logits.requires_grad_()
    expected = lesion_dice(*batch, batch_dice=True)
    expected.backward()
    for value, _ in halves:
        torch.testing.assert_close(value, expected.detach())
    # DistributedDataParallel takes the mean over the processes.
    torch.testing.assert_close(torch.cat([gradient for _, gradient in halves]) / 2, logits.grad)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_dice_runs_over_the_batch_in_2d_and_over_each_volume_in_3d(dimensions: int) -> None:
    torch.manual_seed(0)
    shape = (2, 2, 8, 8) if dimensions == 2 else (2, 2, 2, 8, 8)
    logits, reference = torch.randn(*shape), torch.zeros(2, *shape[2:], dtype=torch.uint8)
    reference[0] = 1
    batch = {"reference": reference, "valid": torch.ones_like(reference, dtype=torch.bool)}
    p = logits.double().softmax(dim=1)[:, 1].numpy()
    n = p[0].size
    whole = 1 - 2 * p[0].sum() / (p.sum() + n)
    each = (1 - 2 * p[0].sum() / (p[0].sum() + n) + 1) / 2  # nothing to find in the second: its Dice is 0
    found = PlainUNetMethod(dimensions).loss([logits], batch)["dice"].item()
    assert found == pytest.approx(whole if dimensions == 2 else each, abs=1e-6)
    assert abs(whole - each) > 0.01


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


def test_a_network_that_was_trained_without_augmentation_is_not_mirrored() -> None:
    method = PlainUNetMethod(2, stages=3)
    method.network = small().eval()
    image = torch.randn(2, 2, 16, 16)
    with torch.no_grad():
        mirrored, plain = method.predict_images(image), method.probability(method.network(image))
        for augmented, expected in ((True, mirrored), (False, plain)):
            strategy = SimpleNamespace(root_device=torch.device("cpu"))
            method._trainer = SimpleNamespace(datamodule=SimpleNamespace(augmented=augmented), strategy=strategy)
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
    method._trainer = SimpleNamespace(estimated_stepping_batches=4)
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
