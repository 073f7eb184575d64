from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from benchmark.methods.curriculum import ConstantCurriculum, Stage
from benchmark.methods.strokenet.module import Curriculum
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.datamodule import workers_for
from benchmark.pipeline.datasets import MethodView, TrainingSamples, WholeCases, collate, crop_size
from benchmark.pipeline.preparation import PadToMultiple, Preparation
from benchmark.pipeline.sampling import EpochBatches, Key, slice_batches, volume_batches

SLICES = MethodView("slices", 0, PadToMultiple(16), ConstantCurriculum())
VOLUMES = MethodView("volumes", 0, PadToMultiple(16), ConstantCurriculum())


def test_2d_and_3d_methods_see_a_case_deformed_the_same_way(cached: list[CachedCase]) -> None:
    for epoch in (0, 3):
        for case in (0, 12, 20):
            volume = TrainingSamples(cached, VOLUMES, seed=5)[Key(epoch, case)]
            depth = volume["image"].shape[2]
            slices = TrainingSamples(cached, SLICES, seed=5)[Key(epoch, case, tuple(range(depth)))]
            assert torch.equal(volume["image"][0].transpose(0, 1), slices["image"])
            assert torch.equal(volume["reference"][0], slices["reference"])


def test_the_brain_mask_is_deformed_with_the_image(cached: list[CachedCase]) -> None:
    class Brain(Preparation):
        def image(self, image: torch.Tensor, brain: torch.Tensor, spacing_mm: Sequence[float]) -> torch.Tensor:
            return torch.cat([image, brain[None].float()])

    samples = TrainingSamples(cached, MethodView("volumes", 0, Brain(), ConstantCurriculum()), seed=0)
    for epoch in range(3):
        sample = samples[Key(epoch, 20)]
        image, brain = sample["image"][0, :-1], sample["image"][0, -1].bool()
        assert image[1:, brain].mean() > image[1:, ~brain].mean() + 0.5  # maps are 0 outside the brain
        assert set(brain.unique().tolist()) == {False, True}
        assert sample["reference"].max() == 1


def test_samples_differ_between_epochs(cached: list[CachedCase]) -> None:
    samples = TrainingSamples(cached, VOLUMES, seed=0)
    assert not torch.equal(samples[Key(0, 3)]["image"], samples[Key(1, 3)]["image"])


def _epoch(loader: DataLoader, epoch: int) -> list[dict[str, torch.Tensor]]:
    loader.batch_sampler.set_epoch(epoch)
    return list(loader)


@pytest.mark.parametrize("view", [SLICES, VOLUMES], ids=["slices", "volumes"])
def test_an_epoch_is_the_same_with_and_without_workers_and_after_a_restart(
    cached: list[CachedCase], view: MethodView
) -> None:
    depths = [case.brain.shape[2] for case in cached]
    lesion = [case.lesion_slices.tolist() for case in cached]

    def batches(epoch: int) -> list[list[Key]]:
        if view is VOLUMES:
            return volume_batches(depths, 2, 0, epoch)
        return slice_batches(lesion, 16, 0, epoch, lesion_fraction=0.5)

    def loader(workers: int) -> DataLoader:
        samples = TrainingSamples(cached, view, seed=0)
        persistent = workers > 0
        return DataLoader(
            samples, batch_sampler=EpochBatches(batches), collate_fn=collate, num_workers=workers,
            persistent_workers=persistent,
        )  # fmt: skip

    running = loader(0)
    _epoch(running, 0)
    expected = _epoch(running, 1)  # the second epoch of a run
    for restarted in (loader(0), loader(2)):
        torch.manual_seed(123)
        for one, other in zip(expected, _epoch(restarted, 1), strict=True):
            for name in one:
                assert torch.equal(one[name], other[name]), name


def test_axes_are_depth_height_width(cached: list[CachedCase]) -> None:
    case = cached[20]
    item = WholeCases(cached, VOLUMES)[20]
    assert item["reference"].shape == case.brain.shape[::-1]
    np.testing.assert_array_equal(item["reference"].numpy(), np.asarray(case.reference).transpose(2, 1, 0))


def test_images_are_z_scores_inside_the_brain_and_the_background_stays_apart(cached: list[CachedCase]) -> None:
    item = WholeCases(cached, VOLUMES)[5]
    brain = item["brain"].bool()
    for image in item["image"]:
        assert image[brain].mean().item() == pytest.approx(0, abs=1e-3)
        assert image[brain].std().item() == pytest.approx(1, abs=1e-2)
        assert image[~brain].max() < 0  # the raw value 0, below the brain's mean


def test_raw_views_have_physical_units_and_no_augmentation(cached: list[CachedCase]) -> None:
    raw = MethodView("volumes", 0, PadToMultiple(1), ConstantCurriculum(), raw=True)
    expected = torch.from_numpy(np.asarray(cached[2].image).transpose(0, 3, 2, 1).copy())
    assert torch.equal(WholeCases(cached, raw)[2]["image"], expected)
    assert torch.equal(TrainingSamples(cached, raw, seed=0)[Key(3, 2)]["image"][0], expected)


def test_collate_pads_depth_and_marks_what_is_real() -> None:
    def sample(depth: int, value: float) -> dict[str, torch.Tensor]:
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
    view = MethodView("volumes", 0, PadToMultiple(16), Curriculum(10, crop=0.625))
    samples = TrainingSamples(cached, view, seed=0)
    for case in range(len(cached)):
        sample = samples[Key(0, case)]
        assert sample["image"].shape[-2:] == (16, 16)
        assert sample["reference"].any()
        assert samples[Key(9, case)]["image"].shape[-2:] == (32, 32)  # stage C: the whole slice


def test_crops_repeat_for_the_same_epoch_and_move_between_epochs(cached: list[CachedCase]) -> None:
    def anywhere(epoch: int) -> Stage:
        return Stage("B", augmentation=0.0, crop=0.5)

    samples = TrainingSamples(cached, MethodView("volumes", 0, PadToMultiple(16), anywhere), seed=0, augmented=False)
    assert torch.equal(samples[Key(0, 1)]["image"], samples[Key(0, 1)]["image"])
    crops = [samples[Key(epoch, 1)]["image"] for epoch in range(4)]
    assert any(not torch.equal(crops[0], other) for other in crops[1:])


def test_crop_sizes_are_multiples_of_16_within_the_slice() -> None:
    assert [crop_size(length, 0.625) for length in (256, 96, 64, 32)] == [160, 48, 32, 16]
    assert crop_size(8, 0.5) == 8


@pytest.mark.parametrize(
    ("processors", "gpus", "workers"), [(16, 1, 12), (16, 4, 3), (2, 1, 1), (1, 1, 1), (64, 8, 7), (4, 8, 1)]
)
def test_loader_processes_are_a_gpus_share_of_the_cores_but_one(processors: int, gpus: int, workers: int) -> None:
    assert workers_for(processors, gpus) == workers
