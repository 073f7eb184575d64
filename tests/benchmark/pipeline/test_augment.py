from __future__ import annotations

import numpy as np
import pytest
import torch
import torchio as tio

from benchmark.pipeline.augment import AUGMENTATION, augment, derive_seed


@pytest.fixture
def subject() -> tio.Subject:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 24, 24, 3)).astype(np.float32)
    reference = np.zeros((1, 24, 24, 3), np.uint8)
    reference[0, 5:12, 8:15, 1] = 1
    affine = np.diag([3.5, 3.5, 6.0, 1.0])
    return tio.Subject(
        image=tio.ScalarImage(tensor=torch.from_numpy(image), affine=affine),
        reference=tio.LabelMap(tensor=torch.from_numpy(reference), affine=affine),
    )


def images(subject: tio.Subject, **arguments: object) -> tuple[np.ndarray, np.ndarray]:
    changed = augment(subject, **{"seed": 0, "epoch": 0, "case": 1, **arguments})  # type: ignore[arg-type]
    return changed["image"].numpy(), changed["reference"].numpy()


def test_same_seed_epoch_and_case_give_the_same_sample_whatever_the_global_state(subject: tio.Subject) -> None:
    torch.manual_seed(1)
    first = images(subject)
    torch.manual_seed(2)
    second = images(subject)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_global_random_state_is_left_alone(subject: tio.Subject) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    images(subject)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"case": 2}])
def test_another_seed_epoch_or_case_gives_another_sample(subject: tio.Subject, change: dict[str, int]) -> None:
    differing = 0
    for epoch in range(4):
        one = images(subject, epoch=epoch)[0]
        other = images(subject, **{"epoch": epoch} | {k: v + epoch for k, v in change.items()})[0]
        differing += not np.array_equal(one, other)
    assert differing == 4


def test_slices_do_not_mix(subject: tio.Subject) -> None:
    marked = torch.zeros(1, 24, 24, 3)
    marked[..., 1] = 1
    subject["image"].set_data(marked)
    noiseless = 0
    for epoch in range(12):
        image, _ = images(subject, epoch=epoch)
        if image[..., 0].any():  # noise was drawn
            continue
        noiseless += 1
        assert not image[..., 2].any()
        assert image[..., 1].any()
    assert noiseless > 0


def test_the_reference_moves_with_the_image_and_stays_binary(subject: tio.Subject) -> None:
    subject["image"].set_data(subject["reference"].data.float().repeat(2, 1, 1, 1))
    for epoch in range(8):
        image, reference = images(subject, epoch=epoch, strength=1.0)
        assert set(np.unique(reference)) <= {0, 1}
        overlap = np.minimum(image[0] > 0.5, reference[0]).sum() * 2 / ((image[0] > 0.5).sum() + reference.sum())
        assert overlap > 0.85  # linear against nearest interpolation of the same mask


def test_strength_zero_leaves_only_the_flip(subject: tio.Subject) -> None:
    original, flipped = subject["image"].numpy(), subject["image"].numpy()[:, ::-1]
    seen = set()
    for epoch in range(12):
        image, _ = images(subject, epoch=epoch, strength=0.0)
        kinds = [np.array_equal(image, original), np.array_equal(image, flipped)]
        assert any(kinds)
        seen.add(kinds.index(True))
    assert seen == {0, 1}


def test_transforms_that_a_curriculum_keeps_draw_as_without_it(subject: tio.Subject) -> None:
    identical = sum(
        np.array_equal(images(subject, epoch=e)[1], images(subject, epoch=e, strength=0.5)[1]) for e in range(30)
    )
    assert 5 < identical < 30  # about half of the epochs keep exactly the same spatial transforms


def test_transforms_act_in_the_slice_plane_alone() -> None:
    affine = AUGMENTATION.transforms[1]
    assert affine.scales[4:] == (1, 1)
    assert affine.degrees[:4] == (0, 0, 0, 0)
    assert affine.translation[4:] == (0, 0)


def test_seeds_differ_for_neighbouring_numbers() -> None:
    seeds = {derive_seed(a, b, c) for a in range(6) for b in range(6) for c in range(6)}
    assert len(seeds) == 216
    assert all(0 <= seed < 2**63 for seed in seeds)
