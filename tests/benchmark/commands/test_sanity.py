"""Each check must fail for the fault that it is meant to find, and pass without it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml

from benchmark.cli import main
from benchmark.commands.sanity import ENOUGH, EPOCHS, check_method, constant_logits, initial_loss, learned
from benchmark.commands.steadiness import by_epoch, check_steadiness, verdict, write_suite_twin
from benchmark.methods.base import Method
from benchmark.suite.config_files import find_config, find_method, read_yaml, shipped_configs
from leaderboard.errors import InputError

TOY = """
import torch
from torch import nn
from benchmark.methods.losses import focal
from benchmark.methods.base import Method

class Network(nn.Module):
    def __init__(self, channels, fault):
        super().__init__()
        self.fault = fault
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.ReLU())
        self.head = nn.Conv2d(16, 1, 1)
        self.idle = nn.Parameter(torch.ones(1))
        if fault == "shortcut":
            self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        if self.fault == "noise":
            x = nn.functional.dropout(x, 0.5, training=True)
        features = self.body(x)
        logits = self.head(self.scale * features if self.fault == "shortcut" else features)
        return logits * (1 if self.fault == "gradient" else self.idle)

class Toy(Method):
    view = "slices"

    def __init__(self, fault: str = "", learning_rate: float = 1e-2):
        super().__init__()
        self.fault = fault
        self.learning_rate = learning_rate

    def configure_network(self, channels):
        return Network(channels, self.fault)

    def loss(self, logits, batch):
        if self.fault == "tensor":
            return logits.mean()
        if self.fault == "raises":
            logits = logits + self.nothing
        scale = 10 if self.fault == "loss" and self.training and logits.std() > 0 else 1
        return {"loss": scale * focal(logits, batch["reference"], batch["valid"], alpha=0.75, gamma=0.0)}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.0 if self.fault == "learning" else self.learning_rate)
"""


def line_of(words: str) -> int:
    """Line of the toy's module that holds these words first."""
    return TOY[: TOY.index(words)].count("\n") + 1


LEARNED = sorted(
    path.stem for path in (shipped_configs() / "methods").glob("*.yaml") if read_yaml(path)["trainer"]["max_epochs"] > 1
)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite with a toy method whose init argument `fault` breaks it."""
    (tmp_path / "sanity_toy.py").write_text(TOY)
    (tmp_path / "methods").mkdir()
    method = {"model": {"class_path": "sanity_toy.Toy"}, "trainer": {"max_epochs": 2}, "data": {"batch_size": 16}}
    (tmp_path / "methods" / "toy.yaml").write_text(yaml.safe_dump(method))
    suite = {"name": "small", "methods": ["toy"], "defaults": {"trainer": {"accelerator": "cpu"}}}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "suite.yaml"


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        ("", set()),
        ("gradient", {"gradient"}),
        ("shortcut", set()),  # no fault: a scale that begins at 0 and lets gradients through after one step
        ("loss", {"loss at initialisation"}),
        ("noise", {"evaluation repeats"}),
        ("learning", {f"two cases by heart (Dice > {ENOUGH})"}),
    ],
)
def test_each_check_fails_for_its_own_fault_alone(toy: Path, twin: Path, fault: str, failed: set[str]) -> None:
    settings = {"model": {"init_args": {"fault": fault}}}
    epochs = 5 if fault else 400
    checks = check_method("toy", suite=str(toy), cohort=twin, settings=settings, epochs=epochs)
    found = {check.name for check in checks if not check.passed}
    if fault in ("gradient", "shortcut", "loss", "noise"):  # five epochs are too few to learn by heart
        found -= {f"two cases by heart (Dice > {ENOUGH})"}
    assert found == failed, checks


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            "tensor",
            rf"sanity_toy\.py:{line_of('def loss')}: Toy\.loss gives a Tensor: return a dictionary of its terms",
        ),
        ("raises", rf"sanity_toy\.py:{line_of('self.nothing')}, in loss: AttributeError: .*'nothing' \(logits \("),
    ],
)
def test_a_fault_of_the_methods_own_code_is_told_with_its_line(toy: Path, twin: Path, fault: str, words: str) -> None:
    settings = {"model": {"init_args": {"fault": fault}}}
    with pytest.raises(InputError, match=words) as told:
        check_method("toy", suite=str(toy), cohort=twin, settings=settings, epochs=1)
    assert len(told.value.problems) == 1


@pytest.mark.parametrize(
    ("loss", "expected", "within", "passed"),
    [
        (2.0, 1.0, 2.0, True),
        (2.1, 1.0, 2.0, False),
        (0.4, 1.0, 2.0, False),
        (4.758, 2.021, 3.0, True),
        (-0.02, -0.03, 2.0, True),  # a Dice that is made greater
        (-0.01, -0.03, 2.0, False),
        (0.1, -0.1, 2.0, False),
        (0.0, 0.0, 2.0, True),  # a generalised Dice of a batch without lesion
        (0.1, 0.0, 2.0, False),
        (math.nan, 1.0, 2.0, False),
    ],
)
def test_the_first_loss_may_be_so_many_times_the_expected_one(
    loss: float, expected: float, within: float, passed: bool
) -> None:
    assert initial_loss(loss, expected, within, 0.5).passed == passed


def test_a_first_loss_that_is_far_is_told_what_to_set_and_passes_with_it() -> None:
    advice = initial_loss(4.758, 2.021, 2.0, 0.5).advice
    assert "none if the network merely starts with large outputs" in advice
    (wanted,) = re.findall(r"set initial_loss_within: (\d+)", advice)
    check = initial_loss(4.758, 2.021, float(wanted), 0.5)
    assert check.passed
    assert check.advice == ""
    assert "initial_loss_within" not in initial_loss(math.nan, 2.021, 2.0, 0.5).advice


@pytest.mark.parametrize(
    ("dice", "looks", "epochs", "outcome"),
    [
        (0.95, [0.95], 5, "passed"),
        (0.6, [0.6], 5, "too short to tell"),
        (0.0, [0.0], EPOCHS - 1, "too short to tell"),
        (0.6, [0.6] * 40, EPOCHS, "FAILED"),
        (0.8, [0.02 * step for step in range(41)], EPOCHS, "too short to tell"),  # it rises still
    ],
)
def test_what_ends_before_it_can_be_learned_is_too_short_and_has_not_failed(
    dice: float, looks: list[float], epochs: int, outcome: str
) -> None:
    check = learned([0.99, dice], looks, epochs)
    assert check.outcome == outcome
    assert ("no fault yet" in check.advice) == (outcome == "too short to tell")
    assert bool(check.advice) == (outcome != "passed")


@pytest.mark.parametrize(
    ("losses", "outcome"),
    [
        ([1.0] * 10 + [0.9] * 10, "passed"),
        ([1.0] * 10 + [1.1] * 10, "too short to tell"),
        ([1.0] * 100 + [1.1] * 100, "FAILED"),
        ([1.0] * 10 + [9.0] * 10, "FAILED"),  # an explosion is one, however short
        ([1.0] * 10 + [math.nan] * 10, "FAILED"),
    ],
)
def test_few_steps_without_an_explosion_are_too_short_to_tell(losses: list[float], outcome: str) -> None:
    check = verdict(losses, len(losses) // 2)
    assert check.outcome == outcome
    assert bool(check.advice) == (outcome != "passed")


@pytest.mark.parametrize(("learning_rate", "steady"), [(1e-2, True), (10.0, False), (1e6, False)])
def test_a_recipe_is_steady_at_a_sound_learning_rate_alone(
    toy: Path, twin: Path, learning_rate: float, steady: bool
) -> None:
    settings = {"model": {"init_args": {"learning_rate": learning_rate}}}
    done = []
    check = check_steadiness(
        "toy", twin, suite=str(toy), settings=settings, steps=8, progress=lambda *counts: done.append(counts)
    )
    assert check.passed == steady, check
    assert check.name == "steady over 8 steps"
    assert done[-1] == (8, 8)


def test_a_recipe_that_is_shorter_is_watched_to_its_end(toy: Path, twin: Path) -> None:
    check = check_steadiness("toy", twin, suite=str(toy), steps=1000)
    assert check.passed, check
    assert check.name == "steady over 16 steps"  # two epochs


def test_the_recipe_is_the_suites_own_augmentation_and_schedule_included(
    toy: Path, twin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(method: pl.LightningModule) -> None:
        trainer = method.trainer
        seen.append((trainer.max_epochs, int(trainer.estimated_stepping_batches), trainer.num_training_batches))
        data = trainer.datamodule  # type: ignore[attr-defined]
        seen.append((data.batch_size, data.augmented, len(data.training)))

    monkeypatch.setattr(Method, "on_train_start", watched, raising=False)
    settings = {"trainer": {"max_epochs": 300}}
    check_steadiness("toy", twin, suite=str(toy), settings=settings, steps=2)
    (epochs, steps, batches), data = seen
    assert (epochs, steps) == (300, 300 * batches)
    assert data == (16, True, 24)


@pytest.mark.parametrize(
    ("steps", "batches", "lengths"),
    [
        (4, 2, [2, 2]),
        (3, 2, [2, 1]),  # the last epoch ended early
        (4, 4, [2, 2]),  # one epoch alone, in halves
        (3, 9, [2, 1]),
        (41, 20, [20, 21]),  # less than a tenth of an epoch is left
        (42, 20, [20, 20, 2]),
    ],
)
def test_losses_are_parted_by_epoch(steps: int, batches: int, lengths: list[int]) -> None:
    losses = [float(step) for step in range(steps)]
    epochs = by_epoch(losses, batches)
    assert [len(epoch) for epoch in epochs] == lengths
    assert [loss for epoch in epochs for loss in epoch] == losses


@pytest.mark.parametrize(
    ("means", "steady"),
    [
        ([1.0, 0.9], True),
        ([1.0, 2.0, 0.9], True),
        ([1.0, 2.1, 0.9], False),
        ([1.0, 0.5, 1.0], False),
        ([1.0, math.nan], False),
        ([math.inf, 1.0], False),
    ],
)
def test_steady_is_at_most_twice_the_first_epoch_and_below_it_in_the_end(means: list[float], steady: bool) -> None:
    check = verdict([mean for mean in means for _ in range(20)], 20)
    assert check.passed == steady
    assert check.seen.startswith("mean loss by epoch ")


@pytest.mark.parametrize(("peak", "steady"), [(20.0, True), (22.0, False), (1e6, False)])
def test_an_explosion_within_the_first_epoch_is_not_steady(peak: float, steady: bool) -> None:
    check = verdict([1.0] * 19 + [peak] + [0.9] * 20, 20)
    assert check.passed == steady


def test_the_command_writes_the_suites_own_twin_for_the_recipe(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = read_yaml(toy) | {"cohort": {"twin": {"cases": 6, "size": 32}}}
    toy.write_text(yaml.safe_dump(suite))
    write_suite_twin(str(toy), tmp_path / "cohort")
    assert len(list((tmp_path / "cohort" / "TRAINING").glob("case_*"))) == 6
    command = ["sanity", "toy", "--config", str(toy), "--epochs", "1"]
    assert main(command) == 1  # one epoch is too few to learn by heart
    said = capsys.readouterr().out
    assert "passed steady over 6 steps: mean loss by epoch" in " ".join(said.split())
    assert "too short to tell  two cases by heart" in said
    assert "FAILED" not in said
    assert "twin: 6 cases" in said
    assert "the real recipe: 6 steps" in said
    assert main([*command, "--steps", "0"]) == 1
    assert "steady" not in capsys.readouterr().out


def test_constant_logits_give_every_voxel_the_wanted_probability() -> None:
    one, two = constant_logits([torch.randn(2, 1, 3, 3), torch.randn(2, 2, 3, 3)], 0.2)
    assert torch.allclose(one.sigmoid(), torch.tensor(0.2))
    assert torch.allclose(two.softmax(dim=1)[:, 1], torch.tensor(0.2))


def test_the_command_says_what_cannot_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sanity", "all_background"]) == 1
    assert "is a rule without weights" in capsys.readouterr().err
    assert main(["sanity", "no_such_method"]) == 1
    assert "unknown method" in capsys.readouterr().err
    assert main(["sanity", "residual_unet", "--epochs", "0"]) == 1
    assert "--epochs" in capsys.readouterr().err
    assert main(["sanity", "residual_unet", "--steps", "-1"]) == 1
    assert "--steps" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("method", LEARNED)
def test_every_shipped_method_passes(method: str) -> None:
    assert find_method(method, find_config("twin")).is_file()
    checks = check_method(method, epochs=400, minutes=60)
    assert all(check.passed for check in checks), checks
