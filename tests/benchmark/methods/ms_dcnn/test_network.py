from __future__ import annotations

import pytest
import torch
from narrow import narrow
from torch import nn

from benchmark.methods.ms_dcnn.loss import dice
from benchmark.methods.ms_dcnn.network import MSDCNN, DenseBlock


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


def test_each_path_sees_its_maps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch.setattr)
    network = MSDCNN((4, 1, 2), (3,)).eval()
    x = torch.randn(1, 5, 32, 32)
    paths: dict[str, list[torch.Tensor]] = {"a": [], "b": []}
    network.path_a.register_forward_pre_hook(lambda _, inputs: paths["a"].append(inputs[0]))
    network.path_b.register_forward_pre_hook(lambda _, inputs: paths["b"].append(inputs[0]))
    network(x)
    assert torch.equal(paths["a"][0], x[:, [4, 1, 2]])
    assert torch.equal(paths["b"][0], x[:, [3]])


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
