"""Which settings and cohorts the threshold rows take."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from benchmark.methods.perfusion_threshold import PerfusionThreshold
from benchmark.methods.perfusion_threshold.module import check_kinds
from leaderboard.cohort.formats import FORMATS
from leaderboard.errors import InputError

CONFIGS = Path(__file__).parents[4] / "configs" / "methods"

CHANNELS = {name: [kind.name for kind in FORMATS[name].images] for name in ("isles2017", "isles2018")}


def test_cohort_without_ct_perfusion_is_refused_with_its_name() -> None:
    check_kinds(CHANNELS["isles2018"], "cohort")
    with pytest.raises(InputError, match=r"cohorts/mr: holds MR_ADC.*CT_Tmax"):
        check_kinds(CHANNELS["isles2017"], "cohorts/mr")


def test_setup_looks_at_the_cohorts_images() -> None:
    method = PerfusionThreshold(rcbf_below=0.38)
    held_out = [SimpleNamespace(channels=CHANNELS["isles2017"])]
    data = SimpleNamespace(held_out=held_out, cohort_path=Path("cohorts/mr"))
    method.trainer = SimpleNamespace(datamodule=data)  # type: ignore[assignment]
    with pytest.raises(InputError, match="CT perfusion maps"):
        method.setup("predict")


@pytest.mark.parametrize("settings", [{}, {"rcbf_below": 0.3, "tmax_above": 6.0, "fitted": True}, {"fitted": True}])
def test_settings_that_make_no_rule_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="perfusion_threshold"):
        PerfusionThreshold(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("t38", {"rcbf_below": 0.38}),
        ("t30", {"rcbf_below": 0.30}),
        ("rapid", {"rcbf_below": 0.30, "tmax_above": 6.0, "smallest_ml": 1.0}),
        ("tmax6", {"tmax_above": 6.0}),
        ("tfit", {"rcbf_below": 0.38, "fitted": True}),
    ],
)
def test_configs_hold_the_published_definitions(name: str, settings: dict[str, float]) -> None:
    config = yaml.safe_load((CONFIGS / f"perfusion_{name}.yaml").read_text())
    assert config["model"]["class_path"] == "benchmark.methods.perfusion_threshold.PerfusionThreshold"
    assert config["model"]["init_args"] == settings
    assert config["trainer"]["max_epochs"] == int(name == "tfit")
    PerfusionThreshold(**config["model"]["init_args"])
