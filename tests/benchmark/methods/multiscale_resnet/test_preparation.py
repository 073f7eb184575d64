from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from benchmark.methods.multiscale_resnet import MultiScaleResNetMethod
from benchmark.pipeline.augment import draw
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.curriculum import ConstantCurriculum
from benchmark.pipeline.datasets import MethodView, TrainingSamples, WholeCases
from benchmark.pipeline.inplane import sample
from benchmark.pipeline.midline import mirror_map
from benchmark.pipeline.preparation import PadToMultiple, Plane, Preparation, with_neighbours
from benchmark.pipeline.sampling import Key
from benchmark.pipeline.store import Store


def mirrored(image: torch.Tensor, pixels: np.ndarray) -> torch.Tensor:
    """(C, D, H, W), each slice through a map."""
    slices = sample(image.transpose(0, 1), [pixels] * image.shape[1], (image.shape[2], image.shape[3]), "border")
    return slices.transpose(0, 1)


def test_channels_are_maps_then_mirror_images_then_neighbours(cached: list[CachedCase]) -> None:
    store = Store(cached, torch.device("cpu"))
    item = WholeCases(store, MultiScaleResNetMethod(pixel_mm=None, size=None).view_of(1))[2]
    plain = WholeCases(store, MethodView("slices", 0, PadToMultiple(16), ConstantCurriculum()))[2]
    case = cached[2]
    assert torch.equal(item["image"][:5], plain["image"])
    assert torch.equal(item["image"][5:], mirrored(plain["image"], mirror_map(case.midline, case.spacing_mm)))
    stacked = with_neighbours(item["image"], torch.tensor([1]), 1)
    assert stacked.shape[1] == 30
    assert torch.equal(stacked[0, 10:15], plain["image"][:, 1])  # the slice itself is the middle third


def test_the_mirror_image_of_an_augmented_head_is_the_augmented_mirror_image(cached: list[CachedCase]) -> None:
    """Whichever way a head was turned, each half lies beside its own other half."""
    store, case = Store(cached, torch.device("cpu")), cached[20]
    views = [
        MultiScaleResNetMethod(pixel_mm=None, size=None).view_of(1),
        MethodView("volumes", 0, Brain(), ConstantCurriculum()),
    ]
    served, brains = (TrainingSamples(store, view, seed=3) for view in views)
    original = torch.from_numpy(case.zscored()).transpose(0, 1)
    reflected = mirrored(original, mirror_map(case.midline, case.spacing_mm))
    moved = 0
    for epoch in range(6):
        drawn = replace(draw(5, seed=3, epoch=epoch, case=case.number), gammas=None, noise=None)
        pixels = drawn.pixels(case.size, case.pixel_mm)
        key = Key(epoch, 20, tuple(range(case.depth)))
        seen = served[[key]]["image"].unflatten(1, (3, 2, 5))[:, 1]  # the slices themselves, both halves
        inside = brains[[Key(epoch, 20)]]["image"][0, 0] > 0
        expected = mirrored(reflected, pixels)
        for channel in range(5):
            pair = torch.stack([seen[:, 1, channel][inside], expected[channel][inside]])
            assert torch.corrcoef(pair)[0, 1] > 0.85  # noise and gamma are in one of them
        moved += not np.allclose(pixels, np.eye(2, 3))
    assert moved > 3


class Brain(Preparation):
    """Serves the brain mask as the image."""

    def image(self, image: torch.Tensor, brain: torch.Tensor, planes: Sequence[Plane]) -> torch.Tensor:
        return brain[:, None].float()
