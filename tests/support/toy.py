"""A toy method, a suite with it, and the command that runs it: what the tests of whole suites share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import yaml

from benchmark.cli import main

#: Adding a method: one module ...
TOY = '''
import os
import pathlib
import resource
import time
import torch
from torch import nn
from benchmark.methods.losses import focal
from benchmark.methods.base import Method, scheduled

def signal_at(place, count):
    """Where the file `signal` says "<number> <place> <count>", send ourselves that signal, once."""
    marker = pathlib.Path("signal")
    if marker.exists():
        number, *where = marker.read_text().split()
        if where == [place, str(count)]:
            marker.unlink()
            os.kill(os.getpid(), int(number))
            time.sleep(0.5)

class Toy(Method):
    """One convolution."""
    view = "slices"
    neighbours = 1

    def on_train_start(self):
        if pathlib.Path("full").exists():  # no file may grow beyond what a full disk would take
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    def on_train_epoch_start(self):
        signal_at("epoch", self.current_epoch)

    def on_train_batch_start(self, batch, batch_index):
        super().on_train_batch_start(batch, batch_index)
        signal_at("step", self.global_step)

    def on_save_checkpoint(self, checkpoint):
        signal_at("saving", self.global_step)

    def __init__(self, broken: bool = False, scale: float = 1.0, inverted: bool = False):
        super().__init__()
        self.ablations = ("inverted",) if inverted else ()
        self.broken = broken
        self.scale = scale

    def postprocess(self, probability, batch):
        signal_at("predicting", int(batch["case"]))
        masks = super().postprocess(probability, batch)
        return masks | {name: ~masks[""] for name in self.ablations}

    def configure_network(self, channels):
        return nn.Sequential(nn.Conv2d(3 * channels, 4, 3, padding=1), nn.Dropout(0.2), nn.Conv2d(4, 1, 1))

    def loss(self, logits, batch):
        if self.broken:
            raise RuntimeError("the toy is broken")
        return {"loss": self.scale * focal(logits, batch["reference"], batch["valid"], alpha=0.75, gamma=2.0)}

    def configure_optimizers(self):  # asks for the number of steps, as the shipped methods do
        optimizer = torch.optim.Adam(self.parameters(), 1e-2)
        return scheduled(optimizer, lambda progress: 1 - progress / 2, self.trainer)
'''
#: What is said of a toy whose loss raises: the line that does, and what it was given.
BROKEN = (
    rf"broken fold 0: .*toy_method\.py:{TOY[: TOY.index('raise RuntimeError')].count(chr(10)) + 1}, in loss: "
    r"RuntimeError: the toy is broken \(logits \(\d+, 1, \d+, \d+\), reference \(\d+, \d+, \d+\)\)"
)
#: ... and one config.
CONFIG = """
model: {class_path: toy_method.Toy, init_args: {broken: %s}}
trainer: {max_epochs: 2, accelerator: cpu}
data: {batch_size: 8}
"""
SUITE = {
    "name": "small",
    "folds": {"number": 2},
    "methods": ["all_background", "toy"],
    "wandb": False,
    "defaults": {"trainer": {"accelerator": "cpu", "check_val_every_n_epoch": 2}},
}


def make_project(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A user's folder with the toy method and the suite; the working directory from now on."""
    (folder / "toy_method.py").write_text(TOY)
    (folder / "methods").mkdir()
    (folder / "methods" / "toy.yaml").write_text(CONFIG % "false")
    (folder / "methods" / "broken.yaml").write_text(CONFIG % "true")
    (folder / "suite.yaml").write_text(yaml.safe_dump(SUITE))
    patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)  # what was there may lead to the packages
    patch.syspath_prepend(folder)
    patch.chdir(folder)
    return folder


def run(tree: Path, *arguments: str, out: str = "runs") -> int:
    return main(["run", "--config", "suite.yaml", "--cohort", str(tree), "--out", out, *arguments])


def bytes_of(run_directory: Path) -> dict[str, bytes]:
    """What a training leaves that is the same whenever it is repeated: curves, masks, maps and weights."""
    paths = [run_directory / "metrics.csv", *run_directory.glob("pr*/*.nii.gz")]
    assert len(paths) == 7
    weights = torch.load(run_directory / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {str(path.relative_to(run_directory)): path.read_bytes() for path in paths} | {
        name: values.numpy().tobytes() for name, values in weights.items()
    }
