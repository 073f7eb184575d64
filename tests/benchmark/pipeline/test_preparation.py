from __future__ import annotations

import numpy as np
import pytest
import torch
from slabs import prepare, prepare_reference

from benchmark.pipeline.preparation import PadToMultiple, between_slices, with_neighbours

SPACING = (0.9, 0.9, 6.0)


@pytest.mark.parametrize("size", [(64, 64), (65, 80), (50, 33)])
def test_padding_and_its_inverse_give_back_every_voxel(size: tuple[int, int]) -> None:
    padding = PadToMultiple(16)
    volume = torch.rand(3, *size)
    padded = prepare(padding, volume[None], SPACING)[0]
    assert padded.shape[-1] % 16 == 0
    assert padded.shape[-2] % 16 == 0
    assert torch.equal(padding.inverse(padded, tuple(volume.shape), SPACING), volume)


def test_depth_is_padded_to_a_multiple_by_the_last_slice_and_its_reference() -> None:
    padding = PadToMultiple(4, slices=2)
    volume, reference = torch.rand(3, 8, 8), (torch.rand(3, 8, 8) > 0.5).byte()
    padded = prepare(padding, volume[None], SPACING)[0]
    assert padded.shape[0] == 4
    assert torch.equal(padded[3], volume[2])
    assert torch.equal(prepare_reference(padding, reference, SPACING)[3], reference[2])
    assert torch.equal(padding.inverse(padded, (3, 8, 8), SPACING), volume)


def test_padding_replicates_images_and_gives_references_background() -> None:
    padding = PadToMultiple(4)
    image, ones = torch.full((1, 1, 3, 3), -2.0), torch.ones(1, 3, 3, dtype=torch.uint8)
    assert torch.equal(prepare(padding, image, SPACING), torch.full((1, 1, 4, 4), -2.0))
    reference = prepare_reference(padding, ones, SPACING)
    assert reference.sum() == 9
    assert reference.shape == (1, 4, 4)


def test_between_slices_is_numpys_linear_interpolation() -> None:
    slices = torch.rand(4, 2, 3)
    positions = np.array([[0.0, 0.25], [2.5, 3.0], [1.0, 1.75]])
    expected = np.stack(
        [np.interp(positions, np.arange(4), column) for column in slices.flatten(1).T.numpy()], axis=-1
    ).reshape(3, 2, 2, 3)
    np.testing.assert_allclose(between_slices(slices, positions).numpy(), expected, atol=1e-6)
    assert torch.equal(between_slices(slices, np.array([2, 2, 0])), slices[[2, 2, 0]])


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
