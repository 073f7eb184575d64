"""A network of any library, named in a config: what it is taken for, what is refused, and that it goes everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from recipe import running
from torch import nn
from toy import run

from benchmark.cli import main
from benchmark.commands.cost import measure_costs
from benchmark.methods import Any as AnyByName
from benchmark.methods.any_network import AnyNetwork
from benchmark.training.loading import config_faults
from leaderboard.errors import InputError


def conv(dimensions: int, channels: int, classes: int, **changes: Any) -> dict[str, Any]:
    """A network of torch alone that keeps the size of its images."""
    arguments = {"in_channels": channels, "out_channels": classes, "kernel_size": 3, "padding": 1}
    return {"class_path": f"torch.nn.Conv{dimensions}d", "init_args": arguments | changes}


def built(network: dict[str, Any], **settings: Any) -> AnyNetwork:
    method = running(AnyNetwork(network, **settings), channels=5)
    method.configure_model()
    return method


def test_its_short_name_is_the_class() -> None:
    assert AnyByName is AnyNetwork


def test_the_room_of_methods_is_imported_without_torch() -> None:
    program = "import sys, benchmark.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("view", ["slices", "volumes"])
@pytest.mark.parametrize("classes", [1, 2])
def test_one_channel_is_a_sigmoid_and_two_are_a_softmax(view: str, classes: int) -> None:
    method = built(conv(2 if view == "slices" else 3, 5, classes), view=view)
    image = torch.randn((2, 5, 8, 8) if view == "slices" else (2, 5, 3, 8, 8))
    logits = method(image)
    expected = logits[:, 0].sigmoid() if classes == 1 else logits.softmax(dim=1)[:, 1]
    assert torch.equal(method.probability(logits), expected)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (conv(2, 5, 3), r"gives \(2, 3, 8, 8\) for images \(2, 5, 8, 8\), and not \(2, 1, 8, 8\).* or \(2, 2, 8, 8\)"),
        (conv(2, 5, 1, padding=0), r"gives \(2, 1, 6, 6\) for images \(2, 5, 8, 8\)"),
    ],
    ids=["classes", "size"],
)
def test_another_output_is_told_with_its_shape(network: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        built(network)(torch.randn(2, 5, 8, 8))


def test_an_output_that_is_no_tensor_is_told_by_its_type() -> None:
    method = built(conv(2, 5, 1))
    method.network = Dictionary()
    with pytest.raises(InputError, match="gives dict for images"):
        method(torch.randn(2, 5, 8, 8))


class Dictionary(nn.Module):
    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": image}


@pytest.mark.parametrize(("neighbours", "channels"), [(0, 5), (1, 15)])
def test_a_network_for_another_number_of_channels_is_told_the_right_one(neighbours: int, channels: int) -> None:
    method = built(conv(2, 3, 1), neighbours=neighbours)
    with pytest.raises(RuntimeError, match="to have 3 channels") as failed:
        method(torch.randn(2, channels, 8, 8))
    (note,) = failed.value.__notes__
    assert f"torch.nn.Conv2d, which is to take {channels} channels: 5 images" in note
    assert f"(2, {channels}, 8, 8)" in note


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such module": ({"network": {"class_path": "no_such.Net"}}, "network: no_such.Net: there is no module no_such"),
    "no such class": ({"network": {"class_path": "torch.nn.Nett"}}, "network: torch.nn.Nett: torch.nn has no Nett"),
    "wrong arguments": ({"network": conv(2, 5, 1, colour="red")}, "colour"),
    "no network": ({"network": {"class_path": "builtins.dict"}}, "gives a dict, no torch.nn.Module"),
    "nothing to call": ({"network": {"class_path": "math.pi"}}, "neither a class nor a function"),
    "a text": ({"network": {"class_path": 3}}, "takes class_path and init_args"),
    "another key": ({"network": conv(2, 5, 1) | {"args": 1}}, "takes class_path and init_args"),
    "no such loss": ({"loss": "fokal"}, "there is no loss fokal: choose among dice_and_cross_entropy"),
    "a loss's setting": ({"loss": {"name": "focal", "beta": 1}}, "focal has no beta: its settings are alpha, gamma"),
    "a library's loss": ({"loss": {"class_path": "torch.nn.NoLoss"}}, "torch.nn has no NoLoss"),
    "neighbours of volumes": ({"view": "volumes", "neighbours": 1}, "of volumes it must be 0"),
    "depth of slices": ({"slice_multiple": 2}, "of slices it must be 1"),
    "a rate of nothing": ({"learning_rate": 0.0}, "learning_rate must be greater than 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_check_of_configs_refuses_what_cannot_be_built(name: str) -> None:
    changes, words = REFUSED[name]
    arguments = {"network": conv(2, 5, 1)} | changes
    config = {"model": {"class_path": "benchmark.methods.Any", "init_args": arguments}, "trainer": {"max_epochs": 1}}
    (fault,) = config_faults(config)
    assert words in fault
    assert "\n" not in fault


def test_a_function_that_gives_a_network_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "library_with_functions.py").write_text(
        "from torch import nn\ndef make(width):\n    return nn.Conv2d(5, width, 1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    method = built({"class_path": "library_with_functions.make", "init_args": {"width": 2}})
    assert method(torch.zeros(1, 5, 4, 4)).shape == (1, 2, 4, 4)


def test_weights_of_a_librarys_loss_are_the_methods_own() -> None:
    loss = {"class_path": "torch.nn.PReLU"}
    assert {name for name, _ in built(conv(2, 5, 1), loss=loss).named_parameters()} == {
        "network.weight", "network.bias", "criterion.weight",
    }  # fmt: skip


METHODS = {
    "any_2d": {"network": conv(2, 15, 2), "loss": "focal", "neighbours": 1, "multiple": 16},
    "any_3d": {"network": conv(3, 5, 1), "loss": {"class_path": "torch.nn.BCEWithLogitsLoss"}, "view": "volumes"},
}


@pytest.fixture
def named(project: Path) -> Path:
    """The project, with a 2D and a 3D network of torch's named in it."""
    for name, arguments in METHODS.items():
        config = {
            "model": {"class_path": "benchmark.methods.Any", "init_args": arguments},
            "trainer": {"max_epochs": 1},
            "data": {"batch_size": 4},
        }
        (project / "methods" / f"{name}.yaml").write_text(yaml.safe_dump(config))
    return project


def test_networks_that_are_named_alone_come_to_the_leaderboard_and_repeat(
    named: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree, "--methods", ",".join(METHODS), "--folds", "0") == 0
    table = (named / "runs" / "small" / "leaderboard-fold0" / "leaderboard.csv").read_text()
    assert all(f",{name}," in table for name in METHODS)
    job = named / "runs" / "small" / "any_2d" / "fold0"
    capsys.readouterr()
    assert main(["verify", str(job)]) == 1  # whoever gets this folder would build what it names
    assert "builds the network that its config names: give --trust" in capsys.readouterr().err
    assert main(["verify", "--trust", str(job)]) == 0


def test_what_a_named_network_costs_is_measured(named: Path) -> None:
    table, problems = measure_costs(tuple(METHODS), suite="suite.yaml", cohort=None, size=32, settings={})
    assert problems == []
    weights = {"any_2d": 15 * 2 * 9 + 2, "any_3d": 5 * 27 + 1}
    assert dict(zip(table.method, table.parameters, strict=True)) == weights


MONAI = {
    "class_path": "monai.networks.nets.UNet",
    "init_args": {"in_channels": 5, "out_channels": 2, "channels": [8, 16], "strides": [2]},
}


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_network_and_a_loss_of_monai_are_taken(dimensions: int) -> None:
    pytest.importorskip("monai")
    network = MONAI | {"init_args": MONAI["init_args"] | {"spatial_dims": dimensions}}
    loss = {"class_path": "monai.losses.DiceCELoss", "init_args": {"softmax": True}}
    method = built(network, loss=loss, view="slices" if dimensions == 2 else "volumes")
    shape = (2, *(8,) * dimensions)
    batch = {"reference": torch.ones(shape), "valid": torch.ones(shape, dtype=torch.bool)}
    method.terms(method(torch.randn(2, 5, *shape[1:])), batch)["loss"].backward()
    assert all(weight.grad is not None for weight in method.network.parameters())
