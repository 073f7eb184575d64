from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.methods.plain_unet import PlainUNetMethod, loss
from benchmark.methods.plain_unet.loss import deep_supervision, lesion_dice, supervision_weights


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
