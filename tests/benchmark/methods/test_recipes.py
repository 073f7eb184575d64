"""The shipped configs' recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trees

from benchmark.suite.config import is_rule, method_config, read_suite, unshown
from benchmark.suite.config_files import read_yaml, shipped_configs
from benchmark.training.loading import check_configs
from leaderboard.cohort.formats import read_cohort

#: As in the methods' READMEs: epochs, batch, norm that gradients are clipped to, least share of slices with lesion.
RECIPES: dict[str, tuple[int, int, float | None, float | None]] = {
    "multiscale_resnet": (200, 16, None, 0.5),
    "fcn3d_crf": (300, 1, 1.0, None),
    "residual_unet": (120, 16, None, 0.5),
    "ms_dcnn": (70, 4, None, 0.5),
    "strokenet": (300, 2, 1.0, None),
    "plain_unet": (250, 16, 12.0, 0.33),
    "plain_unet_3d": (250, 2, 12.0, None),
    "resenc_unet": (250, 16, 12.0, 0.33),
    "resenc_unet_3d": (250, 2, 12.0, None),
}


@pytest.mark.parametrize("method", RECIPES)
def test_the_shipped_config_has_the_specified_recipe(method: str) -> None:
    config = read_yaml(shipped_configs() / "methods" / f"{method}.yaml")
    found = (
        config["trainer"]["max_epochs"],
        config["data"]["batch_size"],
        config["trainer"].get("gradient_clip_val"),
        config["data"].get("lesion_fraction"),
    )
    assert found == RECIPES[method]


def test_the_quick_suite_has_the_full_suites_rows_and_networks_in_shorter_recipes_and_says_so() -> None:
    quick, full = (read_suite(shipped_configs() / f"isles2018{name}.yaml") for name in ("-quick", ""))
    assert set(quick.methods) == set(full.methods)
    configs = {name: method_config(quick, name, {}) for name in quick.methods}
    assert check_configs(configs) == []
    epochs = {name: config["trainer"]["max_epochs"] for name, config in configs.items() if not is_rule(config)}
    whole = {name: RECIPES[name][0] for name in epochs}
    assert all(epochs[name] < whole[name] / 10 for name in epochs)
    said = f"{min(epochs.values())} to {max(epochs.values())} epochs where the methods' own have "
    assert said + f"{min(whole.values())} to {max(whole.values())}" in quick.note
    assert "two folds" in quick.note
    assert quick.folds_number == 2
    assert "Not comparable" in quick.note
    assert not full.note


@pytest.mark.parametrize("name", ["isles2022", "isles2024"])
def test_a_suite_lists_the_rows_that_its_cohort_can_have(tmp_path: Path, name: str) -> None:
    suite, cohort = read_suite(shipped_configs() / f"{name}.yaml"), read_cohort(getattr(trees, name)(tmp_path))
    assert suite.format == cohort.format.name
    configs = {method: method_config(suite, method, {}) for method in suite.methods}
    assert [method for method, config in configs.items() if unshown(config, cohort)] == []
    assert check_configs(configs) == []
    epochs = {method: config["trainer"]["max_epochs"] for method, config in configs.items() if not is_rule(config)}
    assert all(1 < epochs[method] < RECIPES[method][0] for method in epochs)
    others = set(RECIPES) - set(suite.methods) - {"plain_unet_3d", "resenc_unet", "resenc_unet_3d"}
    assert others == {"isles2022": {"ms_dcnn"}, "isles2024": {"fcn3d_crf"}}[name]


def test_a_step_on_isles2024_has_no_more_voxels_than_one_on_isles2018_and_sees_the_whole_head() -> None:
    suites = {name: read_suite(shipped_configs() / f"{name}.yaml") for name in ("isles2018", "isles2024")}
    for method in ("residual_unet", "plain_unet", "strokenet"):
        here, there = (method_config(suites[name], method, {}) for name in ("isles2024", "isles2018"))
        grid = here["model"]["init_args"]
        # the deepest cases: 101 slices of ISLES 2024, 22 slices of 256 x 256 of ISLES 2018
        slices, theirs = (101, 22) if method == "strokenet" else (1, 1)
        voxels = here["data"]["batch_size"] * slices * grid["size"] ** 2
        assert voxels <= there["data"]["batch_size"] * theirs * 256**2
        assert grid["pixel_mm"] * grid["size"] >= 240
