from __future__ import annotations

import runpy
import sys

import pytest
import torch
import yaml

from benchmark.methods.plain_unet import PlainUNetMethod
from benchmark.methods.resenc_unet import ResEncUNetMethod, module
from benchmark.suite.config_files import shipped_configs
from leaderboard.errors import InputError


@pytest.mark.parametrize("suffix", ["", "_3d"])
def test_its_config_is_plain_unets_but_for_the_class_and_the_library_that_it_names(suffix: str) -> None:
    mine, plain = (
        yaml.safe_load((shipped_configs() / "methods" / f"{name}_unet{suffix}.yaml").read_text())
        for name in ("resenc", "plain")
    )
    assert list(mine.pop("requires")) == ["dynamic_network_architectures"]
    assert mine["model"].pop("class_path") == "benchmark.methods.resenc_unet.ResEncUNetMethod"
    plain["model"].pop("class_path")
    assert mine == plain


def test_more_stages_than_planned_are_refused() -> None:
    with pytest.raises(InputError, match="stages must be 2 to 7"):
        ResEncUNetMethod(2, stages=8)


def test_the_same_step_of_the_same_network_gives_the_loss_of_plain_unet() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(2, 2, size, size) for size in (8, 4)]
    batch = {"reference": (torch.rand(2, 8, 8) > 0.5).byte(), "valid": torch.ones(2, 8, 8, dtype=torch.bool)}
    assert ResEncUNetMethod(2).loss(logits, batch) == PlainUNetMethod(2).loss(logits, batch)


def test_the_method_is_known_where_its_library_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite looks at each method's class before it knows what is missing."""
    for name in [name for name in sys.modules if name.startswith("dynamic_network_architectures.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dynamic_network_architectures", None)
    monkeypatch.delitem(sys.modules, "benchmark.methods.resenc_unet.network", raising=False)
    method = runpy.run_path(str(module.__file__))["ResEncUNetMethod"](2)
    with pytest.raises(ModuleNotFoundError, match="dynamic_network_architectures"):
        method.configure_network(5)
