"""Does a method learn at all? Four checks on two cases, before anybody spends days on it (``benchmark sanity``).

The fifth check of the command, the first steps of the real recipe on a whole cohort, is in `steadiness`.

1. Every parameter receives a gradient that is finite and not zero.
2. The loss at initialisation is near the loss of a network that says nothing: the one whose every voxel has the
   method's initial lesion probability.
3. In evaluation, the same case twice gives the same output to the bit.
4. Two cases can be learned by heart: without augmentation their Dice rises above 0.9.

A check that has not passed says what it means, what to do, and what is no fault. One that ended too early to tell has
not failed, and says so.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
import yaml
from torch import Tensor

from benchmark.commands.first_checks import RULE
from benchmark.commands.suites import open_suite
from benchmark.machine.precision import slow_precision
from benchmark.methods.base import Method, RuleMethod
from benchmark.methods.faults import exits_told, place_of, told
from benchmark.pipeline.datasets import Batch
from benchmark.suite.config import is_rule, method_config
from benchmark.suite.config_files import merge
from benchmark.training.loading import config_faults, load, quiet_lightning
from leaderboard.cohort.case import Case
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError
from leaderboard.io.images import read_volume

#: Dice on the two cases that counts as learned.
ENOUGH = 0.9
#: Epochs that learning by heart may take before it counts as failed, and the most by default.
EPOCHS = 200
#: Epochs between two looks at the Dice.
_LOOK_EVERY = 5
#: A Dice that rose by so much in the second half of the time is on its way.
_RISING = 0.02


@dataclass(frozen=True)
class Check:
    """One check's outcome.

    Attributes:
        name: of the check.
        passed: whether it did.
        seen: what was seen.
        advice: what that means and what to do, where it has not passed.
        too_short: it has not passed, and ended before it could.
    """

    name: str
    passed: bool
    seen: str
    advice: str = ""
    too_short: bool = False

    @property
    def outcome(self) -> str:
        """In a word or two."""
        return "passed" if self.passed else "too short to tell" if self.too_short else "FAILED"


def check_method(
    method: str,
    *,
    suite: str = "twin",
    cohort: Path | None = None,
    format_name: str | None = None,
    settings: dict[str, Any] | None = None,
    epochs: int = EPOCHS,
    minutes: float = 10.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Check]:
    """Run the four checks.

    Args:
        method: its name.
        suite: suite whose settings the method takes.
        cohort: where the two cases come from (those with the largest lesions); None takes a synthetic twin, 64 x 64.
        format_name: the cohort's format; None takes the suite's, or recognises it.
        settings: config over everything else.
        epochs: of learning by heart, at most.
        minutes: likewise.
        progress: called with (epochs done, epochs).

    Raises:
        InputError: an unknown method, one without weights, or a config that does not fit.
    """
    read = open_suite(suite)
    config = method_config(read, method, settings or {})
    if line := slow_precision(config):
        print(line, file=sys.stderr)
    if is_rule(config):
        raise InputError(f"{method}: {RULE}")
    watch = _Watch(minutes, progress)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        named = (format_name or read.format) if cohort else None
        cohort = cohort or _small_twin(scratch / "twin")
        cases = _two_cases(cohort, named)
        config["data"] = config.get("data", {}) | {"augmented": False, "cases": cases, "format": named}
        trainer = fit(method, config, read.training_seeds[0], cohort, scratch, watch, f"--trainer.max_epochs={epochs}")
    return [*watch.checks, watch.by_heart(trainer)]


def fit(
    method: str, config: dict[str, Any], seed: int, cohort: Path, scratch: Path, watch: pl.Callback, *changes: str
) -> pl.Trainer:
    """Train a method on all cases of a cohort, on one device, without validation and without leaving a file.

    Args:
        method: its name, for what is said.
        config: its config in a suite; may change.
        seed: of the training.
        cohort: folder of the cohort.
        scratch: folder for the config and the preprocessed cases.
        watch: sees the training, and ends it.
        changes: further arguments of the command line.

    Returns:
        The trainer after the training.

    Raises:
        InputError: a config that does not fit, a method without weights, or one whose own code fails.
    """
    data = {"cohort": str(cohort), "cache": str(scratch / "cache"), "seed": seed}
    config = merge(config, {"data": data})
    if faults := config_faults(config):
        raise InputError(f"{method}: {fault}" for fault in faults)
    path = scratch / "config.yaml"
    path.write_text(yaml.safe_dump({"seed_everything": seed} | config))
    quiet_lightning()
    pl.seed_everything(seed, verbose=False)
    cli = load(
        path,
        {"logger": False, "callbacks": [watch], "enable_checkpointing": False, "default_root_dir": str(scratch)},
        "--trainer.check_val_every_n_epoch=null",
        "--trainer.limit_val_batches=0",
        "--trainer.devices=1",
        "--trainer.num_nodes=1",
        *changes,
    )
    if isinstance(cli.model, RuleMethod):
        raise InputError(f"{method}: {RULE}")
    try:
        with exits_told():
            cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    except InputError:
        raise
    except Exception as error:
        if place_of(error) or getattr(error, "__notes__", None):  # what goes wrong elsewhere is our own fault
            raise InputError(f"{method}: {told(error)}") from None
        raise
    return cli.trainer


class _Watch(pl.Callback):
    """Looks at the method before its first step, and at its Dice every few epochs."""

    def __init__(self, minutes: float, progress: Callable[[int, int], None] | None) -> None:
        self.checks: list[Check] = []
        self._until = time.monotonic() + 60 * minutes
        self._progress = progress
        self._dice: list[float] = []
        self._looks: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The three checks of an untrained network."""
        method = cast(Method, module)
        state = {name: value.clone() for name, value in method.state_dict().items()}
        batch: Batch = next(iter(trainer.train_dataloader))  # type: ignore[arg-type]
        method.train()
        loss, expected = self._backward(trainer, method, batch)
        gradients = _gradients(method)
        if not gradients.passed:  # a block that begins as its shortcut, its last scale 0, passes none on before a step
            _step_down(method)
            self._backward(trainer, method, batch)
            gradients = _gradients(method)
        self.checks.append(gradients)
        method.zero_grad()
        self.checks.append(initial_loss(loss, expected, method.initial_loss_within, method.initial_probability))
        method.load_state_dict(state)
        once, twice = (self._probabilities(trainer, method) for _ in range(2))
        same = all(torch.equal(one, other) for one, other in zip(once, twice, strict=True))
        self.checks.append(
            Check(
                "evaluation repeats",
                same,
                "same output twice" if same else "outputs differ",
                ""
                if same
                else "a network in evaluation mode must give one answer: look for random numbers in forward or "
                "predict_images, dropout with training=True, and statistics that change in evaluation",
            )
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stop when the cases are known by heart, or the time is up."""
        last = trainer.current_epoch + 1 == trainer.max_epochs or time.monotonic() > self._until
        if last or (trainer.current_epoch + 1) % _LOOK_EVERY == 0:
            method = cast(Method, module)
            predicted = [probability > method.threshold for probability in self._probabilities(trainer, method)]
            cases = method.data.predict_dataloader()
            self._dice = [_dice(mask, case["reference"].bool()) for mask, case in zip(predicted, cases, strict=True)]
            self._looks.append(min(self._dice))
            trainer.should_stop = last or min(self._dice) > ENOUGH
        if self._progress:
            done = trainer.current_epoch + 1
            self._progress(done, done if trainer.should_stop else trainer.max_epochs or 0)

    def by_heart(self, trainer: pl.Trainer) -> Check:
        """The fourth check, after the training."""
        return learned(self._dice, self._looks, trainer.current_epoch)

    @staticmethod
    def _backward(trainer: pl.Trainer, method: Method, batch: Batch) -> tuple[float, float]:
        """The loss, whose gradients are then the method's, and the loss of its `initial_probability` everywhere."""
        method.zero_grad()
        with trainer.precision_plugin.forward_context():
            logits = method(batch["image"])
        loss = method.terms(logits, batch)["loss"]
        loss.backward()
        constant = constant_logits(logits, method.initial_probability)
        return loss.item(), method.terms(constant, batch)["loss"].item()

    @staticmethod
    def _probabilities(trainer: pl.Trainer, method: Method) -> list[Tensor]:
        """Lesion probability of each case, in evaluation mode; the method's mode is restored."""
        training = method.training
        method.eval()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            found = [method.predict_case(case) for case in method.data.predict_dataloader()]
        method.train(training)
        return found


def initial_loss(loss: float, expected: float, within: float, probability: float) -> Check:
    """The second check.

    Args:
        loss: of the untrained network on a batch.
        expected: of the network that gives every voxel the initial probability, on the same batch.
        within: the factor that may lie between them (`Method.initial_loss_within`).
        probability: the method's `initial_probability`.
    """
    ratio = loss / expected if expected else (1.0 if loss == expected else math.inf)
    passed = math.isfinite(loss) and 1 / within <= ratio <= within
    advice = ""
    if not math.isfinite(loss):
        advice = "the loss is no number before the first step: look for log(0), 0/0 and roots of 0 in it"
    elif not passed:
        advice = (
            f"the untrained network's loss is not near that of a lesion probability of {probability:g} everywhere, "
            f"within a factor of {within:g}. It is a fault if the loss takes probabilities for logits or is scaled "
            "wrongly. It is none if the network merely starts with large outputs and the checks below pass"
        )
        if ratio > 0 and math.isfinite(ratio):
            far = max(ratio, 1 / ratio)
            advice += f": then set initial_loss_within: {math.ceil(far + 0.1)} (of the method)"
        advice += ", or begin nearer: a smaller last layer, whose bias is log(p / (1 - p)) of initial_probability"
    return Check("loss at initialisation", passed, f"{loss:.4g}, expected about {expected:.4g}", advice)


def learned(dice: Sequence[float], looks: Sequence[float], epochs: int) -> Check:
    """The fourth check, which is too short to tell before `EPOCHS`, and later while the Dice still rises.

    Args:
        dice: of each case in the end.
        looks: the worse case's Dice at each look.
        epochs: how many were trained.
    """
    passed = min(dice, default=0.0) > ENOUGH
    rising = bool(looks) and looks[-1] > looks[len(looks) // 2] + _RISING
    too_short = not passed and (epochs < EPOCHS or rising)
    advice = ""
    if too_short:
        advice = (
            f"no fault yet: {'the Dice still rises' if rising else f'{EPOCHS} epochs are tried before this fails'}: "
            "give more --epochs, or more --minutes if these ended it"
        )
    elif not passed:
        advice = (
            "a network that cannot learn two cases by heart, without augmentation, will not learn many: look at the "
            "learning rate (ten times more, ten times less), that what is learned is what `probability` and "
            "`threshold` make a mask of, that `preparation.inverse` undoes `preparation.image`, and that the "
            "network sees small lesions at all"
        )
    seen = f"Dice {' and '.join(f'{each:.3f}' for each in dice)} after {epochs} epochs"
    return Check(f"two cases by heart (Dice > {ENOUGH})", passed, seen, advice, too_short)


def constant_logits(logits: Any, probability: float) -> Any:
    """What a network says that gives every voxel the same lesion probability; nested lists as the network's."""
    if isinstance(logits, Tensor):
        constant = torch.zeros_like(logits, dtype=torch.float32)
        constant[:, -1] = math.log(probability / (1 - probability))  # sigmoid, or softmax beside a background of 0
        return constant
    return [constant_logits(part, probability) for part in logits]


def _step_down(method: Method) -> None:
    """Move each tensor of weights by a hundredth at most, down its gradient."""
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None and parameter.grad.any() and parameter.grad.isfinite().all():
                parameter.sub_(parameter.grad / parameter.grad.abs().max(), alpha=0.01)


def _gradients(method: Method) -> Check:
    silent, infinite = [], []
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            if parameter.grad is None or not parameter.grad.any():
                silent.append(name)
            elif not parameter.grad.isfinite().all():
                infinite.append(name)
    count = sum(parameter.requires_grad for parameter in method.parameters())
    seen = f"{count - len(silent) - len(infinite)} of {count} parameters"
    for fault, names in (("none", silent), ("not finite", infinite)):
        if names:
            seen += f"; {fault}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
    advice = []
    if silent:
        advice.append(
            "none: the loss does not depend on these weights: layers that forward leaves out, a detach, or outputs "
            "that the loss ignores; no fault if they are not to be trained: set requires_grad to False for them"
        )
    if infinite:
        advice.append("not finite: look for log(0), 0/0 and roots of 0 in the loss and the network")
    return Check("gradient", not silent and not infinite, seen, "; ".join(advice))


def _dice(mask: Tensor, reference: Tensor) -> float:
    total = int(mask.sum() + reference.sum())
    return 2 * int((mask & reference).sum()) / total if total else 1.0


def _small_twin(folder: Path) -> Path:
    from benchmark.cohort.twin import write_twin

    write_twin(folder, cases=4, size=64, seed=0, jobs=1)
    return folder


def _two_cases(cohort: Path, format_name: str | None) -> list[str]:
    """Names of the two cases whose lesions are largest."""

    def lesion(case: Case) -> int:
        return 0 if case.reference is None else int((read_volume(case.reference).data > 0).sum())

    cases: Sequence[Case] = [case for case in read_cohort(cohort, "training", format_name).cases if case.reference]
    if len(cases) < 2:
        raise InputError(f"{cohort}: holds fewer than two training cases: give a cohort with two at least")
    return [case.name for case in sorted(cases, key=lesion)[-2:]]
