"""Which settings and cohorts the threshold rows take."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from benchmark.methods.perfusion_threshold import PerfusionThreshold
from leaderboard.cohort.formats import FORMATS, Cohort
from leaderboard.errors import InputError

CONFIGS = Path(__file__).parents[4] / "configs" / "methods"


def cohort_of(name: str) -> Cohort:
    """A cohort without cases that has the format's images."""
    form = FORMATS[name]
    return Cohort(Path("cohorts/mr"), form, "training", form.images, ())


def test_cohort_without_ct_is_refused_with_its_name() -> None:
    method = PerfusionThreshold(rcbf_below=0.38)
    method.trainer = SimpleNamespace(datamodule=SimpleNamespace(cohort=cohort_of("isles2017")))  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"cohorts/mr: has no images of CT \(it has ADC, MTT, CBF"):
        method.setup("predict")


def test_the_maps_are_found_by_what_they_show() -> None:
    method = PerfusionThreshold(rcbf_below=0.38)
    method.trainer = SimpleNamespace(datamodule=SimpleNamespace(cohort=cohort_of("isles2018")))  # type: ignore[assignment]
    method.setup("predict")
    assert method.places == (0, 1, 4)


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
    assert config["needs"] == list(PerfusionThreshold.maps)
    assert config["trainer"]["max_epochs"] == int(name == "tfit")
    PerfusionThreshold(**config["model"]["init_args"])
