"""The dense CRF against its definition.

The kernels are applied on a permutohedral lattice (test_lattice.py): values are spread to the corners of
simplices, blurred with [1/2, 1, 1/2] along the lattice's axes and read back (Adams et al. 2010).
That is a Gaussian convolved with the lattice's own interpolation, so single entries of G are off by several percent of
the peak, more so where the points of the bilateral kernel lie sparsely and the blur finds corners that do not exist.
Through five iterations this moves single probabilities by up to 0.15 where they are near 0.5, and their mean by less
than 0.015, where the CRF itself moves them by 0.25 on average. Where the lattice is exact (voxels alone, voxels in one
place), so are the tests.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmark.methods.fcn3d_crf import crf
from benchmark.methods.fcn3d_crf.crf import CRFSettings, brain_box, dense_crf, dense_crf_in_brain, margin_voxels
from benchmark.methods.fcn3d_crf.module import FCN3DCRFMethod
from leaderboard.errors import InputError

ISOTROPIC = (1.0, 1.0, 1.0)
SLAB = (12.0, 1.0, 1.0)
UNLIKE = CRFSettings(gaussian_sigma=1, bilateral_sigma=3, gaussian_weight=3, bilateral_weight=1)


def noisy(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probability of a noisy block and five images that show it."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape)
    truth[:, 3:8, 3:8] = 1
    probability = 1 / (1 + np.exp(1 - 2 * truth - rng.normal(0, 1, shape)))
    images = 2 * truth + ndimage.gaussian_filter(rng.normal(0, 1, (5, *shape)), (0, 0, 1, 1))
    return probability.astype(np.float32), images.astype(np.float32)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)


def weighted_features(
    shape: tuple[int, ...], images: np.ndarray, spacing: tuple[float, ...], settings: CRFSettings
) -> list[tuple[float, np.ndarray]]:
    """Weight of each kernel and the voxels' features for it, in standard deviations."""
    places = np.indices(shape).reshape(3, -1).astype(np.float32)
    if settings.units == "mm":
        places *= np.array(spacing, dtype=np.float32)[:, None]
    colours = images.reshape(len(images), -1) / settings.intensity_sigma
    appearance = np.concatenate([places / settings.bilateral_sigma, colours])
    return [(settings.gaussian_weight, places / settings.gaussian_sigma), (settings.bilateral_weight, appearance)]


def by_definition(
    probability: np.ndarray, images: np.ndarray, spacing: tuple[float, ...], settings: CRFSettings
) -> np.ndarray:
    lesion = probability.ravel().astype(float)
    log_p = np.log(np.stack([1 - lesion, lesion]).clip(1e-5, 1))
    kernels = []
    for weight, features in weighted_features(probability.shape, images, spacing, settings):
        features = features.astype(float)
        g = np.exp(-((features[:, :, None] - features[:, None]) ** 2).sum(axis=0) / 2)
        norm = g.sum(axis=1)
        kernels.append(weight * g / np.sqrt(norm[:, None] * norm[None]))
    q = softmax(log_p)
    for _ in range(settings.iterations):
        q = softmax(log_p + sum(q @ kernel for kernel in kernels))
    return q[1].reshape(probability.shape)


@pytest.mark.parametrize("shape", [(2, 16, 16), (4, 12, 12)])
@pytest.mark.parametrize(
    "settings",
    [
        CRFSettings(),
        CRFSettings(bilateral_weight=0),
        CRFSettings(gaussian_weight=0),
        CRFSettings(gaussian_sigma=4, bilateral_sigma=4, units="mm"),
        UNLIKE,
    ],
    ids=["both", "gaussian", "bilateral", "mm", "unlike"],
)
def test_it_is_the_definition_within_the_lattices_error(shape: tuple[int, ...], settings: CRFSettings) -> None:
    probability, images = noisy(shape)
    spacing = (5.0, 1.5, 1.5)
    found = dense_crf(probability, images, spacing, settings)
    expected = by_definition(probability, images, spacing, settings)
    error = np.abs(found - expected)
    assert error.max() < 0.15
    assert error.mean() < 0.015
    assert np.mean((found > 0.5) != (expected > 0.5)) < 0.02
    assert np.abs(expected - probability).mean() > 8 * error.mean()


def on_a_grid(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As `noisy`, with a part that looks the same everywhere, as outside the brain: there positions alone matter.

    A multiple of four voxels: the authors' code puts voxels of its own at the origin to fill up the last four.
    """
    probability, images = noisy((2, 14, 14), seed)
    images[:, :, :, 10:] = images[0, 0, 0, 0]
    return probability, images


COMPARED = [CRFSettings(), UNLIKE, CRFSettings(bilateral_weight=0), CRFSettings(units="mm"), CRFSettings(iterations=0)]
COMPARED_SPACING = (5.0, 1.5, 1.5)
#: What pydensecrf2 1.1 gave for them, with the input; written by `write_authors_result`.
AUTHORS_RESULT = Path(__file__).with_name("pydensecrf2.npz")


def by_the_authors_code(probability: np.ndarray, images: np.ndarray, settings: CRFSettings) -> np.ndarray:
    package = pytest.importorskip("pydensecrf.densecrf", reason="the authors' code is not installed (the extra crf)")
    field = package.DenseCRF(probability.size, 2)
    both = np.stack([1 - probability.ravel().astype(float), probability.ravel()]).clip(1e-5, 1)
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(both), dtype=np.float32))
    for weight, features in weighted_features(probability.shape, images, COMPARED_SPACING, settings):
        features = np.ascontiguousarray(features, dtype=np.float32)
        field.addPairwiseEnergy(features, weight, package.DIAG_KERNEL, package.NORMALIZE_SYMMETRIC)
    return np.array(field.inference(settings.iterations))[1].reshape(probability.shape)


def write_authors_result() -> None:
    """``python tests/benchmark/methods/fcn3d_crf/test_crf.py``, where the extra ``crf`` is installed."""
    probability, images = on_a_grid(0)
    results = [by_the_authors_code(probability, images, settings) for settings in COMPARED]
    np.savez_compressed(AUTHORS_RESULT, probability=probability, images=images, results=np.stack(results))


@pytest.mark.parametrize("number", range(len(COMPARED)))
def test_it_is_what_the_authors_code_gave(number: int) -> None:
    kept = np.load(AUTHORS_RESULT)
    found = dense_crf(kept["probability"], kept["images"], COMPARED_SPACING, COMPARED[number])
    np.testing.assert_allclose(found, kept["results"][number], atol=2e-6)


@pytest.mark.parametrize("settings", COMPARED)
def test_it_is_what_the_authors_code_gives(settings: CRFSettings) -> None:
    probability, images = on_a_grid(1)
    expected = by_the_authors_code(probability, images, settings)
    np.testing.assert_allclose(dense_crf(probability, images, COMPARED_SPACING, settings), expected, atol=2e-6)


def test_a_sigma_too_small_for_the_images_is_refused_by_its_name() -> None:
    probability, images = noisy((2, 10, 10))
    with pytest.raises(InputError, match="crf_intensity_sigma"):
        dense_crf(probability, 1e5 * images, ISOTROPIC, CRFSettings(intensity_sigma=0.01))


@pytest.mark.parametrize("name", ["gaussian_sigma", "bilateral_sigma", "intensity_sigma"])
@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_no_other_sigma_fits_better(name: str, factor: float) -> None:
    probability, _ = noisy((2, 16, 16))
    images = np.random.default_rng(1).normal(0, 1, (1, *probability.shape)).astype(np.float32)
    gaussian = name == "gaussian_sigma"
    settings = CRFSettings(iterations=1, gaussian_weight=4.0 * gaussian, bilateral_weight=4.0 * (not gaussian))
    found = dense_crf(probability, images, ISOTROPIC, settings)
    other = replace(settings, **{name: factor * getattr(settings, name)})
    errors = [np.abs(found - by_definition(probability, images, ISOTROPIC, s)).mean() for s in (settings, other)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("iterations", [0, 1, 2, 5])
def test_a_voxel_like_no_other_is_tied_to_itself_alone(iterations: int) -> None:
    # K is the identity then, exactly: this shows that the voxel itself counts, the weights, the number of iterations
    # and the least probability.
    probability = np.array([0.0, 0.001, 0.3, 0.45, 0.6, 0.9, 0.999, 1.0], dtype=np.float32).reshape(2, 2, 2)
    images = 50.0 * np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    settings = CRFSettings(iterations=iterations, gaussian_weight=0, bilateral_weight=1.7)
    found = dense_crf(probability, images, ISOTROPIC, settings)
    lesion = probability.ravel().astype(float)
    log_p = np.log(np.stack([1 - lesion, lesion]).clip(1e-5, 1))
    q = softmax(log_p)
    for _ in range(iterations):
        q = softmax(log_p + 1.7 * q)
    np.testing.assert_allclose(found.ravel(), q[1], atol=1e-5)


def test_voxels_in_one_place_all_hear_the_mean() -> None:
    # K is 1/N everywhere then: the normalisation.
    probability = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
    images = np.zeros((5, 2, 3, 4), dtype=np.float32)
    found = dense_crf(probability, images, ISOTROPIC, CRFSettings(gaussian_sigma=1e6, bilateral_sigma=1e6))
    log_p = np.log(np.stack([1 - probability.ravel(), probability.ravel()]))
    q = softmax(log_p)
    for _ in range(5):
        q = softmax(log_p + (2 + 2) * q.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(found.ravel(), q[1], atol=1e-4)


def test_in_mm_slices_far_apart_do_not_speak_to_each_other() -> None:
    probability, images = noisy((3, 14, 14))
    settings = CRFSettings(units="mm")
    together = dense_crf(probability, images, SLAB, settings)
    for number in range(3):
        alone = dense_crf(probability, images, SLAB, settings, box=(slice(number, number + 1), ..., slice(None)))
        np.testing.assert_allclose(alone[0], together[number], atol=1e-5)
    assert np.abs(dense_crf(probability, images, SLAB, CRFSettings()) - together).max() > 0.05


@pytest.mark.parametrize("units", ["voxels", "mm"])
@pytest.mark.parametrize("bilateral_weight", [0.0, 2.0])
def test_on_the_brains_box_it_is_that_of_the_whole_array_where_the_brain_is(
    units: crf.Units, bilateral_weight: float
) -> None:
    rng = np.random.default_rng(0)
    shape = (4, 92, 84)
    brain = np.zeros(shape, dtype=bool)
    brain[:, 32:58, 33:51] = True
    # Probabilities near 0.5 up to the brain's edge and beyond: the hardest case for cutting.
    probability = (0.5 + rng.normal(0, 0.1, shape)).clip(0, 1).astype(np.float32)
    images = np.where(brain, ndimage.gaussian_filter(rng.normal(0, 3, (5, *shape)), (0, 0, 1, 1)), -2.0)
    images = images.astype(np.float32)
    settings, spacing = CRFSettings(units=units, bilateral_weight=bilateral_weight), (5.0, 0.9, 0.9)
    whole = dense_crf(probability, images, spacing, settings)
    boxed = dense_crf_in_brain(probability, images, brain, spacing, settings)
    assert np.abs(boxed - whole)[brain].max() < 1e-4
    box = brain_box(brain, margin_voxels(spacing, settings))
    assert boxed[box].size < boxed.size
    outside = np.ones(shape, dtype=bool)
    outside[box] = False
    np.testing.assert_array_equal(boxed[outside], probability[outside])


def test_the_box_is_the_brains_with_its_margin_and_ends_with_the_array() -> None:
    brain = np.zeros((3, 20, 20), dtype=bool)
    brain[1, 4:7, 15] = True
    assert brain_box(brain, (0, 0, 0)) == (slice(1, 2), slice(4, 7), slice(15, 16))
    assert brain_box(brain, (1, 5, 2)) == (slice(0, 3), slice(0, 12), slice(13, 18))


def test_without_brain_nothing_changes() -> None:
    probability, images = noisy((2, 10, 10))
    brain = np.zeros_like(probability, dtype=bool)
    np.testing.assert_array_equal(dense_crf_in_brain(probability, images, brain, SLAB, CRFSettings()), probability)


@pytest.mark.parametrize(
    "wrong",
    [
        {"units": "cm"}, {"gaussian_sigma": 0.0}, {"intensity_sigma": 1e-9}, {"bilateral_sigma": None},
        {"intensity_sigma": float("nan")}, {"iterations": -1}, {"bilateral_weight": -2},
    ],
)  # fmt: skip
def test_settings_without_meaning_are_refused_by_their_names(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"model.init_args.crf_{next(iter(wrong))} must be"):
        CRFSettings(**wrong)


def test_the_method_gives_both_rows_from_one_prediction() -> None:
    method = FCN3DCRFMethod()
    shape = (2, 24, 24)
    probability = torch.full(shape, 0.1)
    probability[:, 8:16, 8:16] = 0.9
    probability[:, 11, 11] = 0.3  # a hole
    probability[0, 3, 3] = 0.7  # a speck
    batch = {
        "image": torch.zeros(5, *shape),
        "brain": torch.ones(shape, dtype=torch.uint8),
        "spacing_mm": torch.tensor([1.0, 1.0, 12.0]),
    }
    masks = method.postprocess(probability, batch)
    assert set(masks) == {"", *method.ablations}
    assert torch.equal(masks["without_crf"], probability > 0.5)
    assert masks[""].dtype == torch.bool
    assert masks[""][:, 11, 11].all()
    assert not masks[""][0, 3, 3]


def test_the_method_knows_the_order_of_the_axes() -> None:
    # Spacings come along x, y, z; the arrays' axes are z, y, x.
    method = FCN3DCRFMethod(crf_units="mm")
    probability, images = noisy((4, 14, 14), seed=3)
    brain = np.ones_like(probability, dtype=np.uint8)
    batch = {
        "image": torch.from_numpy(images),
        "brain": torch.from_numpy(brain),
        "spacing_mm": torch.tensor([0.8, 3.0, 12.0]),
    }
    expected = dense_crf_in_brain(probability, images, brain > 0, (12.0, 3.0, 0.8), CRFSettings(units="mm"))
    swapped = dense_crf_in_brain(probability, images, brain > 0, (0.8, 3.0, 12.0), CRFSettings(units="mm"))
    found = method.postprocess(torch.from_numpy(probability), batch)[""].numpy()
    np.testing.assert_array_equal(found, expected > 0.5)
    assert ((swapped > 0.5) != found).any()


if __name__ == "__main__":
    write_authors_result()
