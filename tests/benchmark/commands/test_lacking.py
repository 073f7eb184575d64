"""A method whose package is not installed, or whose images a cohort has not, in the commands that name methods."""

from __future__ import annotations

from pathlib import Path

import pytest
import trees
import yaml

from benchmark.cli import main
from benchmark.commands.run_plan import _too_large
from benchmark.launchers import slots
from benchmark.suite.config_files import read_yaml, shipped_configs
from leaderboard.cohort.formats import read_cohort


@pytest.mark.usefixtures("forked")
def test_a_method_whose_package_is_missing_is_refused_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_yaml(shipped_configs() / "methods" / "residual_unet.yaml")
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "needy.yaml").write_text(
        yaml.safe_dump(config | {"requires": {"no_such": "pip install it"}})
    )
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"name": "s", "methods": ["all_background", "needy"]}))
    monkeypatch.chdir(tmp_path)
    for command in (["cost", "--methods", "needy"], ["sanity", "needy"]):
        command += ["--config", "suite.yaml"]
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "pip install it" in said
        assert "Traceback" not in said
    # Of a whole suite, what can be measured is.
    assert main(["cost", "--config", "suite.yaml", "--size", "32"]) == 0
    said = capsys.readouterr()
    assert "needy is left out, it needs no_such (pip install it)" in said.err
    assert "all_background" in said.out


def test_a_method_that_is_asked_for_and_has_nothing_to_see_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = str(trees.isles2022(tmp_path / "cohort"))
    run = ["run", "--config", "isles2022", "--methods", "ms_dcnn,all_background", "--set", "trainer.precision=32-true"]
    assert main([*run, "--cohort", root]) == 1
    said = capsys.readouterr().err
    assert "ms_dcnn and all ablation rows of it are left out: " in said
    assert "has no images of Tmax, CBF, CBV, MTT (it has DWI, ADC, FLAIR)" in said
    assert not (tmp_path / "runs").exists()
    assert main(["cost", "--config", "isles2022", "--methods", "perfusion_t38", "--cohort", root]) == 1
    assert "perfusion_t38: needs images of CT, CBF, Tmax, the case has DWI, ADC, FLAIR" in capsys.readouterr().err


def test_a_method_on_whole_cases_that_do_not_fit_the_memory_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slots, "gpu_memories", list)
    monkeypatch.setattr(slots, "_memory", lambda: 1_000_000)
    root = str(trees.isles2024(tmp_path / "cohort"))  # 720 voxels a case, 2 kB each
    run = ["run", "--config", "isles2024", "--methods", "all_background,fcn3d_crf", "--cohort", root]
    assert main([*run, "--set", "trainer.precision=32-true"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "fcn3d_crf and its ablation rows are left out: it trains on whole cases on their own grid" in line
    assert "a step on sub-stroke0001 (0.00072 million voxels) takes about 0.00144 GB of memory" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("trainer", "gpus", "memory", "left_out"),
    [
        ({}, [], 1_440_000, False),
        ({}, [], 1_439_999, True),
        ({}, [2_000_000, 1_000_000], 2_000_000, True),
        ({}, [2_000_000], 1_000_000, False),
        ({"accelerator": "cpu"}, [2_000_000], 1_000_000, True),
    ],
)
def test_the_memory_is_that_of_what_the_method_would_compute_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: dict, gpus: list[int], memory: int, left_out: bool
) -> None:
    monkeypatch.setattr(slots, "gpu_memories", lambda: gpus)
    monkeypatch.setattr(slots, "_memory", lambda: memory)
    cohort = read_cohort(trees.isles2024(tmp_path / "cohort"))
    configs = {
        name: read_yaml(shipped_configs() / "methods" / f"{name}.yaml") | {"trainer": trainer}
        for name in ("fcn3d_crf", "residual_unet", "all_background")
    }
    assert list(_too_large(configs, cohort)) == ["fcn3d_crf"] * left_out


@pytest.mark.usefixtures("forked")
def test_of_a_whole_suite_what_has_something_to_see_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = trees.isles2022(tmp_path / "cohort")
    methods = ["all_background", "adc_threshold", "perfusion_t38"]
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"name": "s", "methods": methods}))
    assert main(["cost", "--config", "suite.yaml", "--cohort", str(root), "--format", "isles2022"]) == 0
    said = capsys.readouterr()
    assert "perfusion_t38: needs images of CT, CBF, Tmax" in said.err
    assert "adc_threshold" in said.out
    assert "perfusion_t38" not in said.out


def test_a_format_without_a_cohort_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", "twin", "--out", str(tmp_path / "runs"), "--format", "isles2018"]) == 1
    assert "--format isles2018: is of a cohort that is given: give --cohort DIR too" in capsys.readouterr().err
