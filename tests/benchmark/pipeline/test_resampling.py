from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from slabs import prepare, prepare_reference

from benchmark.pipeline.preparation import PadToMultiple, Preparation, nearest_slices
from benchmark.pipeline.resampling import ResampleTo, ResizeTo, grid_for
from leaderboard.errors import InputError

SPACING = (0.8, 0.9, 6.0)


def smooth(*shape: int) -> torch.Tensor:
    noise = np.random.default_rng(0).normal(size=shape)
    return torch.from_numpy(ndimage.gaussian_filter(noise, 3, axes=(-2, -1))).float()


def test_resampling_equals_scipys_interpolation_at_the_same_positions() -> None:
    image = smooth(2, 4, 50, 60)
    prepared = prepare(ResampleTo(1.0, 40), image, SPACING)
    assert prepared.shape == (2, 4, 40, 40)
    rows = (np.arange(40) - 19.5) * 1.0 / SPACING[1] + 24.5  # rows lie along y
    columns = (np.arange(40) - 19.5) * 1.0 / SPACING[0] + 29.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    for c in range(2):
        for z in range(4):
            expected = ndimage.map_coordinates(image[c, z].numpy(), grid, order=1, mode="nearest")
            np.testing.assert_allclose(prepared[c, z].numpy(), expected, atol=1e-5)


def test_resampling_between_slices_is_linear_about_the_centre_of_the_slab() -> None:
    ramp = torch.arange(4.0)[None, :, None, None].expand(1, 4, 16, 16)
    prepared = prepare(ResampleTo(1.0, 16, slice_mm=4.0), ramp, (1.0, 1.0, 6.0))
    # 24 mm in 4 mm steps: six slices, 4/6 of a slice apart, centred on 1.5, kept within the slab.
    np.testing.assert_allclose(prepared[0, :, 8, 8], [0, 0.5, 7 / 6, 11 / 6, 2.5, 3], atol=1e-6)


def test_back_between_slices_a_ramp_along_the_slab_is_what_it_was() -> None:
    """Away from the slab's ends, where the new slices are held within it, linear interpolation is exact both ways."""
    spacing = (1.0, 1.0, 2.0)
    ramp = (torch.arange(12.0) / 12)[:, None, None].expand(12, 16, 16)
    for slice_mm in (1.0, 3.0, 5.0):
        preparation = ResampleTo(1.0, 16, slice_mm)
        prepared = prepare(preparation, ramp[None], spacing)
        assert prepared.shape[1] == round(24 / slice_mm)
        back = preparation.inverse(prepared[0], (12, 16, 16), spacing)
        np.testing.assert_allclose(back[2:-2], ramp[2:-2], atol=1e-5)


def test_slices_with_lesion_are_those_of_the_prepared_reference() -> None:
    preparation = ResampleTo(1.0, 32, slice_mm=5.0)
    reference = torch.zeros(2, 32, 32, dtype=torch.uint8)
    reference[1, 8:20, 8:20] = 1
    prepared = prepare_reference(preparation, reference, (1.0, 1.0, 12.0))
    assert prepared.shape == (5, 32, 32)
    lesion = np.array([False, True])[nearest_slices(preparation, 2, (1.0, 1.0, 12.0))]
    assert lesion.tolist() == prepared.any(dim=(1, 2)).tolist()
    assert lesion.sum() in (2, 3)


@pytest.mark.parametrize("preparation", [ResizeTo(40), ResizeTo(64), ResampleTo(1.0, 64), ResampleTo(1.0, 64, 3.0)])
def test_a_disc_comes_back_where_it_was(preparation: Preparation) -> None:
    y, x = np.mgrid[:50, :60]
    disc = torch.from_numpy(((y - 20) ** 2 + (x - 35) ** 2 < 100).astype(np.uint8)).expand(3, 50, 60)
    prepared = prepare_reference(preparation, disc, SPACING)
    back = preparation.inverse(prepared.float(), (3, 50, 60), SPACING) > 0.5
    dice = 2 * (back & disc.bool()).sum() / (back.sum() + disc.sum())
    assert dice > 0.95
    assert prepare(preparation, disc[None].float(), SPACING).shape[1:] == prepared.shape


def test_what_lies_outside_the_crop_has_probability_zero_and_what_was_padded_is_gone() -> None:
    preparation = ResampleTo(1.0, 16)
    back = preparation.inverse(torch.ones(1, 16, 16), (1, 40, 10), (1.0, 1.0, 5.0))
    assert back.shape == (1, 40, 10)
    assert back[0, :11].sum() == 0
    assert back[0, 13:27].min() == 1
    padded = prepare(preparation, torch.full((1, 1, 40, 10), -2.0), (1.0, 1.0, 5.0))
    assert (padded == -2.0).all()


def test_what_is_padded_about_a_reference_is_background() -> None:
    everywhere = torch.ones(2, 20, 20, dtype=torch.uint8)
    prepared = prepare_reference(ResampleTo(1.0, 40), everywhere, (1.0, 1.0, 5.0))
    assert prepared.dtype == torch.uint8
    assert prepared.sum() == everywhere.sum()
    assert prepared[:, 10:30, 10:30].all()


def test_shrinking_averages_and_does_not_alias() -> None:
    """Stripes finer than the new pixels turn into their mean; sampled alone they would turn into others."""
    stripes = torch.tensor([0.0, 1.0]).repeat(64).expand(1, 1, 128, 128).contiguous()
    prepared = prepare(ResizeTo(40), stripes, SPACING)
    np.testing.assert_allclose(prepared[..., 2:-2], 0.5, atol=0.05)


@pytest.mark.parametrize("preparation", [ResampleTo(1.0, 240), ResizeTo(160)])
def test_a_reference_keeps_the_volume_of_lesions_of_four_pixels_radius(preparation: Preparation) -> None:
    rng = np.random.default_rng(0)
    pixel = (256 / 160) ** 2 if isinstance(preparation, ResizeTo) else (1 / 0.877) ** 2
    y, x = np.mgrid[:256, :256]
    centres = 100 + 50 * rng.random((100, 2, 1, 1))
    discs = torch.from_numpy(((y - centres[:, 0]) ** 2 + (x - centres[:, 1]) ** 2 < 4**2).astype(np.uint8))
    prepared = prepare_reference(preparation, discs, (0.877, 0.877, 6.0))
    volumes = prepared.sum(dim=(1, 2)) * pixel / discs.sum(dim=(1, 2))
    assert volumes.mean().item() == pytest.approx(1.0, abs=0.03)


def test_resizing_keeps_the_mean_of_each_slice() -> None:
    image = smooth(1, 2, 256, 256)
    prepared = prepare(ResizeTo(160), image, SPACING)
    assert prepared.shape == (1, 2, 160, 160)
    np.testing.assert_allclose(prepared.mean(dim=(2, 3)), image.mean(dim=(2, 3)), atol=2e-3)


def test_pixels_much_finer_than_the_new_ones_are_averaged_and_others_are_not() -> None:
    """Stripes of single pixels of 0.4 mm: sampled alone at 1 mm they would stay as strong as they are."""
    stripes = torch.tensor([0.0, 1.0]).repeat(64).expand(2, 1, 128, 128).contiguous()
    fine = prepare(ResampleTo(1.0, 48), stripes, (0.4, 0.4, 2.0))
    assert fine[..., 2:-2].min() > 0.3
    assert fine[..., 2:-2].max() < 0.7
    coarse = prepare(ResampleTo(1.0, 128), stripes, (1.0, 1.0, 2.0))
    torch.testing.assert_close(coarse, stripes)


def test_a_disc_of_fine_pixels_comes_back_where_it_was() -> None:
    y, x = np.mgrid[:120, :130]
    disc = torch.from_numpy(((y - 50) ** 2 + (x - 75) ** 2 < 400).astype(np.uint8)).expand(2, 120, 130)
    spacing = (0.4, 0.4, 2.0)
    preparation = ResampleTo(1.5, 48)
    back = preparation.inverse(prepare_reference(preparation, disc, spacing).float(), (2, 120, 130), spacing) > 0.5
    assert 2 * (back & disc.bool()).sum() / (back.sum() + disc.sum()) > 0.93


@pytest.mark.parametrize(
    "settings", [(1.0, None, None), (None, 64, None), (None, None, 5.0), (1.0, 50, None), (-1.0, 64, None)]
)
def test_settings_of_a_grid_that_do_not_go_together_are_refused(
    settings: tuple[float | None, int | None, float | None],
) -> None:
    with pytest.raises(InputError, match="correct the config"):
        grid_for(16, *settings)
    assert isinstance(grid_for(16, None, None), PadToMultiple)
    assert isinstance(grid_for(16, 1.0, 64), ResampleTo)
