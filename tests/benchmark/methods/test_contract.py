"""What a user's method lacks is found before anything is made, with its file and line."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from benchmark.suite.config_files import read_yaml, shipped_configs
from benchmark.training.loading import check_configs, config_faults

MINE = """\
import torch
from torch import nn
from benchmark.methods.base import Method
from benchmark.pipeline.preparation import PadToMultiple

class Pad(PadToMultiple):
    def image(self, image, brain, planes):
        return super().image(image, brain, planes)

class Mine(Method):
    view = "slices"

    def __init__(self, width: int = 4):
        super().__init__()
        self.width = width
        self.preparation = Pad(4)

    def configure_network(self, channels):
        return nn.Conv2d(channels, 1, 1)

    def loss(self, logits, batch):
        return {"loss": logits.mean()}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
"""
#: What is changed, into what, and what is said.
FAULTS = {
    "signature of loss": ("def loss(self, logits, batch)", "def loss(self, logits)",
                          ":21: Mine.loss is called with (logits, batch), and takes (logits)"),
    "signature of the network": ("(self, channels)", "(self)", ":18: Mine.configure_network is called with (channels)"),
    "signature of a preparation": ("def image(self, image, brain, planes)", "def image(self, image)",
                                   ":7: Pad.image is called with (image, brain, planes), and takes (image)"),
    "no network": ("configure_network", "configure_net", ":10: Mine has no configure_network: write configure"),
    "no loss": ("def loss", "def losses", ":10: Mine has no loss: write loss(self, logits, batch)"),
    "no optimiser": ("configure_optimizers", "configure_optimisers", ":10: Mine has no configure_optimizers: write"),
    "view": ('"slices"', '"slice"', ":10: Mine.view is 'slice': give slices or volumes"),
    "preparation": ("Pad(4)", "4", ":10: Mine.preparation is 4: give a benchmark.pipeline"),
    "constructor": ("self.width = width", "self.width = width.size", ":15, in __init__: AttributeError: 'int' object"),
    "no base": ("        super().__init__()\n", "", ":10: Mine is half made: call super().__init__"),
    "no method": ("class Mine(Method)", "class Mine(nn.Module)", ":10) is not a benchmark.methods.base.Method: derive"),
    "loss is none": ("def loss(self, logits, batch):\n        return {\"loss\": logits.mean()}", "loss = None",
                     ":10: Mine.loss is None: write loss(self, logits, batch)"),
    "ablations elsewhere": ('view = "slices"', 'ablations = ("a/../../x",)',
                            ":10: Mine.ablations: 'a/../../x' is part"),
    "ablations of one word": ('view = "slices"', 'ablations = "plain"',
                              ":10: Mine.ablations: is 'plain': give a tuple"),
    "exit at import": ("from torch import nn\n", "from torch import nn\nraise SystemExit(0)\n",
                       ":3: ends the process (sys.exit)"),
    "exit in the constructor": ("self.width = width", "raise SystemExit(0)",
                                ":15, in __init__: ends the process (sys.exit): raise an exception"),
    "missing import": ("from torch import nn\n", "from torch import nn\nimport monay\n", ":3: ModuleNotFoundError: No"),
}  # fmt: skip
NUMBERS = itertools.count()


def faults_of(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    """What the check of configs says of a module that holds `Mine`, in which the module is called ``mine``."""
    name = f"mine_of_contract_{next(NUMBERS)}"  # a module is imported once
    (folder / f"{name}.py").write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    config = {"model": {"class_path": f"{name}.Mine"}, "trainer": {"max_epochs": 1}}
    return [fault.replace(name, "mine") for fault in config_faults(config)]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_the_users_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    old, new, words = FAULTS[name]
    assert old in MINE
    (fault,) = faults_of(tmp_path, monkeypatch, MINE.replace(old, new))
    assert f"mine.py{words}" in fault
    assert "\n" not in fault


def test_a_sound_method_has_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults_of(tmp_path, monkeypatch, MINE) == []


def test_shipped_methods_keep_the_contract() -> None:
    paths = (shipped_configs() / "methods").glob("*.yaml")
    configs = {path.stem: read_yaml(path) for path in paths}
    assert check_configs({name: yaml.safe_load(yaml.safe_dump(config)) for name, config in configs.items()}) == []
