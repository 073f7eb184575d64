"""What a job does besides training: write predictions and metrics, report its progress."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from torch import Tensor

from benchmark.methods.base import Method, RuleMethod
from benchmark.methods.faults import definition_of
from benchmark.pipeline.datamodule import StrokeData
from benchmark.rundir.names import PROBABILITIES, row_folder
from benchmark.rundir.state import update_state
from leaderboard.cohort.case import Case
from leaderboard.cohort.names import prediction_file
from leaderboard.errors import InputError
from leaderboard.io.axes import slices_last
from leaderboard.io.grids import affine_of, from_canonical
from leaderboard.io.images import (
    PROBABILITY_ROUNDING,
    read_geometry,
    write_mask,
    write_probabilities,
    write_text,
)

#: Seconds between two writes of state.json.
REPORT_EVERY = 1.0


def write_masks(
    predictions: Path,
    case: Case,
    masks: Mapping[str, Tensor],
    name: str | None = None,
    probability: Tensor | None = None,
) -> None:
    """Write a case's masks, and perhaps its probability map, atomically.

    They have the header and the order of axes of the case's own `Case.grid` image.

    Args:
        predictions: folder of the method's own masks; those of its ablation rows go beside it, and the map too
            (`PROBABILITIES`).
        case: the case.
        masks: (D, H, W) by row, as `Method.predict_step` gives them.
        name: of the files; None names them after the case.
        probability: (D, H, W), the map that the masks were made of; None writes none.
    """
    _, spacing_mm, header = read_geometry(case.images[case.grid])
    affine = affine_of(header, spacing_mm)

    def write(write_file: Callable[..., None], folder: Path, values: Tensor) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stored = from_canonical(slices_last(values.detach().cpu().numpy()), affine)
        write_file(folder / (name or prediction_file(case.name)), stored, header)

    for row, mask in masks.items():
        write(write_mask, row_folder(predictions, row), mask)
    if probability is not None:
        write(write_probabilities, predictions.with_name(PROBABILITIES), probability)


class PredictionWriter(pl.Callback):
    """Writes each predicted mask, and its probability map, with its case's own header, atomically.

    Args:
        folder: where they go.
        submission: None names files after their cases; a free name gives the names that the challenge takes
            (`Format.submitted_file`).
        probabilities: whether probability maps are written, into a folder ``probabilities`` beside `folder`; a rule
            has none.
    """

    def __init__(self, folder: str = "predictions", submission: str | None = None, probabilities: bool = False) -> None:
        self.folder = Path(folder)
        self.submission = submission
        self.probabilities = probabilities

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write one case.

        Raises:
            InputError: the method's probabilities are none, and maps of them are wanted.
        """
        data: StrokeData = trainer.datamodule  # type: ignore[attr-defined]
        case = data.held_out_cases[int(outputs["case"])]
        name = self.submission and data.cohort.format.submitted_file(case, self.submission)
        probability: Tensor | None = None
        if self.probabilities and not isinstance(module, RuleMethod):
            probability = outputs["probability"].detach().float().cpu()
            if not ((probability >= -PROBABILITY_ROUNDING) & (probability <= 1 + PROBABILITY_ROUNDING)).all():
                raise InputError(
                    f"{definition_of(cast(Method, module).probability)}: {type(module).__name__}.probability gives "
                    f"values from {float(probability.min()):.4g} to {float(probability.max()):.4g}: give "
                    "probabilities from 0 to 1, or set probabilities: false in the suite's config"
                )
        write_masks(self.folder, case, outputs["masks"], name, probability)


class MetricsFile(pl.Callback):
    """Keeps ``metrics.csv``: one row per epoch with every logged metric; a restart continues its checkpoint's rows.

    Lightning's CSVLogger would start an empty file at each restart.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Note that this epoch has validation metrics of its own (the trainer keeps older ones)."""
        self._validated = True

    def state_dict(self) -> dict[str, Any]:
        """Put the rows so far into the checkpoint: the file may be damaged when they are needed."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows of the finished epochs."""
        self._rows = list(state_dict["rows"])

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Add the epoch's row; its validation has already run."""
        if trainer.is_global_zero and trainer.callback_metrics:
            metrics = {
                name: float(value)
                for name, value in trainer.callback_metrics.items()
                if self._validated or not name.startswith("val/")
            }
            self._validated = False
            self._rows.append({"epoch": trainer.current_epoch, **metrics})
            names = ["epoch", *sorted({name for row in self._rows for name in row} - {"epoch"})]
            text = io.StringIO()
            writer = csv.DictWriter(text, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)
            write_text(self.path, text.getvalue())


class FiniteLoss(pl.Callback):
    """Ends a training whose loss became NaN or infinite: its predictions would be meaningless."""

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Check the epoch's mean loss."""
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None and not loss.isfinite():
            raise InputError(
                f"the loss of epoch {trainer.current_epoch} is {float(loss)}: lower the learning rate, set "
                f"trainer.precision to 32-true, or look in {type(module).__name__}.loss "
                f"({definition_of(cast(Method, module).loss)}) for log(0), 0/0 and roots of 0"
            )


class ProgressReport(pl.Callback):
    """Keeps ``state.json`` up to date, from rank zero, at most once a second.

    Args:
        run: the job's run directory.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._last = -REPORT_EVERY

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Count the epochs before this one; the last of them is on disk by now."""
        self._report_training(trainer, module, 0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step."""
        self._report_training(trainer, module, batch_idx + 1)

    def _report_training(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        steps = int(trainer.num_training_batches)
        if not isinstance(module, RuleMethod):
            epochs = trainer.max_epochs or 0
            self._report(trainer, phase="training", done=trainer.current_epoch, total=epochs, step=step, steps=steps)
        elif module.fitted:  # the other rules visit no case
            cases = len(trainer.datamodule.training)  # type: ignore[attr-defined]
            done = min(step * trainer.world_size, cases)
            self._report(trainer, phase="fitting", done=done, total=cases, step=0, steps=0)

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a case."""
        data: StrokeData = trainer.datamodule  # type: ignore[attr-defined]
        done = min((batch_idx + 1) * trainer.world_size, len(data.held_out))
        self._report(trainer, phase="predicting", done=done, total=len(data.held_out), step=0, steps=0)

    def _report(self, trainer: pl.Trainer, **fields: Any) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self._last >= REPORT_EVERY:
            update_state(self.run, **fields)
            self._last = now
