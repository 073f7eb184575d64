"""`trainer.precision: auto` takes what the machine is fast in, what is asked for stays, and what is slow is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmark.machine import precision
from benchmark.machine.precision import slow_precision, with_precision
from benchmark.suite.config import method_config, read_suite
from benchmark.suite.config_files import find_config


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def has_bf16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    capabilities = {"avx2": True, "amx_bf16": False, "avx512_bf16": request.param}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    precision.multiplies_bf16.cache_clear()
    yield request.param
    precision.multiplies_bf16.cache_clear()


def test_auto_takes_the_precision_that_the_machine_is_fast_in(has_bf16: bool) -> None:
    config = method_config(read_suite(find_config("twin-64")), "strokenet", {})
    assert config["trainer"]["precision"] == ("bf16-mixed" if has_bf16 else "32-true")
    assert not slow_precision(config)


@pytest.mark.parametrize("asked", ["bf16-mixed", "32-true", "16-mixed", 64])
def test_what_is_asked_for_stays(asked: Any, has_bf16: bool) -> None:
    config = {"model": {}, "trainer": {"precision": asked, "max_epochs": 3}}
    assert with_precision(config) == config


def test_bfloat16_in_software_is_told_with_the_remedy(has_bf16: bool) -> None:
    line = slow_precision({"trainer": {"precision": "bf16-mixed"}})
    assert (line == "") == has_bf16
    assert has_bf16 or "--set trainer.precision=auto, which is 32-true here" in line
    assert not slow_precision({"trainer": {"precision": "32-true"}})
    assert not slow_precision({})


def test_a_gpu_decides_unless_the_cpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    precision.multiplies_bf16.cache_clear()
    try:
        found = {
            name: with_precision({"trainer": {"precision": "auto", "accelerator": name}})["trainer"]["precision"]
            for name in ("auto", "gpu", "cpu")
        }
    finally:
        precision.multiplies_bf16.cache_clear()
    assert found == {"auto": "bf16-mixed", "gpu": "bf16-mixed", "cpu": "32-true"}


@pytest.mark.parametrize("suite", ["isles2018", "isles2018-4fold", "twin", "twin-full", "twin-128"])
def test_suites_whose_results_are_published_say_their_precision(suite: str) -> None:
    content = yaml.safe_load(Path(find_config(suite)).read_text())
    assert content["defaults"]["trainer"]["precision"] in ("bf16-mixed", "32-true")
