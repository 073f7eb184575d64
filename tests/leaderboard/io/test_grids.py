"""Orders of axes and grids of images."""

import itertools

import nibabel as nib
import numpy as np
import pytest

from leaderboard.io.grids import affine_of, canonical_spacing, from_canonical, resampled, same_grid, to_canonical

SPACING = (0.9, 1.1, 5.0)
ORDERS = [(axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)]


def stored(axes, signs, spacing=SPACING):
    """The affine of a file whose axis i runs along world axis ``axes[i]``, forwards or backwards."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for place, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, place] = sign * spacing[place]
    affine[:3, 3] = (-7, 3, 11)
    return affine


def world(affine, shape):
    """(3, X, Y, Z): where each voxel lies, in mm."""
    indices = np.indices(shape).reshape(3, -1)
    return (affine[:3, :3] @ indices + affine[:3, 3:]).reshape(3, *shape)


@pytest.mark.parametrize(("axes", "signs"), ORDERS)
def test_canonical_axes_run_to_the_right_the_front_and_the_head(axes, signs):
    places = world(stored(axes, signs), (3, 4, 5))
    for axis in range(3):
        steps = np.diff(to_canonical(places[axis], stored(axes, signs)), axis=axis)
        assert (steps > 0).all()
        assert np.allclose(steps, canonical_spacing(SPACING, stored(axes, signs))[axis])


@pytest.mark.parametrize(("axes", "signs"), ORDERS)
def test_there_and_back_is_the_same_image(axes, signs):
    data = np.arange(60).reshape(3, 4, 5)
    assert (from_canonical(to_canonical(data, stored(axes, signs)), stored(axes, signs)) == data).all()


def test_without_an_affine_axes_stay_as_they_are():
    data = np.arange(60).reshape(3, 4, 5)
    assert to_canonical(data, None) is from_canonical(data, None) is data
    assert canonical_spacing(SPACING, None) == SPACING


def header(affine, spacing, *, codes=(0, 2)):
    made = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), affine).header
    made["qform_code"], made["sform_code"] = codes
    made["pixdim"][1:4] = spacing
    return made


def test_the_identity_beside_another_voxel_size_says_nothing():
    assert affine_of(header(np.eye(4), (0.9, 0.9, 6)), (0.9, 0.9, 6)) is None


def test_without_a_code_an_affine_says_nothing():
    affine = stored((0, 1, 2), (1, 1, 1))
    assert affine_of(header(affine, SPACING, codes=(0, 0)), SPACING) is None
    assert np.allclose(affine_of(header(affine, SPACING), SPACING), affine, atol=1e-6)


@pytest.mark.parametrize(("change", "same"), [(0, True), (5e-4, True), (2e-3, False), (40, False)])
def test_affines_are_compared_with_a_tolerance(change, same):
    affine = stored((0, 1, 2), (1, 1, 1))
    moved = affine.copy()
    moved[0, 3] += change
    assert same_grid((2, 2, 2), affine, (2, 2, 2), moved) is same
    assert not same_grid((2, 2, 2), affine, (2, 2, 3), affine)


@pytest.mark.parametrize(("axes", "signs"), ORDERS[::7])
def test_resampling_puts_a_linear_image_where_it_lies(axes, signs):
    fine, coarse = stored(axes, signs, (0.5, 0.6, 0.7)), stored((0, 1, 2), (-1, 1, 1), (1, 1, 2))
    fine[:3, 3] = -fine[:3, :3] @ np.full(3, 19.5)  # both are centred at 0
    coarse[:3, 3] = -coarse[:3, :3] @ np.array([3.5, 3.5, 1.5])
    weights = np.array([1.0, -2.0, 0.5])
    image = np.tensordot(weights, world(fine, (40, 40, 40)), 1)
    expected = np.tensordot(weights, world(coarse, (8, 8, 4)), 1)
    assert np.allclose(resampled(image, fine, (8, 8, 4), coarse), expected, atol=1e-3)


def test_outside_of_an_image_there_is_nothing():
    affine = stored((0, 1, 2), (1, 1, 1))
    far = affine.copy()
    far[0, 3] += 1000
    assert not resampled(np.ones((3, 3, 3)), affine, (3, 3, 3), far).any()
