"""The shipped configs' recipes."""

from __future__ import annotations

import pytest

from benchmark.suite.config import is_rule, method_config, read_suite
from benchmark.suite.config_files import read_yaml, shipped_configs
from benchmark.training.loading import check_configs

#: As in the methods' READMEs: epochs, batch, norm that gradients are clipped to, least share of slices with lesion.
RECIPES: dict[str, tuple[int, int, float | None, float | None]] = {
    "multiscale_resnet": (200, 16, None, 0.5),
    "fcn3d_crf": (300, 1, 1.0, None),
    "residual_unet": (120, 16, None, 0.5),
    "ms_dcnn": (70, 4, None, 0.5),
    "strokenet": (300, 2, 1.0, None),
    "plain_unet": (250, 16, 12.0, 0.33),
    "plain_unet_3d": (250, 2, 12.0, None),
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
