"""Each check must fail for the fault that it is there for, and pass without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from benchmark.cli import main
from benchmark.configs import find_config, find_method, read_yaml, shipped_configs
from benchmark.sanity import ENOUGH, check_method, constant_logits

TOY = """
import torch
from torch import nn
from benchmark.losses import focal
from benchmark.methods.base import Method

class Network(nn.Module):
    def __init__(self, channels, fault):
        super().__init__()
        self.fault = fault
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.ReLU())
        self.head = nn.Conv2d(16, 1, 1)
        self.idle = nn.Parameter(torch.ones(1))

    def forward(self, x):
        if self.fault == "noise":
            x = nn.functional.dropout(x, 0.5, training=True)
        logits = self.head(self.body(x))
        return logits * (1 if self.fault == "gradient" else self.idle)

class Toy(Method):
    view = "slices"

    def __init__(self, fault: str = ""):
        super().__init__()
        self.fault = fault

    def configure_network(self, channels):
        return Network(channels, self.fault)

    def loss(self, logits, batch):
        scale = 10 if self.fault == "loss" and self.training and logits.std() > 0 else 1
        return {"loss": scale * focal(logits, batch["reference"], batch["valid"], alpha=0.75, gamma=0.0)}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.0 if self.fault == "learning" else 1e-2)
"""
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
    if fault in ("gradient", "loss", "noise"):  # five epochs are too few to learn by heart
        found -= {f"two cases by heart (Dice > {ENOUGH})"}
    assert found == failed, checks


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


@pytest.mark.slow
@pytest.mark.parametrize("method", LEARNED)
def test_every_shipped_method_passes(method: str) -> None:
    assert find_method(method, find_config("twin")).is_file()
    checks = check_method(method, epochs=400, minutes=60)
    assert all(check.passed for check in checks), checks
