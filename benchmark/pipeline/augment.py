"""THE augmentation: one TorchIO Compose for every method, on the case's own grid.

What a case looks like depends on (seed, epoch, case) alone: each transform of the Compose draws from a generator of
its own, seeded from these three and its place in the list. So the number of workers, of processes and of restarts
changes nothing, and neither does a curriculum that switches single transforms off: the others draw what they always
draw. All transforms act in the slice plane, because slices are 4 to 12 mm apart.
"""

from __future__ import annotations

import copy

import numpy as np
import SimpleITK
import torch
import torchio as tio

# SimpleITK's threads would fight with the workers' and the network's for the cores.
SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

#: Heads are turned in plane by as much as this, to either side.
ROTATION_DEG = 15
#: Spacings are in mm, intensities in standard deviations of the brain's tissue (the images are z-scored before).
AUGMENTATION = tio.Compose(
    [
        tio.RandomFlip(axes=(0,), flip_probability=1.0, p=0.5),
        tio.RandomAffine(
            scales=(0.9, 1.1, 0.9, 1.1, 1, 1),
            degrees=(0, 0, 0, 0, -ROTATION_DEG, ROTATION_DEG),
            translation=(-8, 8, -8, 8, 0, 0),
            default_pad_value="minimum",
            p=0.8,
        ),
        tio.RandomGamma(log_gamma=(-0.2, 0.2), p=0.3),
        tio.RandomNoise(std=(0, 0.15), p=0.3),
    ]
)


def augment(subject: tio.Subject, *, seed: int, epoch: int, case: int, strength: float = 1.0) -> tio.Subject:
    """The subject as every method sees it in this epoch.

    Args:
        subject: images of one case in (C, X, Y, Z), z-scored.
        seed: the suite's seed.
        epoch: counted from 0.
        case: the case's number.
        strength: factor on each transform's probability, flips excepted (they cost no detail); a curriculum may
            lower it, the transforms that remain are those of strength 1.
    """
    for place, transform in enumerate(AUGMENTATION.transforms):
        scaled = copy.copy(transform)
        if not isinstance(transform, tio.RandomFlip):
            scaled.probability = transform.probability * strength
        with torch.random.fork_rng(devices=[]):
            # The CPU's generator alone: TorchIO draws from no other, and torch.manual_seed costs more than a flip.
            torch.default_generator.manual_seed(derive_seed(seed, epoch, case, place))
            subject = scaled(subject)
    return subject


def derive_seed(*numbers: int) -> int:
    """A 63-bit seed from several numbers (NumPy's SeedSequence, so neighbouring numbers give unrelated seeds)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
