from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from served import CPU, SLICES, VOLUMES, assert_same, batches_of, epoch_of, samples, whole

from benchmark.machine.graphs import SideStream
from benchmark.methods.strokenet.module import Curriculum
from benchmark.pipeline.augment import draw
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.curriculum import ConstantCurriculum, Stage
from benchmark.pipeline.datasets import (
    Batch,
    MethodView,
    TrainingBatches,
    TrainingSamples,
    collate,
    crop_size,
    padded,
)
from benchmark.pipeline.inplane import inverted, mapped
from benchmark.pipeline.preparation import PadToMultiple, Plane, Preparation, with_neighbours
from benchmark.pipeline.resampling import ResampleTo
from benchmark.pipeline.sampling import Key
from benchmark.pipeline.store import Store


def test_2d_and_3d_methods_see_a_case_deformed_the_same_way(cached: list[CachedCase]) -> None:
    for epoch in (0, 3):
        for case in (0, 12, 20):
            volume = samples(cached, VOLUMES, 5)[[Key(epoch, case)]]
            depth = volume["image"].shape[2]
            slices = samples(cached, SLICES, 5)[[Key(epoch, case, tuple(range(depth)))]]
            assert torch.equal(volume["image"][0].transpose(0, 1), slices["image"])
            assert torch.equal(volume["reference"][0], slices["reference"])


def test_a_slice_is_the_same_whatever_else_is_in_its_batch(cached: list[CachedCase]) -> None:
    view = replace(SLICES, neighbours=1)
    alone = samples(cached, view)[[Key(2, 5, (1, 3))]]
    among = samples(cached, view)[[Key(2, 3, (0,)), Key(2, 5, (1, 2, 3)), Key(2, 20, (1,))]]
    assert torch.equal(among["image"][[1, 3]], alone["image"])
    assert torch.equal(among["reference"][[1, 3]], alone["reference"])


def test_neighbours_are_those_of_the_augmented_and_prepared_case(cached: list[CachedCase]) -> None:
    case = next(place for place, entry in enumerate(cached) if entry.depth == 8)
    for preparation in (PadToMultiple(16), ResampleTo(3.0, 64, slice_mm=3.0)):
        view = replace(VOLUMES, preparation=preparation)
        volume = samples(cached, view)[[Key(1, case)]]
        depth = volume["reference"].shape[1]
        chosen = (depth - 1, 0, 3)
        slices = samples(cached, replace(view, view="slices", neighbours=2))[[Key(1, case, chosen)]]
        expected = with_neighbours(volume["image"][0], torch.tensor(chosen), 2)
        torch.testing.assert_close(slices["image"], expected, rtol=0, atol=1e-6)
        assert torch.equal(slices["reference"], volume["reference"][0][list(chosen)])


class Brain(Preparation):
    """The brain mask beside the images."""

    def image(self, image: torch.Tensor, brain: torch.Tensor, planes: Sequence[Plane]) -> torch.Tensor:
        return torch.cat([image, brain[:, None].float()], dim=1)


def test_the_brain_mask_is_deformed_with_the_image(cached: list[CachedCase]) -> None:
    served = samples(cached, MethodView("volumes", 0, Brain(), ConstantCurriculum()))
    for epoch in range(3):
        sample = served[[Key(epoch, 20)]]
        image, brain = sample["image"][0, :-1], sample["image"][0, -1].bool()
        assert image[1:, brain].mean() > image[1:, ~brain].mean() + 0.5  # maps are 0 outside the brain
        assert set(brain.unique().tolist()) == {False, True}
        assert sample["reference"].max() == 1


def test_samples_differ_between_epochs(cached: list[CachedCase]) -> None:
    served = samples(cached, VOLUMES)
    assert not torch.equal(served[[Key(0, 3)]]["image"], served[[Key(1, 3)]]["image"])


@pytest.mark.parametrize("view", [SLICES, VOLUMES], ids=["slices", "volumes"])
def test_an_epoch_is_the_same_after_a_restart_and_however_far_batches_are_planned_ahead(
    cached: list[CachedCase], view: MethodView, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = TrainingBatches(samples(cached, view), batches_of(cached, view), 3)
    epoch_of(running, 0)
    expected = epoch_of(running, 1)  # the second epoch of a run
    assert len(expected) == len(running)
    torch.manual_seed(123)
    restarted = TrainingBatches(samples(cached, view), batches_of(cached, view), 3)
    for one, other in zip(expected, epoch_of(restarted, 1), strict=True):
        assert_same(one, other)
    # What a GPU gets: planned ahead, noise from threads. The store's device is asked for that alone here.
    store = Store(cached, CPU)
    monkeypatch.setattr(store, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **__: tensor)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr("benchmark.pipeline.datasets.SideStream", lambda _: SideStream(CPU))
    ahead = TrainingBatches(TrainingSamples(store, view, seed=0), batches_of(cached, view), 3)
    ahead.sampler.set_epoch(1)
    next(iter(ahead))  # an epoch that is left
    for epoch in (1, 0, 1, 2):  # the last was planned in the one before
        for one, other in zip(epoch_of(running, epoch), epoch_of(ahead, epoch), strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("view", [SLICES, VOLUMES], ids=["slices", "volumes"])
def test_two_processes_together_see_what_one_sees(cached: list[CachedCase], view: MethodView) -> None:
    single = epoch_of(TrainingBatches(samples(cached, view), batches_of(cached, view), 3), 1)
    parts = [
        epoch_of(TrainingBatches(samples(cached, view), batches_of(cached, view, rank, 2), 3), 1) for rank in (0, 1)
    ]
    for batch, *shared in zip(single, *parts, strict=True):
        images = [image for part in shared for image in part["image"]]
        for image in batch["image"]:  # a process pads its volumes to the deepest of its own
            assert any(torch.equal(image[:, : other.shape[1]], other[:, : image.shape[1]]) for other in images)


def test_slices_of_other_sizes_are_padded_and_marked(cached: list[CachedCase]) -> None:
    small = replace(
        cached[20],
        image=cached[20].image[..., :24, :28],
        brain=cached[20].brain[..., :24, :28],
        reference=cached[20].reference[..., :24, :28],  # type: ignore[index]
    )
    mixed = [cached[18], small, cached[19]]
    batch = samples(mixed, MethodView("slices", 0, Preparation(), ConstantCurriculum()))[
        [Key(0, 0, (0, 1)), Key(0, 1, (0,)), Key(0, 2, (1,))]
    ]
    assert batch["image"].shape == (4, 5, 32, 32)
    assert batch["valid"].sum(dim=(1, 2)).tolist() == [1024, 1024, 1024, 24 * 28]  # sizes come one after the other


def test_axes_are_depth_height_width(cached: list[CachedCase]) -> None:
    item = whole(cached, VOLUMES)[20]
    np.testing.assert_array_equal(item["reference"].numpy(), cached[20].reference)
    assert item["image"].shape == (5, *item["reference"].shape)


def test_images_are_z_scores_inside_the_brain_and_the_background_stays_apart(cached: list[CachedCase]) -> None:
    item = whole(cached, VOLUMES)[5]
    brain = item["brain"].bool()
    for image in item["image"]:
        assert image[brain].mean().item() == pytest.approx(0, abs=1e-3)
        assert image[brain].std().item() == pytest.approx(1, abs=1e-2)
        assert image[~brain].max() < 0  # the raw value 0, below the brain's mean


def test_raw_views_have_physical_units(cached: list[CachedCase]) -> None:
    raw = MethodView("volumes", 0, PadToMultiple(1), ConstantCurriculum(), raw=True)
    item = whole(cached, raw)[2]
    np.testing.assert_array_equal(item["image"].numpy(), cached[2].image.swapaxes(0, 1))
    np.testing.assert_array_equal(item["brain"].numpy(), cached[2].brain)
    np.testing.assert_array_equal(item["reference"].numpy(), cached[2].reference)


def test_without_augmentation_a_sample_is_the_case_as_it_is(cached: list[CachedCase]) -> None:
    item, sample = whole(cached, VOLUMES)[4], samples(cached, VOLUMES, augmented=False)[[Key(7, 4)]]
    assert torch.equal(sample["image"][0], item["image"])
    assert torch.equal(sample["reference"][0], item["reference"])


def test_collate_pads_depth_and_marks_what_is_real() -> None:
    def sample(depth: int, value: float) -> Batch:
        return {
            "image": torch.full((1, 5, depth, 8, 8), value),
            "reference": torch.ones(1, depth, 8, 8, dtype=torch.uint8),
        }

    batch = collate([sample(2, 1.0), sample(4, 2.0)])
    assert batch["image"].shape == (2, 5, 4, 8, 8)
    assert batch["valid"].sum(dim=(1, 2, 3)).tolist() == [2 * 64, 4 * 64]
    assert batch["reference"].sum(dim=(1, 2, 3)).tolist() == [2 * 64, 4 * 64]
    assert (batch["image"][0] == 1.0).all()  # replicated, no foreign value


def test_lesion_crops_hold_lesion_and_fit_the_network(cached: list[CachedCase]) -> None:
    served = samples(cached, MethodView("volumes", 0, PadToMultiple(16), Curriculum(10, crop=0.625)))
    for case in range(len(cached)):
        sample = served[[Key(0, case)]]
        assert sample["image"].shape[-2:] == (16, 16)
        assert sample["reference"].any()
        assert served[[Key(9, case)]]["image"].shape[-2:] == (32, 32)  # stage C: the whole slice


def test_a_crop_about_lesion_follows_it_through_the_augmentation(cached: list[CachedCase]) -> None:
    def about_lesion(epoch: int) -> Stage:
        return Stage("B", augmentation=1.0, lesion_crops=1.0, crop=0.5)

    served = samples(cached, MethodView("volumes", 0, PadToMultiple(16), about_lesion))
    uncropped = samples(cached, MethodView("volumes", 0, PadToMultiple(16), ConstantCurriculum()))
    found = 0
    for epoch in range(6):
        for case in range(0, len(cached), 4):
            kept = uncropped[[Key(epoch, case)]]["reference"].any()
            found += bool(kept) == bool(served[[Key(epoch, case)]]["reference"].any())
    assert found == 36


def test_crops_are_parts_of_the_whole_slice_and_move_between_epochs(cached: list[CachedCase]) -> None:
    def anywhere(epoch: int) -> Stage:
        return Stage("B", crop=0.5)

    cropped = samples(cached, MethodView("volumes", 0, PadToMultiple(16), anywhere))
    full = samples(cached, MethodView("volumes", 0, PadToMultiple(16), ConstantCurriculum()))
    places = set()
    for epoch in range(5):
        crop, slices = cropped[[Key(epoch, 1)]]["image"][0, 1, 0], full[[Key(epoch, 1)]]["image"][0, 1, 0]
        assert crop.shape == (16, 16)
        windows = slices.unfold(0, 16, 1).unfold(1, 16, 1)
        apart = (windows - crop).abs().amax(dim=(2, 3))
        assert apart.min() < 1e-4
        places.add(int(apart.argmin()))
    assert len(places) > 1


def test_the_mirror_of_a_plane_is_the_cases_own_seen_through_the_augmentation(cached: list[CachedCase]) -> None:
    """A pixel, taken to the original, mirrored there and taken back, is where the plane's mirror takes it."""
    planes: list[Plane] = []

    class Noted(Preparation):
        def image(self, image: torch.Tensor, brain: torch.Tensor, given: Sequence[Plane]) -> torch.Tensor:
            planes.extend(given)
            return image

    served = samples(cached, MethodView("volumes", 0, Noted(), ConstantCurriculum()))
    case = cached[20]
    line = case.midline
    angle = np.radians(line.angle_deg)
    normal, mm = np.array([np.cos(angle), np.sin(angle)]), np.array(case.pixel_mm)
    for epoch in range(6):
        planes.clear()
        served[[Key(epoch, 20)]]
        pixels = draw(5, seed=0, epoch=epoch, case=case.number).pixels(case.size, case.pixel_mm)
        original = np.array(mapped(pixels, (9.0, 21.0))) * mm
        away = normal @ (original - np.array(line.centre_mm)) - line.shift_mm
        expected = mapped(inverted(pixels), tuple((original - 2 * away * normal) / mm))
        assert mapped(planes[0].mirror, (9.0, 21.0)) == pytest.approx(expected, abs=1e-9)


def test_crop_sizes_are_multiples_of_16_within_the_slice() -> None:
    assert [crop_size(length, 0.625) for length in (256, 96, 64, 32)] == [160, 48, 32, 16]
    assert crop_size(8, 0.5) == 8


def test_padding_a_batch_once_more_is_padding_it_at_once() -> None:
    samples = [
        {"image": torch.randn(1, 2, depth, 4, 4), "reference": torch.ones(1, depth, 4, 4, dtype=torch.uint8)}
        for depth in (1, 2, 4)
    ]
    twice, once = padded(collate(samples[:2]), (4, 4, 4)), collate(samples)
    assert all(torch.equal(twice[name], once[name][:2]) for name in ("image", "reference", "valid"))
