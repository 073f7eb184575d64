"""What a method may vary over the epochs: how hard the samples are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One epoch's setting."""

    name: str = "full"  #: for the log
    augmentation: float = 1.0  #: factor on the suite augmentation's probabilities, flips excepted
    lesion_crops: float = 0.0  #: share of samples cropped about lesion; the others are cropped anywhere
    crop: float = 1.0  #: height and width of the crop as a share of the slice's; 1 takes the whole slice


class ConstantCurriculum:
    """The same stage in every epoch: the suite's identical augmentation on whole slices."""

    def __call__(self, epoch: int) -> Stage:
        """The stage of an epoch, counted from 0."""
        return Stage()
