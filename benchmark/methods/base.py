"""The base of every method: a LightningModule with a few hooks.

A method gives a network, a loss and a recipe (`configure_optimizers`), and says how it looks at the data
(`method_view`). Training, validation, prediction on the case's own grid and the seeding of dropout are all here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark.machine.graphs import Passes
from benchmark.methods.distributed import largest, world_size
from benchmark.methods.faults import definition_of, noted
from benchmark.pipeline.augment import derive_seed
from benchmark.pipeline.curriculum import ConstantCurriculum, Stage
from benchmark.pipeline.datasets import Batch, MethodView, View, padded
from benchmark.pipeline.preparation import Preparation, with_neighbours
from leaderboard.errors import InputError

if TYPE_CHECKING:
    from benchmark.pipeline.datamodule import StrokeData

#: How many slices a 2D network predicts at once.
SLICES_AT_ONCE = 32


class Method(pl.LightningModule):
    """Base of all methods.

    Subclasses set `view` (and `neighbours`, `preparation`), and override `configure_network`, `loss`, `probability`
    and `configure_optimizers`; a rule without weights overrides `rule` instead and keeps the rest.

    Attributes:
        view: 2D slices or whole volumes.
        neighbours: for slices, how many on each side come along as channels.
        raw: the method takes images in physical units, not as z-scores.
        threshold: a voxel is lesion if its probability on the case's own grid is greater.
        initial_probability: lesion probability that the untrained network should give.
        initial_loss_within: how far the untrained network's loss may be from that of `initial_probability` everywhere,
            as a factor (a check of `benchmark sanity`).
        planar_on_gpu: for slices: on a GPU the network is faster with channels first than with channels last.
        static: the network takes the same steps for all images of a shape, reads no value and does not leave its
            device: on a GPU its training passes are captured as graphs (`graphs`).
        step_bytes: of a method that trains on whole cases on their own grid: memory of a training for each voxel of a
            batch, about; the suite leaves its row out where the largest case needs more than there is. 0: not asked.
        ablations: names of further rows from the same weights with another post-processing; a row is called
            ``<method>_<name>``.
    """

    view: View = "volumes"
    neighbours: int = 0
    raw: bool = False
    threshold: float = 0.5
    initial_probability: float = 0.5
    initial_loss_within: float = 2.0
    planar_on_gpu: bool = False
    static: bool = False
    step_bytes: int = 0
    ablations: tuple[str, ...] = ()
    network: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.preparation: Preparation = Preparation()
        #: Sums over this epoch's steps so far: each term of the loss, and the learning rate.
        self._sums: dict[str, Any] = {}
        self._passes = Passes()

    # ---- what a method says of itself -------------------------------------------------------------------------

    def configure_network(self, channels: int) -> nn.Module:
        """The network for this number of input images (before neighbours)."""
        raise TypeError(f"{type(self).__name__} has no network")

    def loss(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss by name; ``loss`` is the one that is minimised."""
        raise TypeError(f"{type(self).__name__} has no loss")

    def probability(self, logits: Tensor) -> Tensor:
        """Logits (N, K, ...) -> lesion probability (N, ...)."""
        return torch.sigmoid(logits[:, 0].float())

    def predict_images(self, image: Tensor) -> Tensor:
        """Images as the network takes them -> lesion probability (N, ...); the place for test-time augmentation."""
        return self.probability(self(image))

    def postprocess(self, probability: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Lesion probability (D, H, W) on the case's own grid -> masks (D, H, W) bool.

        Returns:
            The method's own mask under ``""``, and one for each ablation row under its name (`ablations`).
        """
        return {"": probability > self.threshold}

    def curriculum(self, max_epochs: int) -> Callable[[int], Stage]:
        """A function from epoch to stage, for a training of this many epochs."""
        return ConstantCurriculum()

    # ---- what is the same for all -----------------------------------------------------------------------------

    @property
    def method_view(self) -> MethodView:
        """How this method looks at the data of the running trainer."""
        return self.view_of(self.max_epochs)

    def view_of(self, max_epochs: int) -> MethodView:
        """How this method looks at the data in a training of this many epochs."""
        return MethodView(self.view, self.neighbours, self.preparation, self.curriculum(max_epochs), self.raw)

    @property
    def data(self) -> StrokeData:
        """The data module of the running trainer."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole training."""
        return self.trainer.max_epochs or 0

    @property
    def progress(self) -> float:
        """Share of the training that is done at this epoch's start, 0 to 1."""
        return self.current_epoch / max(self.max_epochs, 1)

    @property
    def parameter_count(self) -> int:
        """How many trainable weights the network has."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad) if hasattr(self, "network") else 0

    def configure_model(self) -> None:
        """Build the network once the number of input images is known."""
        if not hasattr(self, "network"):
            network = self.configure_network(self.data.channels)
            if not isinstance(network, nn.Module):
                raise InputError(
                    f"{definition_of(self.configure_network)}: {type(self).__name__}.configure_network gives a "
                    f"{type(network).__name__}: return the network, a torch.nn.Module"
                )
            self.network = network
            if self.view == "slices":
                self.network.to(memory_format=self._memory_format())  # type: ignore[call-overload]

    def _memory_format(self) -> torch.memory_format:
        # Both CPU and GPU convolutions are fastest in channels last. The weights of 3D networks stay as they are: that
        # costs the convolutions nothing, and on a CPU makes the optimiser's step five times faster.
        if self.view == "volumes":
            return torch.channels_last_3d
        # The network is built before it is moved to the trainer's device.
        device = self.trainer.strategy.root_device if self._trainer is not None else self.device
        planar = self.planar_on_gpu and device.type == "cuda"
        return torch.contiguous_format if planar else torch.channels_last

    def forward(self, image: Tensor) -> Tensor:
        """Images as the network takes them -> logits."""
        image = image.contiguous(memory_format=self._memory_format())
        captured = self.static and self.training and image.is_cuda and torch.is_grad_enabled() and self._steps_alone
        with noted(lambda: f"in the network of {self.origin} was given images {tuple(image.shape)}"):
            logits: Tensor = self._passes(self.network, image) if captured else self.network(image)
        return logits

    @property
    def origin(self) -> str:
        """Where the network comes from, for messages when it fails."""
        return f"{type(self).__name__} ({definition_of(self.configure_network)}), which"

    def terms(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The result of `loss`, checked.

        Raises:
            InputError: it is not what `loss` must return.
        """
        with noted(lambda: f"logits {_shapes(logits)}, reference {tuple(batch['reference'].shape)}"):
            terms = self.loss(logits, batch)
        fault = ""
        if not isinstance(terms, dict):
            fault = f'gives a {type(terms).__name__}: return a dictionary of its terms, {{"loss": ...}}'
        elif "loss" not in terms:
            fault = f"gives {', '.join(map(str, terms))}: call one term loss, it is minimised"
        elif others := [str(name) for name, term in terms.items() if not isinstance(term, Tensor) or term.numel() != 1]:
            fault = f"gives no single number for {', '.join(others)}: take the mean, as a tensor"
        elif any(part.requires_grad for part in _tensors(logits)) and not terms["loss"].requires_grad:
            fault = (
                "gives a loss without a gradient: compute it from the logits by torch, without detach, item or numpy"
            )
        if fault:
            raise InputError(f"{definition_of(self.loss)}: {type(self).__name__}.loss {fault}")
        return terms

    @property
    def _steps_alone(self) -> bool:
        # Processes that train together exchange sums while they compute. And a captured pass overwrites the gradients
        # of the previous one, although accumulation would have to add them.
        return world_size() == 1 and (self._trainer is None or self.trainer.accumulate_grad_batches == 1)

    def on_fit_end(self) -> None:
        """Forget captured passes: the weights move, and a prediction beside other jobs needs the memory."""
        self._passes = Passes()

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Seed dropout from (seed, global step, rank) alone, so that a restart replays it."""
        torch.manual_seed(derive_seed(self.data.seed, self.global_step, self.global_rank))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step; the epoch's last one logs the mean of every term of the loss.

        Samples are padded to the largest in the batches of all processes, so the global batch is that of one process.
        """
        batch = padded(batch, largest(batch["reference"].shape[1:], self.device))
        logits = self(batch["image"])
        with torch.autocast(self.device.type, enabled=False):
            terms = self.terms(logits, batch)
        if not self.trainer.optimizers:
            raise InputError(
                f"{definition_of(self.configure_optimizers)}: {type(self).__name__}.configure_optimizers gives "
                "nothing: return the optimiser"
            )
        # Sums stay on the device, so that no step waits for it.
        seen = {name: value.detach() for name, value in terms.items()}
        seen["learning_rate"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        self._sums = {name: value + (self._sums[name] if batch_index else 0) for name, value in seen.items()}
        if self.trainer.is_last_batch:
            means = {f"train/{name}": total / (batch_index + 1) for name, total in self._sums.items()}
            self.log_dict(means, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return terms["loss"]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm or value, for fused optimisers too.

        Lightning refuses to, because they may hold gradients that are still scaled, which happens only in float16.
        """
        if str(self.trainer.precision).startswith("16"):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            clip = nn.utils.clip_grad_value_ if gradient_clip_algorithm == "value" else nn.utils.clip_grad_norm_
            clip(self.parameters(), gradient_clip_val)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Dice of each held-out case before post-processing, for the curves; the leaderboard scores the files."""
        mask = self.predict_case(batch) > self.threshold
        reference = batch["reference"].bool()
        overlap, total = (mask & reference).sum(), mask.sum() + reference.sum()
        dice = torch.where(total > 0, 2 * overlap / total, 1.0)
        self.log("val/dice", dice, on_epoch=True, batch_size=1, sync_dist=True)

    def predict_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        """What is predicted for one case.

        Returns:
            ``case``: its place among the held-out cases; ``probability`` (D, H, W) on the case's own grid; ``masks``
            (D, H, W), made of it, by row.
        """
        probability = self.predict_case(batch)
        return {"case": batch["case"], "probability": probability, "masks": self.masks_of(probability.clone(), batch)}

    def masks_of(self, probability: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The result of `postprocess` for one case, checked.

        Args:
            probability: from `predict_case`; `postprocess` may change it in place.
            batch: the case.

        Raises:
            InputError: it is not what `postprocess` must return.
        """
        with noted(lambda: f"the probability is {tuple(probability.shape)}"):
            masks = self.postprocess(probability, batch)
        wanted, shape = {"", *self.ablations}, batch["brain"].shape
        if (
            not isinstance(masks, dict)
            or masks.keys() != wanted
            or not all(isinstance(mask, Tensor) for mask in masks.values())
            or any(mask.shape != shape or mask.dtype != torch.bool for mask in masks.values())
        ):
            rows = ", ".join(f'"{row}"' for row in sorted(wanted))
            raise InputError(
                f"{definition_of(self.postprocess)}: {type(self).__name__}.postprocess must give a dictionary with one "
                f"bool mask {tuple(shape)} for each of {rows}: the method's own mask and those of its `ablations`"
            )
        return masks

    def predict_case(self, batch: Batch) -> Tensor:
        """Lesion probability (D, H, W) of one case on its own grid."""
        image, shape = batch["image"], tuple(batch["brain"].shape)
        where = f"{type(self).__name__}.probability ({definition_of(self.probability)})"
        with noted(lambda: f"{where} is to make one of logits, for images {tuple(image.shape)}"):
            if self.view == "volumes":
                probability = self.predict_images(image[None])[0]
            else:
                slices = torch.arange(image.shape[1], device=image.device).split(SLICES_AT_ONCE)
                parts = [self.predict_images(with_neighbours(image, part, self.neighbours)) for part in slices]
                probability = torch.cat(parts)
        with noted(lambda: f"the probability is {tuple(probability.shape)} for images {tuple(image.shape)}"):
            native = self.preparation.inverse(probability.float(), shape, batch["spacing_mm"])
        if tuple(native.shape) != shape:
            raise InputError(
                f"{where} gives {tuple(probability.shape)} for images {tuple(image.shape)}, which comes to "
                f"{tuple(native.shape)} on the case's grid of {shape}: a probability has the images' size and no "
                "channels, and `preparation.inverse` undoes `preparation.image`"
            )
        return native


def _tensors(logits: Any) -> Iterator[Tensor]:
    """The tensors in a network's output: one tensor, or nested lists of them."""
    if isinstance(logits, Tensor):
        yield logits
    elif isinstance(logits, list | tuple):
        for part in logits:
            yield from _tensors(part)


def _shapes(logits: Any) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in _tensors(logits)) or type(logits).__name__


def to_host(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """Tensors as arrays: the only place where a step leaves its device and waits for it."""
    return tuple(tensor.cpu().numpy() for tensor in tensors)


def on_host(function: Callable[..., np.ndarray], *tensors: Tensor) -> Tensor:
    """Apply a NumPy function to tensors; the result is on the device of the first.

    Args:
        function: takes the tensors as arrays, gives an array of the first one's shape.
        tensors: its arguments.
    """
    return torch.from_numpy(function(*to_host(*tensors))).to(tensors[0].device)


def scheduled(
    optimizer: torch.optim.Optimizer, factor: Callable[[float], float], trainer: pl.Trainer
) -> OptimizerLRScheduler:
    """Lightning's dictionary for a learning rate that follows `factor` of the training's progress, step by step.

    Args:
        optimizer: its learning rate is multiplied by the factor.
        factor: progress in [0, 1) -> factor.
        trainer: knows how many steps there will be.
    """
    steps = max(int(trainer.estimated_stepping_batches), 1)
    schedule: Any = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(min(step / steps, 1.0)))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class RuleMethod(Method):
    """A method without weights: a rule on physical units, with parameters that may be fitted on the training cases.

    Subclasses override `rule`. A rule with parameters to fit also overrides `fit_case` and `fit_finish`, and sets
    `trainer.max_epochs: 1` in its config (0 for the others).
    """

    raw = True
    #: Whether it has parameters to fit.
    fitted = False
    #: What the rule looks at, as `ImageKind.shows` has it (a config says the same under ``needs``) ...
    maps: tuple[str, ...] = ()
    #: ... and where these images are in a batch, once the cohort is known.
    places: tuple[int, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        # Never used: DistributedDataParallel refuses a module in which nothing requires a gradient.
        self.unused = nn.Parameter(torch.zeros(()))

    def setup(self, stage: str) -> None:
        """Find the images of `maps`.

        Raises:
            InputError: the cohort has none that shows one of them.
        """
        self.places = self.data.cohort.places(self.maps)

    def rule(self, batch: Batch) -> Tensor:
        """One case as `WholeCases` serves it (``image`` in physical units) -> mask (D, H, W) bool."""
        raise TypeError(f"{type(self).__name__} has no rule")

    def fit_case(self, batch: Batch) -> None:
        """Record one training case (the same fields, with ``reference``)."""

    def fit_finish(self) -> None:
        """Set the parameters, after every training case was seen once."""

    def configure_model(self) -> None:
        """Build nothing: a rule has no network."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """No optimiser: nothing is trained by gradients."""
        return None

    def training_step(self, batch: Batch, batch_index: int) -> None:  # type: ignore[override]
        """Hand one case to `fit_case`."""
        self.fit_case(batch)

    def on_train_epoch_end(self) -> None:
        """Decide."""
        self.fit_finish()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Do nothing: a rule has no curve to draw."""

    def predict_case(self, batch: Batch) -> Tensor:
        """The rule's mask as a probability of 0 or 1."""
        return self.rule(batch).float()
