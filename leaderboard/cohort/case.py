"""What a case is, and what an image of it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Partition = Literal["training", "testing"]
PARTITIONS: tuple[Partition, ...] = ("training", "testing")
#: HU between which soft tissue lies; beyond are bone, metal and air.
CT_WINDOW = (0.0, 100.0)


@dataclass(frozen=True)
class ImageKind:
    """What all cases of a cohort have an image of.

    Attributes:
        name: such as ``CT_Tmax``.
        shows: what it is a map of, whatever the release calls it: ``Tmax``, ``MTT``, ``CBF``, ``CBV``, ``CT``,
            ``DWI``, ``ADC``, ``FLAIR``, ``T1w``; a method that needs certain maps asks by these.
        unit: of its values; empty where they have none.
        tissue: the image is 0 outside the brain, so it tells where the brain is.
        window: the range that tissue has; networks see the image clipped to it, and 0 outside the brain.
        shown: the values that are black and white in a picture; None takes the range of the slice.
        own_grid: it may lie on another grid than the reference, and is then resampled onto the reference's.
        repaired: the range that values are clipped to when they are read, since the release holds others; voxels that
            are not finite become 0. None refuses such voxels.
        to_unit: from a case's image to the factor that brings it to `unit`; None where files hold it in `unit`.
    """

    name: str
    shows: str
    unit: str = ""
    tissue: bool = True
    window: tuple[float, float] | None = None
    shown: tuple[float, float] | None = None
    own_grid: bool = False
    repaired: tuple[float, float] | None = None
    to_unit: Callable[[np.ndarray], float] | None = None


@dataclass(frozen=True)
class Case:
    """One scan of one patient.

    Attributes:
        name: such as ``case_7``; of a folder of masks the name of the file where that is another.
        number: seeds what is drawn for the case; of ISLES 2018 its number within its partition.
        partition: the partition it lies in.
        patient: the patient it belongs to, or None where that is unknown.
        images: path of each image, by kind (the reference is not among them).
        reference: path of the ground truth mask, or None where there is none.
        grid: the kind of image on whose grid the reference lies, and whose header a prediction gets; empty where there
            are no images.
        ids: of the SMIR formats, the id of each image and of the reference, by kind; a submitted file carries the
            one of `grid`.
        other_names: names, without ending, under which a prediction is accepted beside `name` and the reference's.
        centre: where the scan was taken, or None where that is unknown.
    """

    name: str
    number: int
    partition: Partition
    patient: str | None
    images: Mapping[str, Path]
    reference: Path | None
    grid: str = ""
    ids: Mapping[str, int] = field(default_factory=dict)
    other_names: tuple[str, ...] = ()
    centre: str | None = None

    @property
    def grid_file(self) -> Path:
        """A file on the grid that predictions must lie on: the reference, or without one the image of kind `grid`."""
        return self.reference or self.images[self.grid]


@dataclass(frozen=True)
class Problem:
    """Something wrong with a cohort: which case it concerns (None: all of it) and a line that says what to do."""

    case: str | None
    text: str
