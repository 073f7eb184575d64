from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmark.suite.config_files import find_config, find_method, merge, read_yaml, shipped_configs
from leaderboard.errors import InputError


def test_shipped_configs_are_found_by_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = shipped_configs() / "twin.yaml"
    assert find_config("twin") == find_config("twin.yaml") == find_config("configs/twin.yaml") == expected


def test_a_path_wins_over_a_shipped_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "twin.yaml").write_text("name: mine\n")
    monkeypatch.chdir(tmp_path)
    assert read_yaml(find_config("configs/twin.yaml")) == {"name": "mine"}


def test_an_unknown_config_names_the_shipped_ones() -> None:
    with pytest.raises(InputError, match="isles2022, isles2024, isles2026, leakage, leakage-cases, tuning, twin"):
        find_config("nothing.yaml")


def test_a_method_beside_the_suite_is_found_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "strokenet.yaml").write_text("model: {}\n")
    assert find_method("strokenet", tmp_path / "suite.yaml") == tmp_path / "methods" / "strokenet.yaml"
    assert find_method("residual_unet", tmp_path / "suite.yaml").parent == shipped_configs() / "methods"


def test_an_unknown_method_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"residual_unet.*strokenet"):
        find_method("unet", tmp_path / "suite.yaml")


@pytest.mark.parametrize("content", ["", "- a\n", "a: [\n", "\x00"])
def test_a_file_that_is_no_mapping_is_one_clear_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "suite.yaml").write_text(content)
    with pytest.raises(InputError) as error:
        read_yaml(tmp_path / "suite.yaml")
    assert len(error.value.problems) == 1
    assert "suite.yaml" in error.value.problems[0]


def test_later_layers_win_and_the_others_settings_stay() -> None:
    layers = [{"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"y": 3}}, {"b": [2], "a": {"z": None}}]
    assert merge(*layers) == {"a": {"x": 1, "y": 3, "z": None}, "b": [2]}
    assert layers[0] == {"a": {"x": 1, "y": 2}, "b": [1]}


@pytest.mark.parametrize("path", sorted(shipped_configs().rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_parses(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)
