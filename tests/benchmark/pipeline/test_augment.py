from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchio as tio
from scipy import ndimage

from benchmark.pipeline.augment import AUGMENTATION, Affine, Draw, Part, Window, augmented, derive_seed, draw
from benchmark.pipeline.inplane import inverted, mapped

SPACING = (0.9, 1.3, 6.0)
#: What resampling in another order may change: images with a standard deviation of 1 and more, and voxels of a mask.
TOLERANCE, VOXELS = 1e-4, 0


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """(C, X, Y, Z), smooth, with negative values; an odd and an even side."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(5, 51, 64, 3)), (0, 2, 2, 0))
    return torch.from_numpy((noise / noise.std()).astype(np.float32))


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    """(1, X, Y, Z) with two masks as bits."""
    random = np.random.default_rng(1)
    return torch.from_numpy((random.random((1, 51, 64, 3)) > 0.6) | 2 * (random.random((1, 51, 64, 3)) > 0.3)).byte()


def network_axes(volume: torch.Tensor) -> torch.Tensor:
    """(C, X, Y, Z) -> (D, C, H, W)."""
    return volume.permute(3, 0, 2, 1).contiguous()


def ours(
    images: torch.Tensor, labels: torch.Tensor, drawn: Draw, window: Window | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    field = None
    if drawn.noise:
        field = network_axes(drawn.noise.field(len(images), tuple(images.shape[1:])))  # type: ignore[arg-type]
        if window:
            field = field[..., window.top : window.top + window.height, window.left : window.left + window.width]
    lowest = images.amin(dim=(1, 2, 3)).expand(images.shape[-1], -1)
    part = Part(images.shape[-1], drawn, SPACING[:2], window, field)
    return augmented(network_axes(images), network_axes(labels)[:, 0], lowest, [part])


def torchios(
    images: torch.Tensor, labels: torch.Tensor, seed: int, epoch: int, case: int, strength: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """The Compose applied by TorchIO, each transform seeded as `draw` seeds it."""
    affine = np.diag([*SPACING, 1.0])
    subject = tio.Subject(
        image=tio.ScalarImage(tensor=images.clone(), affine=affine),
        labels=tio.LabelMap(tensor=labels.clone(), affine=affine),
    )
    for place, transform in enumerate(AUGMENTATION.transforms):
        scaled = copy.copy(transform)
        if not isinstance(transform, tio.RandomFlip):
            scaled.probability = transform.probability * strength
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, epoch, case, place))
            subject = scaled(subject)
    return network_axes(subject["image"].data), network_axes(subject["labels"].data)[:, 0]


def drawn_in(epoch: int, **change: float) -> Draw:
    return draw(5, **{"seed": 0, "epoch": epoch, "case": 7, **change})  # type: ignore[arg-type]


def test_what_is_drawn_and_applied_is_what_torchio_draws_and_applies(
    images: torch.Tensor, labels: torch.Tensor
) -> None:
    kinds = set()
    for epoch in range(40):
        strength = 1.0 if epoch % 2 else 0.5
        drawn = drawn_in(epoch, strength=strength)
        expected, expected_labels = torchios(images, labels, 0, epoch, 7, strength)
        found, found_labels = ours(images, labels, drawn)
        assert (found - expected).abs().max() < TOLERANCE
        assert (found_labels != expected_labels).sum() <= VOXELS
        kinds |= {
            ("flip", drawn.flip),
            *((name, getattr(drawn, name) is None) for name in ("affine", "gammas", "noise")),
        }
    assert len(kinds) == 8  # each transform was drawn, and left out


def test_a_window_is_that_part_of_the_whole_slice_to_the_bit(images: torch.Tensor, labels: torch.Tensor) -> None:
    window = Window(top=9, left=3, height=32, width=48)
    for epoch in range(10):
        whole, part = (ours(images, labels, drawn_in(epoch), view) for view in (None, window))
        for one, other in zip(whole, part, strict=True):
            seen = one[..., 9:41, 3:51]
            assert torch.equal(other, seen)


def test_slices_of_several_cases_are_each_treated_as_alone(images: torch.Tensor, labels: torch.Tensor) -> None:
    draws = [replace(drawn_in(epoch), noise=None) for epoch in range(6)]
    lowest = images.amin(dim=(1, 2, 3)).expand(18, -1)
    parts = [Part(3, drawn, SPACING[:2]) for drawn in draws]
    together = augmented(
        network_axes(images).repeat(6, 1, 1, 1), network_axes(labels)[:, 0].repeat(6, 1, 1), lowest, parts
    )
    for place, drawn in enumerate(draws):
        for joint, alone in zip(together, ours(images, labels, drawn), strict=True):
            assert torch.equal(joint[3 * place : 3 * place + 3], alone)


def test_nothing_drawn_changes_nothing_to_the_bit(images: torch.Tensor, labels: torch.Tensor) -> None:
    found, found_labels = ours(images, labels, Draw())
    assert torch.equal(found, network_axes(images))
    assert torch.equal(found_labels, network_axes(labels)[:, 0])


def test_a_flip_alone_moves_every_voxel_to_the_bit(images: torch.Tensor, labels: torch.Tensor) -> None:
    found, found_labels = ours(images, labels, Draw(flip=True))
    assert torch.equal(found, network_axes(images).flip(-1))
    assert torch.equal(found_labels, network_axes(labels)[:, 0].flip(-1))


def test_the_same_numbers_draw_the_same_whatever_the_global_state_which_is_left_alone() -> None:
    torch.manual_seed(1)
    first = drawn_in(3)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert drawn_in(3) == first
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 100}, {"case": 2}])
def test_another_seed_epoch_or_case_draws_something_else(change: dict[str, int]) -> None:
    for epoch in range(4):
        others = {"epoch": epoch} | {name: value + epoch for name, value in change.items()}
        assert drawn_in(epoch) != drawn_in(**others)


def test_each_transform_is_drawn_as_often_as_the_compose_says() -> None:
    draws = [drawn_in(epoch) for epoch in range(400)]
    shares = [
        sum(drawn.flip for drawn in draws),
        *(sum(getattr(drawn, name) is not None for drawn in draws) for name in ("affine", "gammas", "noise")),
    ]
    for share, transform in zip(shares, AUGMENTATION.transforms, strict=True):
        assert share / 400 == pytest.approx(transform.probability, abs=0.09)


def test_strength_zero_leaves_only_the_flip_and_what_a_curriculum_keeps_is_drawn_as_without_it() -> None:
    kept = 0
    for epoch in range(40):
        full, half, none = (drawn_in(epoch, strength=strength) for strength in (1.0, 0.5, 0.0))
        assert none == Draw(flip=full.flip)
        for name in ("affine", "gammas", "noise"):
            assert getattr(half, name) in (None, getattr(full, name))
            kept += getattr(half, name) is not None
    assert kept > 10


def test_a_point_is_carried_to_where_the_image_shows_it() -> None:
    """A dot of one pixel in the original is found where the inverse of the map takes it."""
    drawn = Draw(flip=True, affine=Affine((1.1, 0.92), 13.0, (5.0, -3.0)))
    dot = torch.zeros(1, 51, 64, 1)
    dot[0, 30, 20, 0] = 1  # column 30, row 20
    moved, _ = ours(dot, dot.byte(), drawn)
    column, row = mapped(inverted(drawn.pixels((64, 51), SPACING[:2])), (30, 20))
    centre = ndimage.center_of_mass(moved[0, 0].numpy())
    assert centre == pytest.approx((row, column), abs=0.2)


def test_slices_do_not_mix(images: torch.Tensor, labels: torch.Tensor) -> None:
    marked = torch.zeros_like(images)
    marked[..., 1] = 1
    for epoch in range(12):
        found, _ = ours(marked, labels, replace(drawn_in(epoch), noise=None))
        assert not found[[0, 2]].any()
        assert found[1].any()


def test_transforms_act_in_the_slice_plane_alone() -> None:
    affine = AUGMENTATION.transforms[1]
    assert affine.scales[4:] == (1, 1)
    assert affine.degrees[:4] == (0, 0, 0, 0)
    assert affine.translation[4:] == (0, 0)


def test_every_transform_of_the_compose_can_be_applied_on_a_device_without_values(
    images: torch.Tensor, labels: torch.Tensor
) -> None:
    for epoch in range(12):
        drawn = drawn_in(epoch)
        shapes = []
        for device in ("cpu", "meta"):
            field = network_axes(drawn.noise.field(5, (51, 64, 3))) if drawn.noise else None
            found = augmented(
                network_axes(images).to(device), network_axes(labels)[:, 0].to(device),
                torch.zeros(3, 5, device=device), [Part(3, drawn, SPACING[:2], None, field)],
            )  # fmt: skip
            assert {part.device.type for part in found} == {device}
            shapes.append([(part.shape, part.dtype) for part in found])
        assert shapes[0] == shapes[1]


def test_a_transform_that_nobody_can_apply_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blur = tio.Compose([tio.RandomBlur(p=1)])
    monkeypatch.setattr("benchmark.pipeline.augment.AUGMENTATION", blur)
    with pytest.raises(TypeError, match="RandomBlur"):
        drawn_in(0)


def test_seeds_differ_for_neighbouring_numbers() -> None:
    seeds = {derive_seed(a, b, c) for a in range(6) for b in range(6) for c in range(6)}
    assert len(seeds) == 216
    assert all(0 <= seed < 2**63 for seed in seeds)
