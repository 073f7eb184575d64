"""What a config's refusal says."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.suite.config import method_config, read_suite
from benchmark.suite.config_files import find_config, merge, read_yaml, shipped_configs
from benchmark.training.loading import load, require_training
from leaderboard.errors import InputError

#: What a method's constructor refuses, and words of the message.
REFUSED = [
    ("ms_dcnn", {"median": 4}, "median must be odd and positive, not 4"),
    ("ms_dcnn", {"size": 100}, "size must be a multiple of 16, not 100"),
    ("multiscale_resnet", {"size": None}, "pixel_mm and size go together"),
    ("fcn3d_crf", {"crf_iterations": -1}, "crf_iterations must be at least 0"),
    ("perfusion_rapid", {"fitted": True}, "fits rcbf_below alone"),
    ("residual_unet", {"base": "wide"}, '"base": Expected an int. Got value: wide'),
]


@pytest.mark.parametrize(("method", "settings", "words"), REFUSED)
def test_what_a_method_refuses_is_told_in_its_own_words(
    method: str, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    config = read_yaml(shipped_configs() / "methods" / f"{method}.yaml")
    config = merge(config, {"model": {"init_args": settings}, "data": {"cohort": str(tmp_path)}})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError) as refused:
        load(tmp_path / "config.yaml", {"logger": False})
    (problem,) = refused.value.problems
    assert words in problem
    assert "config.yaml" in problem
    assert "Union" not in problem


@pytest.mark.parametrize(
    ("devices", "synchronised", "fault"), [(2, True, "to 1, or sync_batchnorm to false"), (2, False, ""), (1, True, "")]
)
def test_several_cpu_processes_are_refused_where_their_normalisation_would_have_to_agree(
    tmp_path: Path, devices: int, synchronised: bool, fault: str
) -> None:
    trainer = {"accelerator": "cpu", "devices": devices, "max_epochs": 1, "sync_batchnorm": synchronised}
    config = method_config(read_suite(find_config("twin")), "residual_unet", {"trainer": trainer})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | {"data": {"cohort": str(tmp_path)}}))
    cli = load(tmp_path / "config.yaml", {"logger": False, "default_root_dir": str(tmp_path)})
    with pytest.raises(InputError, match=fault) if fault else contextlib.nullcontext():
        require_training(cli)
