from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.methods.ms_dcnn.loss import cross_entropy, dice
from benchmark.methods.ms_dcnn.module import PATH_A, PATH_B, MSDCNNMethod, median_by_sorting, median_filtered, places
from benchmark.methods.ms_dcnn.network import MSDCNN, DenseBlock
from leaderboard.errors import InputError


def on_meta(**options: bool) -> MSDCNN:
    with torch.device("meta"):
        return MSDCNN((4, 1, 2), (3,), **options)


def test_the_number_of_weights_is_the_readmes() -> None:
    assert sum(p.numel() for p in on_meta().parameters()) == 56_518_209
    assert sum(p.numel() for p in on_meta(light=True).parameters()) == 38_977_601


def test_a_path_has_123_convolutions_with_the_two_of_the_fusion() -> None:
    network = on_meta()
    for path in (network.path_a, network.path_b):
        assert sum(isinstance(module, nn.Conv2d) for module in [*path.modules(), *network.fusion.modules()]) == 123
    units = [len(block.units) for block in network.path_a.blocks]
    assert units == [6, 12, 24, 16]  # DenseNet-121
    assert 2 * sum(units) + 3 + 4 == 123


def test_the_stages_have_the_expected_widths_and_sizes() -> None:
    path = on_meta().path_a
    seen = []
    for module in (path.stem, path.pool, *path.blocks, *path.transitions, *path.ups):
        module.register_forward_hook(lambda _, __, output: seen.append((output.shape[1], output.shape[2])))
    path(torch.empty(1, 3, 160, 160, device="meta"))
    assert seen == [
        (64, 160), (64, 80), (256, 80), (256, 40), (640, 40), (640, 20), (1408, 20), (1408, 10), (1920, 10),
        (512, 20), (256, 40), (128, 80), (64, 160),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (160, 160), (256, 256)])
def test_logits_have_the_slices_size(size: tuple[int, int]) -> None:
    assert on_meta()(torch.empty(2, 5, *size, device="meta")).shape == (2, 1, *size)


def test_sizes_that_are_no_multiples_of_16_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="multiples of 16, not 64 x 100"):
        on_meta()(torch.empty(1, 5, 64, 100, device="meta"))


def test_each_path_sees_its_maps_alone() -> None:
    network = MSDCNN((4, 1, 2), (3,)).eval()
    x = torch.randn(1, 5, 32, 32)
    paths: dict[str, list[torch.Tensor]] = {"a": [], "b": []}
    network.path_a.register_forward_pre_hook(lambda _, inputs: paths["a"].append(inputs[0]))
    network.path_b.register_forward_pre_hook(lambda _, inputs: paths["b"].append(inputs[0]))
    network(x)
    assert torch.equal(paths["a"][0], x[:, [4, 1, 2]])
    assert torch.equal(paths["b"][0], x[:, [3]])


def test_maps_are_found_by_name_in_both_editions() -> None:
    ct, mr = ("CT", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax"), ("MR_ADC", "MR_MTT", "MR_rCBF", "MR_rCBV", "MR_Tmax")
    assert (places(ct, PATH_A), places(ct, PATH_B)) == ([4, 1, 2], [3])
    assert (places(mr, PATH_A), places(mr, PATH_B)) == ([4, 2, 3], [1])
    with pytest.raises(InputError, match="needs the maps CBV"):
        places(("CT", "CT_CBF", "CT_Tmax"), PATH_A)


def test_every_weight_receives_gradient() -> None:
    torch.manual_seed(0)
    network = MSDCNN((4, 1, 2), (3,))
    logits = network(torch.randn(2, 5, 32, 32))
    dice(logits, (torch.rand(2, 32, 32) > 0.7).byte(), torch.ones(2, 32, 32, dtype=torch.bool)).backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_a_dense_block_concatenates_the_outputs_of_all_units() -> None:
    block = DenseBlock(8, 3, 0.0, checkpointed=False).eval()
    x = torch.randn(1, 8, 4, 4)
    y = block(x)
    assert torch.equal(y[:, :8], x)
    for place, unit in enumerate(block.units):
        assert torch.equal(y[:, 8 + 32 * place : 40 + 32 * place], unit(y[:, : 8 + 32 * place].clone()))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_checkpointing_changes_no_output_gradient_or_statistic_although_dropout_is_random(
    precision: torch.dtype,
) -> None:
    outcomes = []
    for checkpointed in (False, True):
        torch.manual_seed(1)
        block = DenseBlock(8, 3, 0.5, checkpointed)
        for step in range(2):
            torch.manual_seed(2 + step)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
                y = block(torch.randn(2, 8, 6, 6, requires_grad=True))
            y.float().square().sum().backward()
        # Nothing comes after: the running statistics are those after the backward passes.
        outcomes.append([y.detach(), *(p.grad for p in block.parameters()), *block.state_dict().values()])
    assert all(torch.equal(one, other) for one, other in zip(*outcomes, strict=True))


def test_a_checkpointed_block_keeps_its_features_once() -> None:
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.randn(1, 8, 16, 16, requires_grad=True)
    block = DenseBlock(8, 6, 0.0, checkpointed=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = block(x)
    assert sum(kept.values()) <= y.untyped_storage().nbytes()


def test_the_losses_equal_a_calculation_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 2.0], [-1.0, 5.0]]]])
    reference, valid = torch.tensor([[[0, 1], [1, 1]]]), torch.tensor([[[True, True], [True, False]]])
    p = [1 / (1 + math.exp(-x)) for x in (0.0, 2.0, -1.0)]
    assert dice(logits, reference, valid).item() == pytest.approx(1 - (2 * (p[1] + p[2]) + 1) / (sum(p) + 2 + 1))
    by_hand = -(math.log(1 - p[0]) + math.log(p[1]) + math.log(p[2])) / 3
    assert cross_entropy(logits, reference, valid).item() == pytest.approx(by_hand)


def test_the_losses_are_finite_in_bf16_on_a_batch_without_lesion() -> None:
    logits = torch.full((4, 1, 64, 64), -9.0, dtype=torch.bfloat16, requires_grad=True)
    empty, valid = torch.zeros(4, 64, 64), torch.ones(4, 64, 64, dtype=torch.bool)
    loss = dice(logits, empty, valid) + cross_entropy(logits, empty, valid)
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert (logits.grad > 0).all()  # less lesion is better


def test_the_median_filter_equals_numpys_median_over_the_window() -> None:
    probability = torch.rand(2, 9, 10)
    filtered = median_filtered(probability, 5)
    padded = np.pad(probability.numpy(), ((0, 0), (2, 2), (2, 2)), mode="edge")
    for z in range(2):
        for y in range(9):
            for x in range(10):
                assert filtered[z, y, x] == np.median(padded[z, y : y + 5, x : x + 5])
    assert torch.equal(median_filtered(probability, 1), probability)
    for side in (1, 3, 5):
        assert torch.equal(median_by_sorting(probability, side), median_filtered(probability, side))


def test_the_rows_with_and_without_median_differ_by_specks() -> None:
    probability = torch.zeros(1, 12, 12)
    probability[0, 2, 2] = probability[0, 5:10, 5:10] = 0.9
    masks = MSDCNNMethod(median=3).postprocess(probability, {})
    assert set(masks) == {"", *MSDCNNMethod.ablations}
    assert masks["without_median"].sum() == 26
    assert not masks[""][0, 2, 2]
    assert masks[""][0, 6:9, 6:9].all()


@pytest.mark.parametrize("wrong", [{"size": 100}, {"median": 4}, {"median": 0}])
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="correct the config"):
        MSDCNNMethod(**wrong)
