from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.pipeline.preparation import PadToMultiple, with_neighbours

SPACING = (0.9, 0.9, 6.0)


@pytest.mark.parametrize("size", [(64, 64), (65, 80), (50, 33)])
def test_padding_and_its_inverse_give_back_every_voxel(size: tuple[int, int]) -> None:
    padding = PadToMultiple(16)
    volume = torch.rand(3, *size)
    padded = padding.image(volume[None], volume > 0, SPACING)[0]
    assert padded.shape[-1] % 16 == 0
    assert padded.shape[-2] % 16 == 0
    assert torch.equal(padding.inverse(padded, tuple(volume.shape), SPACING), volume)


def test_depth_is_padded_to_a_multiple_with_slices_that_hold_no_lesion() -> None:
    padding = PadToMultiple(4, slices=2)
    volume, lesion = torch.rand(3, 8, 8), np.array([False, True, True])
    padded = padding.image(volume[None], volume > 0, SPACING)[0]
    assert torch.equal(padded[3], volume[2])
    assert padding.reference(torch.ones(3, 8, 8), SPACING).sum(dim=(1, 2)).tolist() == [64, 64, 64, 0]
    assert padding.lesion_slices(lesion, SPACING).tolist() == [False, True, True, False]
    assert torch.equal(padding.inverse(padded, (3, 8, 8), SPACING), volume)


def test_padding_replicates_images_and_gives_references_background() -> None:
    padding = PadToMultiple(4)
    image, ones = torch.full((1, 1, 3, 3), -2.0), torch.ones(1, 3, 3, dtype=torch.uint8)
    assert torch.equal(padding.image(image, ones, SPACING), torch.full((1, 1, 4, 4), -2.0))
    reference = padding.reference(ones, SPACING)
    assert reference.sum() == 9
    assert reference.shape == (1, 4, 4)


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_neighbours_are_the_slices_around_with_the_ends_repeated(neighbours: int) -> None:
    image = torch.rand(5, 4, 6, 6)
    slices = torch.tensor([3, 0])
    stacked = with_neighbours(image, slices, neighbours)
    assert stacked.shape == (2, 5 * (2 * neighbours + 1), 6, 6)
    for row, z in enumerate(slices.tolist()):
        for place, offset in enumerate(range(-neighbours, neighbours + 1)):
            expected = image[:, int(np.clip(z + offset, 0, 3))]
            assert torch.equal(stacked[row, place * 5 : place * 5 + 5], expected)
