"""How plain_unet takes slices and volumes whose sizes its strides do not divide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.pipeline.preparation import PadToMultiple


class RepeatSlices(PadToMultiple):
    """`PadToMultiple` whose added slices carry the last slice's reference as they carry its image.

    Background there would teach the network that the lesion it sees is none.
    """

    def reference(self, reference: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """See `PadToMultiple`; what is padded in plane is background."""
        return super().reference(reference[self._with_repeats(len(reference))], spacing_mm)

    def lesion_slices(self, lesion: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
        """See `PadToMultiple`."""
        return lesion[self._with_repeats(len(lesion)).numpy()]

    def _with_repeats(self, depth: int) -> Tensor:
        """Indices of the slices, the last one repeated up to a multiple."""
        return torch.arange(depth + -depth % self.slices).clamp(max=depth - 1)
