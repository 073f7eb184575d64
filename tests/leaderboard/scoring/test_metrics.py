"""Every metric against brute force, on masks of every kind."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from medpy.metric import binary
from scipy import ndimage

from leaderboard.scoring import surface
from leaderboard.scoring.metrics import crop_to_joint_box, diagonal_mm, measure

SPACING = (0.9, 1.3, 6.0)
SHAPE = (9, 8, 4)
REAL_MASK = Path(__file__).parents[3].parent / "shared/data/isles2022_case/sub-strokecase0009_ses-0001_msk.nii.gz"


def box(*slices: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slices] = True
    return mask


def masks() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    return {
        "empty": np.zeros(SHAPE, bool),
        "full": np.ones(SHAPE, bool),
        "one_voxel": box(slice(4, 5), slice(3, 4), slice(2, 3)),
        "corner_voxel": box(slice(8, 9), slice(7, 8), slice(3, 4)),
        "edge_block": box(slice(0, 3), slice(2, 6), slice(0, 2)),
        "far_block": box(slice(6, 9), slice(0, 2), slice(2, 4)),
        "sparse": random.random(SHAPE) < 0.05,
        "dense": random.random(SHAPE) < 0.6,
    }


PAIRS = list(product(masks(), repeat=2))


def neighbours(mask: np.ndarray, offsets: list[tuple[int, ...]]) -> list[np.ndarray]:
    """The mask shifted by each offset, background from outside."""
    padded = np.pad(mask, 1)
    return [
        padded[tuple(slice(1 + step, 1 + step + size) for step, size in zip(offset, mask.shape, strict=True))]
        for offset in offsets
    ]


def border(mask: np.ndarray) -> np.ndarray:
    """Voxels of the mask that have a face to the background; outside the array is background."""
    faces = [offset for offset in product((-1, 0, 1), repeat=3) if sum(map(abs, offset)) == 1]
    return mask & ~np.logical_and.reduce(neighbours(mask, faces))


def border_in_slice(mask: np.ndarray) -> np.ndarray:
    """The same for faces within the slice; slices lie across the third axis."""
    faces = [(*offset, 0) for offset in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    return mask & ~np.logical_and.reduce(neighbours(mask, faces))


def distances_in_plane(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """Distance of each border voxel of either mask to the other's: in its slice, or in space if that has none."""
    places = [
        [tuple(int(i) for i in place) for place in np.argwhere(border_in_slice(m))] for m in (prediction, reference)
    ]
    found = []
    for own, other in (places, places[::-1]):
        for place in own:
            near = [voxel for voxel in other if voxel[2] == place[2]] or other
            found.append(
                min(
                    math.dist(*[[i * mm for i, mm in zip(v, SPACING, strict=True)] for v in (place, voxel)])
                    for voxel in near
                )
            )
    return found


def matches(prediction: list[set[tuple[int, ...]]], reference: list[set[tuple[int, ...]]], least: float) -> int:
    """One-to-one matches, the largest overlap first; lesions are met with the first axis running fastest."""

    def order(lesion: set[tuple[int, ...]]) -> tuple[int, ...]:
        return min(voxel[::-1] for voxel in lesion)

    pairs = [(-len(a & b) / len(a | b), order(a), order(b)) for a in prediction for b in reference if a & b]
    taken: set[tuple[str, tuple[int, ...]]] = set()
    count = 0
    for overlap, a, b in sorted(pairs):
        if -overlap >= least and not taken & {("p", a), ("r", b)}:
            taken |= {("p", a), ("r", b)}
            count += 1
    return count


def parts_over_faces(mask: np.ndarray) -> int:
    """Components over 6 neighbours, by joining voxels."""
    left, count = {tuple(int(i) for i in voxel) for voxel in np.argwhere(mask)}, 0
    while left:
        count += 1
        fresh = [left.pop()]
        while fresh:
            voxel = fresh.pop()
            near = {
                (*voxel[:axis], voxel[axis] + step, *voxel[axis + 1 :]) for axis in range(3) for step in (-1, 1)
            } & left
            left -= near
            fresh += near
    return count


def all_distances(prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Distance of each border voxel of either mask to the other's nearest, from all pairs."""
    points = [np.argwhere(border(mask)) * np.array(SPACING) for mask in (prediction, reference)]
    pairs = np.sqrt(((points[0][:, None] - points[1][None]) ** 2).sum(axis=-1))
    return np.concatenate([pairs.min(axis=1), pairs.min(axis=0)])


def components(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """Lesions over 26 neighbours, by flooding."""
    left = {tuple(int(i) for i in voxel) for voxel in np.argwhere(mask)}
    found = []
    while left:
        lesion, fresh = set(), [left.pop()]
        while fresh:
            voxel = fresh.pop()
            lesion.add(voxel)
            near = {tuple(a + b for a, b in zip(voxel, step, strict=True)) for step in product((-1, 0, 1), repeat=3)}
            fresh += near & left
            left -= near
        found.append(lesion)
    return found


def by_medpy(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """The metrics that medpy has, on full arrays."""
    return {
        "dice": binary.dc(prediction, reference),
        "precision": binary.precision(prediction, reference),
        "recall": binary.recall(prediction, reference),
        "hausdorff_mm": binary.hd(prediction, reference, spacing),
        "hd95_mm": binary.hd95(prediction, reference, spacing),
        "assd_mm": binary.assd(prediction, reference, spacing),
    }


def brute_force(prediction: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    both = int((prediction & reference).sum())
    predicted, present = int(prediction.sum()), int(reference.sum())
    voxel_ml = 0.9 * 1.3 * 6.0 / 1000
    distances = all_distances(prediction, reference) if predicted and present else np.array([math.nan])
    lesions = [components(mask) for mask in (prediction, reference)]
    voxels = [set().union(*parts) for parts in lesions]
    hit = sum(bool(lesion & voxels[0]) for lesion in lesions[1])
    false = sum(not lesion & voxels[1] for lesion in lesions[0])
    weight = hit + (false + len(lesions[1]) - hit) / 2
    flat = np.array(distances_in_plane(prediction, reference) if predicted and present else [math.nan])
    faces = [parts_over_faces(mask) for mask in (prediction, reference)]
    sizes = {"below_1ml": (0, 1), "1_to_10ml": (1, 10), "from_10ml": (10, math.inf)}
    recalls = {}
    for name, (least, most) in sizes.items():
        found = [bool(lesion & voxels[0]) for lesion in lesions[1] if least <= len(lesion) * voxel_ml < most]
        recalls[f"lesion_recall_{name}"] = sum(found) / len(found) if found else math.nan
    return {
        **recalls,
        **{
            f"lesion_f1_iou{percent}": 2 * matches(*lesions, percent / 100) / sum(map(len, lesions))
            if any(lesions)
            else math.nan
            for percent in (20, 25)
        },
        "inplane_nsd": (flat <= 2).mean() if predicted and present else math.nan,
        "inplane_hd95_mm": np.percentile(flat, 95),
        "inplane_assd_mm": flat.mean(),
        "relative_volume_error": abs(predicted - present) / present if present else math.nan,
        "reference_lesions_6": faces[1],
        "lesion_count_difference_6": abs(faces[0] - faces[1]),
        "dice": 2 * both / (predicted + present) if predicted + present else math.nan,
        "precision": both / predicted if predicted else math.nan,
        "recall": both / present if present else math.nan,
        "hausdorff_mm": distances.max(),
        "hd95_mm": np.percentile(distances, 95),
        "assd_mm": distances.mean(),
        "avd_ml": abs(predicted - present) * voxel_ml,
        "volume_difference_ml": predicted * voxel_ml - present * voxel_ml,
        "predicted_ml": predicted * voxel_ml,
        "reference_ml": present * voxel_ml,
        "predicted_lesions": len(lesions[0]),
        "reference_lesions": len(lesions[1]),
        "lesion_count_difference": abs(len(lesions[0]) - len(lesions[1])),
        "lesion_f1": hit / weight if weight else math.nan,
        "core_agreement": 1.0,
        "diagonal_mm": math.hypot(9 * 0.9, 8 * 1.3, 4 * 6.0),
    }


@pytest.mark.parametrize(("predicted", "present"), PAIRS)
def test_every_metric_equals_brute_force(predicted: str, present: str) -> None:
    prediction, reference = masks()[predicted], masks()[present]
    assert measure(prediction, reference, SPACING) == pytest.approx(
        brute_force(prediction, reference), rel=1e-9, abs=1e-12, nan_ok=True
    )


@pytest.mark.parametrize("seed", range(10))
def test_random_blobs_equal_brute_force_and_medpy_on_full_arrays(seed: int) -> None:
    random = np.random.default_rng(seed)
    prediction, reference = (random.random((2, *SHAPE)) < random.uniform(0.02, 0.4, (2, 1, 1, 1))).astype(bool)
    found = measure(prediction, reference, SPACING)
    assert found == pytest.approx(brute_force(prediction, reference), rel=1e-9, abs=1e-12, nan_ok=True)
    assert found["hausdorff_mm"] == pytest.approx(binary.hd(prediction, reference, SPACING), rel=1e-12)
    assert found["hd95_mm"] == pytest.approx(binary.hd95(prediction, reference, SPACING), rel=1e-12)
    assert found["assd_mm"] == pytest.approx(binary.assd(prediction, reference, SPACING), rel=1e-12)


@pytest.mark.skipif(not REAL_MASK.exists(), reason="the real mask is not here")
@pytest.mark.parametrize("shift", [0, 1, 5])
def test_real_mask_equals_medpy_on_full_arrays(shift: int) -> None:
    image = nib.Nifti1Image.load(REAL_MASK)
    reference = np.asanyarray(image.dataobj) > 0
    prediction = np.roll(reference, shift, axis=1)
    prediction &= np.random.default_rng(shift).random(reference.shape) < 0.7
    spacing = tuple(float(size) for size in image.header.get_zooms())
    found = measure(prediction, reference, spacing)
    expected = {
        **by_medpy(prediction, reference, spacing),
        "reference_ml": np.count_nonzero(reference) * 0.008,
        "avd_ml": abs(np.count_nonzero(prediction) - np.count_nonzero(reference)) * 0.008,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    lesions = [components(mask) for mask in (prediction, reference)]
    voxels = [set().union(*parts) for parts in lesions]
    hit = sum(bool(lesion & voxels[0]) for lesion in lesions[1])
    false = sum(not lesion & voxels[1] for lesion in lesions[0])
    assert (found["predicted_lesions"], found["reference_lesions"]) == (len(lesions[0]), len(lesions[1]))
    assert found["lesion_f1"] == pytest.approx(hit / (hit + (false + len(lesions[1]) - hit) / 2), rel=1e-12)


def test_equal_masks_are_perfect() -> None:
    found = measure(masks()["dense"], masks()["dense"], SPACING)
    assert (found["dice"], found["hausdorff_mm"], found["avd_ml"], found["lesion_f1"]) == (1.0, 0.0, 0.0, 1.0)


def test_crop_keeps_one_voxel_around_the_union() -> None:
    prediction, reference = crop_to_joint_box(masks()["one_voxel"], masks()["edge_block"])
    assert prediction.shape == reference.shape == (6, 6, 4)
    assert (prediction.sum(), reference.sum()) == (1, masks()["edge_block"].sum())


def test_core_agreement_changes_side_at_70_ml() -> None:
    prediction, reference = np.zeros((10, 10, 10), bool), np.zeros((10, 10, 10), bool)
    reference.flat[:70] = True
    prediction.flat[:69] = True
    assert measure(prediction, reference, (10, 10, 10))["core_agreement"] == 0
    prediction.flat[:70] = True
    assert measure(prediction, reference, (10, 10, 10))["core_agreement"] == 1


def test_integer_masks_count_as_boolean_ones() -> None:
    prediction, reference = masks()["dense"], masks()["sparse"]
    numbers = measure(prediction.astype(np.uint8), reference.astype(float), SPACING)
    assert numbers == pytest.approx(measure(prediction, reference, SPACING), rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("shapes", [((2, 2, 2), (2, 2, 3)), ((2, 2), (2, 2))])
def test_shapes_that_differ_or_have_not_three_axes_are_refused(shapes) -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        measure(np.zeros(shapes[0]), np.zeros(shapes[1]), SPACING)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_neither_memory_order_nor_axis_order_matters(axes: tuple[int, ...], order: str) -> None:
    random = np.random.default_rng(1)
    prediction, reference = random.random((2, 5, 30, 18)) < 0.05
    expected = measure(prediction, reference, SPACING)
    turned = [np.array(mask.transpose(axes), order=order) for mask in (prediction, reference)]
    assert measure(*turned, [SPACING[axis] for axis in axes]) == pytest.approx(expected, rel=1e-12, nan_ok=True)
    flipped = [mask[::-1, :, ::-1] for mask in (prediction, reference)]
    assert measure(*flipped, SPACING) == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("budget", [0.0, 3.0, 1e9])
@pytest.mark.parametrize("seed", range(6))
def test_every_way_to_a_distance_gives_medpys(monkeypatch, seed: int, budget: float) -> None:
    monkeypatch.setattr(surface, "SEARCH_BUDGET", budget)
    monkeypatch.setattr(surface, "_CHUNK", 100)
    random = np.random.default_rng(seed)
    shape = random.permutation([40, 25, random.integers(1, 12)])
    spacing = random.uniform(0.5, 12, 3)
    prediction, reference = (random.random((2, *shape)) < random.uniform(0.002, 0.2, (2, 1, 1, 1))).astype(bool)
    prediction.flat[0] = reference.flat[-1] = True
    found = surface.surface_distances(prediction, reference, spacing)
    expected = [
        binary.__surface_distances(*pair, spacing, 1) for pair in ((prediction, reference), (reference, prediction))
    ]
    np.testing.assert_allclose(np.sort(found), np.sort(np.concatenate(expected)), rtol=1e-12)


def test_borders_are_those_of_scipys_erosion() -> None:
    for mask in masks().values():
        eroded = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1))
        np.testing.assert_array_equal(surface.border(mask), mask & ~eroded)


def test_diagonal_runs_from_outer_corner_to_outer_corner() -> None:
    assert diagonal_mm((3, 4, 1), (1.0, 1.0, 12.0)) == 13.0


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 12)] * 3),
    seed=st.integers(0, 2**32 - 1),
    shares=st.tuples(*[st.sampled_from([0.02, 0.2, 0.5, 0.95, 1.0])] * 2),
)
def test_any_two_masks_equal_medpy_on_full_arrays(shape, spacing, seed, shares) -> None:
    random = np.random.default_rng(seed)
    prediction, reference = (random.random((2, *shape)) < np.reshape(shares, (2, 1, 1, 1))).astype(bool)
    prediction.flat[random.integers(prediction.size)] = reference.flat[random.integers(reference.size)] = True
    found = measure(prediction, reference, spacing)
    expected = by_medpy(prediction, reference, spacing)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-12)
