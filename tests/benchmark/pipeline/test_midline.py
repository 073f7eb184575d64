"""`benchmark.pipeline.midline` on heads whose pose is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmark.pipeline.inplane import chained, sample
from benchmark.pipeline.midline import Midline, estimate_midline, mirror_map, positive_side

Spacing = tuple[float, float, float]
SPACING: Spacing = (0.9, 0.9, 6.0)


def head(
    shift_mm: float,
    angle_deg: float,
    spacing_mm: Spacing = SPACING,
    shape: tuple[int, int, int] = (3, 200, 200),
    noise_hu: float = 3.0,
) -> tuple[np.ndarray, np.ndarray]:
    """A head that is symmetric about a line whose distance from the array's middle and tilt are given.

    Returns:
        CT in HU with noise and a bright skull, and the brain mask; (D, H, W).
    """
    height, width = shape[1:]
    y, x = np.meshgrid(
        (np.arange(height) - (height - 1) / 2) * spacing_mm[1],
        (np.arange(width) - (width - 1) / 2) * spacing_mm[0],
        indexing="ij",
    )
    angle = math.radians(angle_deg)
    across = x * math.cos(angle) + y * math.sin(angle) - shift_mm
    along = -x * math.sin(angle) + y * math.cos(angle)
    radius = np.hypot(across / 62, along / 78)
    texture = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal((120, 120)), 4)
    texture /= texture.std()
    folds = ndimage.map_coordinates(texture, [along / 2 + 60, np.abs(across) / 2], order=1, mode="nearest")
    ventricles = np.hypot((np.abs(across) - 12) / 6, along / 22) < 1
    ct = np.where(ventricles, 8.0, 32 + 4 * folds)
    ct = np.where(radius > 1, np.where(radius < 1.1, 1000.0, 0.0), ct)
    noise = np.random.default_rng(6).normal(0, noise_hu, shape)
    return ct + noise, np.broadcast_to(radius < 1, shape).copy()


def offset_of_middle(line: Midline, shape: tuple[int, ...], spacing_mm: Spacing) -> float:
    """Signed distance of the array's middle from the line, in mm."""
    x, y = (shape[2] - 1) / 2 * spacing_mm[0], (shape[1] - 1) / 2 * spacing_mm[1]
    angle = math.radians(line.angle_deg)
    return (x - line.centre_mm[0]) * math.cos(angle) + (y - line.centre_mm[1]) * math.sin(angle) - line.shift_mm


@pytest.mark.parametrize(("shift_mm", "angle_deg"), [(0, 0), (6, 0), (-9.3, 4.4), (3, -11), (14, 9.5)])
def test_known_shift_and_tilt_are_recovered(shift_mm: float, angle_deg: float) -> None:
    ct, brain = head(shift_mm, angle_deg)
    line = estimate_midline(ct, brain, SPACING)
    assert line.angle_deg == pytest.approx(angle_deg, abs=1)
    assert offset_of_middle(line, ct.shape, SPACING) == pytest.approx(-shift_mm, abs=0.4)
    assert 0.5 < line.correlation <= 1.001


@pytest.mark.parametrize("spacing_mm", [(0.9, 1.3, 5.0), (3.5, 3.5, 12.0)])
def test_pose_is_in_millimetres_whatever_the_spacing(spacing_mm: Spacing) -> None:
    shape = (2, round(190 / spacing_mm[1]), round(180 / spacing_mm[0]))
    ct, brain = head(5.0, -6.0, spacing_mm, shape)
    line = estimate_midline(ct, brain, spacing_mm)
    assert line.angle_deg == pytest.approx(-6.0, abs=1)
    assert offset_of_middle(line, shape, spacing_mm) == pytest.approx(-5.0, abs=0.5)


@pytest.mark.parametrize(("size", "pixel_mm"), [(200, 0.9), (48, 3.75)])
def test_noise_greater_than_what_sets_tissues_apart_does_not_hide_the_line(size: int, pixel_mm: float) -> None:
    spacing_mm, shape = (pixel_mm, pixel_mm, 5.0), (8, size, size)
    ct, brain = head(5.0, -6.0, spacing_mm, shape, noise_hu=11.0)  # grey and white matter differ by 5 HU
    line = estimate_midline(ct, brain, spacing_mm)
    assert line.angle_deg == pytest.approx(-6.0, abs=1)
    assert offset_of_middle(line, shape, spacing_mm) == pytest.approx(-5.0, abs=0.5)


def test_part_of_one_hemisphere_missing_from_the_mask_hardly_pulls_the_line() -> None:
    ct, brain = head(4.0, 5.0)
    brain[:, 60:120, 140:] = False
    line = estimate_midline(ct, brain, SPACING)
    assert line.centre_mm[0] < 99.5 * 0.9 + 3.5  # the centre of mass is pulled
    assert line.angle_deg == pytest.approx(5.0, abs=2)
    assert offset_of_middle(line, ct.shape, SPACING) == pytest.approx(-4.0, abs=1)


def test_scale_and_offset_of_the_image_do_not_matter() -> None:
    ct, brain = head(4.0, 5.0)
    plain, scaled = (estimate_midline(image, brain, SPACING) for image in (ct, 10 * ct - 300))
    assert (plain.shift_mm, plain.angle_deg) == (scaled.shift_mm, scaled.angle_deg)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [bool, np.uint8])
def test_arrays_that_may_not_be_written_to_are_read_without_a_warning(kind: type) -> None:
    ct, brain = head(4.0, 5.0)
    expected = estimate_midline(ct, brain, SPACING)
    brain = brain.astype(kind)
    for array in (ct, brain):
        array.flags.writeable = False
    assert estimate_midline(ct, brain, SPACING) == expected


def test_constant_image_gives_the_upright_line_through_the_centre_of_mass() -> None:
    brain = np.zeros((2, 50, 60), dtype=bool)
    brain[:, 10:21, 30:51] = True
    line = estimate_midline(np.full(brain.shape, 30.0), brain, (2.0, 3.0, 5.0))
    assert line.centre_mm == pytest.approx((80.0, 45.0))
    assert (line.shift_mm, line.angle_deg) == (0, 0)
    assert math.isnan(line.correlation)


def test_halves_with_nothing_in_common_give_the_fallback() -> None:
    _, brain = head(0.0, 0.0)
    noise = np.random.default_rng(1).normal(0, 1, brain.shape)
    assert math.isnan(estimate_midline(noise, brain, SPACING).correlation)


def test_empty_brain_gives_the_middle_of_the_array() -> None:
    line = estimate_midline(np.zeros((1, 11, 21)), np.zeros((1, 11, 21), dtype=bool), (1.0, 2.0, 5.0))
    assert line == Midline((10.0, 10.0), 0.0, 0.0, line.correlation)


def mirror(volume: torch.Tensor, line: Midline, pixel_mm: tuple[float, ...]) -> torch.Tensor:
    """The mirror image of (D, H, W) slices."""
    maps = [mirror_map(line, pixel_mm)] * len(volume)
    return sample(volume[:, None], maps, (volume.shape[1], volume.shape[2]), "border")[:, 0]


def test_upright_line_in_the_middle_mirrors_as_a_flip_does() -> None:
    volume = torch.rand(3, 8, 10)
    line = Midline((4.5 * 0.8, 0.0))
    torch.testing.assert_close(mirror(volume, line, (0.8, 1.1)), volume.flip(-1), atol=1e-5, rtol=0)


def test_mirroring_a_position_twice_is_the_identity() -> None:
    pixels = mirror_map(Midline((60.0, 55.0), 2.3, 7.0), (1.0, 0.9, 5.0))
    np.testing.assert_allclose(chained(pixels, pixels), np.eye(2, 3), atol=1e-12)


def test_mirroring_twice_is_the_identity_within_interpolation() -> None:
    smooth = ndimage.gaussian_filter(np.random.default_rng(2).random((2, 120, 120)), (0, 6, 6)).astype(np.float32)
    volume = torch.from_numpy(smooth / smooth.std())
    line, spacing = Midline((60.0, 55.0), 2.3, 7.0), (1.0, 0.9, 5.0)
    twice = mirror(mirror(volume, line, spacing), line, spacing)
    inner = (slice(None), slice(25, 95), slice(25, 95))
    assert float((twice - volume)[inner].abs().max()) < 0.05
    assert float((mirror(volume, line, spacing) - volume)[inner].abs().max()) > 1


def test_mirror_image_of_a_side_is_the_other_side() -> None:
    line, spacing = Midline((30.2, 28.0), 1.4, -8.0), (1.0, 1.2)
    side = positive_side(50, 60, line, spacing)
    mirrored = mirror(torch.from_numpy(side)[None].float(), line, spacing)[0].numpy() > 0.5
    assert side[25, 50]
    assert not side[25, 10]
    assert (mirrored[10:-10, 10:-10] == ~side[10:-10, 10:-10]).mean() > 0.98  # all but pixels on the line


@pytest.mark.parametrize(("shift_mm", "angle_deg"), [(0, 0), (-9.3, 4.4), (3, -11)])
def test_the_midline_of_a_volume_of_thin_slices_is_found(shift_mm: float, angle_deg: float) -> None:
    spacing_mm, shape = (2.0, 2.0, 2.0), (73, 112, 112)  # most cases of ISLES 2022
    image, brain = head(shift_mm, angle_deg, spacing_mm, shape)
    line = estimate_midline(image, brain, spacing_mm)
    assert line.angle_deg == pytest.approx(angle_deg, abs=1)
    assert offset_of_middle(line, shape, spacing_mm) == pytest.approx(-shift_mm, abs=0.5)


def test_a_bright_lesion_as_on_diffusion_mri_does_not_pull_the_midline_aside() -> None:
    spacing_mm, shape = (2.0, 2.0, 2.0), (73, 112, 112)
    image, brain = head(5.0, -6.0, spacing_mm, shape)
    image[20:50, 40:75, 75:95] = np.where(brain[20:50, 40:75, 75:95], 300, image[20:50, 40:75, 75:95])
    line = estimate_midline(image, brain, spacing_mm)
    assert line.angle_deg == pytest.approx(-6.0, abs=1.5)
    assert offset_of_middle(line, shape, spacing_mm) == pytest.approx(-5.0, abs=1)
