"""Does a method train steadily under the suite's real recipe? The fifth check of ``benchmark sanity``.

That a method can memorise two cases says nothing about its recipe on a whole cohort, with volumes of different depths
and a learning rate meant for long training. Here the method trains its first steps as a job of the suite would: with
its batch size, its schedule planned for all epochs, and the suite's augmentation and sampling, on all training cases
of a full-size cohort.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytorch_lightning as pl

from benchmark.commands.sanity import Check, fit
from benchmark.commands.suites import open_suite
from benchmark.suite.config import method_config, twin_arguments

#: Number of steps that the check looks at.
STEPS = 200
#: The largest mean loss of an epoch, as a multiple of the first epoch's.
MOST = 2.0
#: The synthetic cohort for suites without their own: as many cases and pixels as ISLES 2018.
FULL_TWIN: dict[str, Any] = {"cases": 94, "size": 256, "seed": 0}

Progress = Callable[[int, int], None]


def write_suite_twin(suite: str, folder: Path, progress: Progress | None = None) -> None:
    """Write the suite's synthetic cohort into a folder, or `FULL_TWIN` if it has none."""
    from benchmark.cohort.twin import write_twin

    write_twin(folder, **twin_arguments(open_suite(suite).twin or FULL_TWIN), progress=progress)


def check_steadiness(
    method: str,
    cohort: Path,
    *,
    suite: str = "twin",
    format_name: str | None = None,
    settings: dict[str, Any] | None = None,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Check:
    """Train for the first steps of the real recipe, or all of a shorter one, and look at the loss.

    Args:
        method: its name.
        cohort: folder of the cohort; all its training cases are trained on.
        suite: suite whose settings the method takes.
        format_name: the cohort's format; None recognises it.
        settings: override all configs.
        steps: how many, at most.
        progress: called with (steps done, steps).

    Raises:
        InputError: an unknown method, one without weights, or a config or cohort that does not fit.
    """
    read = open_suite(suite)
    config = method_config(read, method, settings or {})
    config["data"] = config.get("data", {}) | {"format": format_name}
    watch = _Losses(steps, progress)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = fit(method, config, read.training_seeds[0], cohort, Path(scratch), watch)
    return verdict(watch.losses, int(trainer.num_training_batches))


def by_epoch(losses: Sequence[float], batches: int) -> list[list[float]]:
    """The losses of each epoch; the last one may have ended early.

    If fewer than two epochs were begun, the steps are split into halves. A remainder of less than a tenth of an epoch
    holds only a few samples and counts with the epoch before.

    Args:
        losses: of each step.
        batches: steps of an epoch.
    """
    length = batches if len(losses) > batches else math.ceil(len(losses) / 2)
    starts = [start for start in range(0, len(losses), length) if start == 0 or len(losses) - start >= length / 10]
    return [list(losses[start:end]) for start, end in zip(starts, [*starts[1:], len(losses)], strict=True)]


def verdict(losses: Sequence[float], batches: int) -> Check:
    """Steady: no epoch's mean loss is above `MOST` times the first one's, and the last is below it.

    A first epoch that explodes would excuse the others, so its own mean may be at most `MOST` times that of its first
    tenth.

    Args:
        losses: of each step.
        batches: steps of an epoch.
    """
    epochs = by_epoch(losses, batches)
    start = fmean(epochs[0][: math.ceil(len(epochs[0]) / 10)])
    means = [fmean(epoch) for epoch in epochs]
    bounded = means[0] <= MOST * start and max(means) <= MOST * means[0]
    steady = all(map(math.isfinite, losses)) and bounded and means[-1] < means[0]
    seen = f"mean loss by epoch {', '.join(f'{mean:.3g}' for mean in means)}; of the first steps {start:.3g}"
    too_short = not steady and bounded and all(map(math.isfinite, losses)) and len(losses) < STEPS
    advice = ""
    if too_short:
        advice = (
            f"no fault yet: the loss stays bounded and is not below its start after so few steps; {STEPS} are tried "
            "before this fails: give more --steps, or more epochs (trainer.max_epochs) where the recipe itself is short"
        )
    elif not steady:
        advice = (
            f"an epoch's may be {MOST:g} times the first one's, the first one's {MOST:g} times that of the first "
            "steps, and the last must lie below the first: lower the learning rate, warm it up, or clip gradients "
            "(trainer.gradient_clip_val); no fault if the loss changes by its own schedule"
        )
    return Check(f"steady over {len(losses)} steps", steady, seen, advice, too_short)


class _Losses(pl.Callback):
    """Keeps the loss of every step; ends the training after the given number, or once a loss is not finite."""

    def __init__(self, steps: int, progress: Progress | None) -> None:
        self.losses: list[float] = []
        self._steps = steps
        self._progress = progress

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """See the class."""
        self.losses.append(float(outputs["loss"]))
        done, steps = len(self.losses), min(self._steps, int(trainer.estimated_stepping_batches))
        trainer.should_stop = done >= steps or not math.isfinite(self.losses[-1])
        if self._progress:
            self._progress(done, steps)
