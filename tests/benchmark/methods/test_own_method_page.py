"""What docs/own_method.md says: its tables against the code, its examples as they stand."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from recipe import running
from served import samples, whole

from benchmark.methods.any_network import AnyNetwork
from benchmark.methods.any_network.loss import LOSSES
from benchmark.methods.base import Method
from benchmark.methods.contract import HOOKS
from benchmark.pipeline.cache import CachedCase
from benchmark.pipeline.curriculum import ConstantCurriculum
from benchmark.pipeline.datasets import MethodView
from benchmark.pipeline.preparation import PadToMultiple, Preparation
from benchmark.pipeline.sampling import Key

PAGE = (Path(__file__).parents[3] / "docs" / "own_method.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, list[str]]:
    """The first table below a heading: its rows by the words in code style of their first cell."""
    text = PAGE[PAGE.index(f"\n{heading}\n") :]
    rows = re.search(r"^\|[-|]+\|\n((?:\|.*\|\n)+)", text, re.MULTILINE)
    assert rows
    found = {}
    for line in rows[1].splitlines():
        first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
        for name in re.findall(r"`([^`]+)`", first):
            found[name] = others
    return found


def losses() -> dict[str, list[str]]:
    text = PAGE[PAGE.index("| loss by name") :]
    return {
        name: re.findall(r"`(\w+)`", settings) for name, settings in re.findall(r"^\| `(\w+)` \| (.*?)\|", text, re.M)
    }


def code(language: str, words: str) -> str:
    """The block of code that holds these words."""
    (block,) = [block for block in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if words in block]
    return block


def test_every_setting_of_any_network_is_on_the_page_and_no_other() -> None:
    settings = inspect.signature(AnyNetwork).parameters
    assert set(table("## A network without code")) == set(settings)


def test_every_loss_is_on_the_page_with_its_settings() -> None:
    documented = {name: settings for name, settings in losses().items() if name in LOSSES}
    assert documented == {name: list(loss.__kwdefaults__ or {}) for name, loss in LOSSES.items()}


def test_every_hook_of_the_page_is_called_with_what_it_says() -> None:
    documented = {name.partition("(")[0]: name for name in table("## A method")}
    assert {name: f"{name}({', '.join(HOOKS[name])})" for name in documented} == documented
    assert all(hasattr(Method, name) for name in documented)


@pytest.mark.parametrize("view", ["slices", "volumes"])
@pytest.mark.parametrize("neighbours", [0, 1])
def test_the_batch_is_as_its_table_says(cached: list[CachedCase], view: Any, neighbours: int) -> None:
    if view == "volumes" and neighbours:
        pytest.skip("neighbours are of slices")
    rows = table("### The batch")
    at = MethodView(view, neighbours, PadToMultiple(48), ConstantCurriculum())
    keys = [Key(0, 0, (3, 0)), Key(0, 20, (1,))] if view == "slices" else [Key(0, 0), Key(0, 20)]
    batch = samples(cached, at)[keys]
    assert set(batch) == set(rows)
    depth = () if view == "slices" else (8,)
    plane = (3 if view == "slices" else 2, *depth, 48, 48)
    shapes = {"image": (plane[0], 5 * (2 * neighbours + 1), *plane[1:]), "reference": plane, "valid": plane}
    for name, (_, dtype, _) in rows.items():
        assert tuple(batch[name].shape) == shapes[name]
        assert batch[name].dtype == getattr(torch, dtype), name
    assert "slices (N, C, h, w), volumes (N, C, d, h, w)" in rows["image"][0]
    assert "(N, h, w) or (N, d, h, w)" in rows["reference"][0]
    assert bool(batch["valid"].all()) == (view == "slices")  # the second volume is padded from 2 slices to 8


def test_a_case_is_as_its_table_says(cached: list[CachedCase]) -> None:
    rows = table("### A case")
    item = whole(cached, MethodView("slices", 0, PadToMultiple(48), ConstantCurriculum()))[0]
    assert set(item) == set(rows)
    depth, height, width = cached[0].brain.shape
    sizes = {"C": 5, "d": depth, "h": 48, "w": 48, "D": depth, "H": height, "W": width}
    for name, (shape, dtype, _) in rows.items():
        if shape.startswith("("):
            assert tuple(item[name].shape) == tuple(sizes[letter] for letter in re.findall(r"\w", shape)), name
            assert item[name].dtype == getattr(torch, dtype), name
    assert len(item["spacing_mm"]) == 3


def test_the_example_of_a_preparation_clips_and_pads() -> None:
    space: dict[str, Any] = {}
    exec(code("python", "class Clipped"), space)
    clipped: Preparation = space["Clipped"](16)
    prepared = clipped.image(torch.full((2, 5, 10, 10), 7.0), torch.ones(2, 10, 10), [])
    assert prepared.shape == (2, 5, 16, 16)
    assert prepared.max() == 3


def test_the_example_of_a_network_without_code_is_built_where_monai_is() -> None:
    config = yaml.safe_load(code("yaml", "benchmark.methods.Any"))
    assert config["model"]["class_path"] == "benchmark.methods.Any"
    assert set(config["model"]["init_args"]) <= set(inspect.signature(AnyNetwork).parameters)
    pytest.importorskip("monai")
    method = running(AnyNetwork(**config["model"]["init_args"]), channels=5)
    method.configure_model()
    assert method(torch.zeros(2, 5, 32, 32)).shape == (2, 2, 32, 32)
