"""A method whose package is not installed, or whose images a cohort has not, in the commands that name methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trees
import yaml
from rich.console import Console
from toy import SUITE, run

from benchmark.cli import main
from benchmark.commands.run_plan import Request, _too_large, make_plan
from benchmark.launchers import make_launcher
from benchmark.machine import capacity
from benchmark.suite.config import read_suite
from benchmark.suite.config_files import find_config, read_yaml, shipped_configs
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
    command = [
        "run",
        "--config",
        "isles2022",
        "--methods",
        "ms_dcnn,all_background",
        "--set",
        "trainer.precision=32-true",
    ]
    assert main([*command, "--cohort", root]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"benchmark: ms_dcnn needs images of Tmax, CBF, CBV, MTT, and {root} has only DWI, ADC, FLAIR: name other "
        "methods, or give a cohort that has these images\n"
    )
    assert not (tmp_path / "runs").exists()
    assert main(["cost", "--config", "isles2022", "--methods", "perfusion_t38", "--cohort", root]) == 1
    assert "perfusion_t38: needs images of CT, CBF, Tmax, the case has DWI, ADC, FLAIR" in capsys.readouterr().err


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes GPUs and this machine look as if they had so many bytes."""

    def become(machine: int, gpus: Sequence[int] = ()) -> None:
        monkeypatch.setattr(capacity, "gpu_memories", lambda: list(gpus))
        monkeypatch.setattr(capacity, "machine_memory", lambda: machine)

    return become


def test_a_method_on_whole_cases_that_do_not_fit_the_memory_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, memory: Callable[..., None]
) -> None:
    monkeypatch.chdir(tmp_path)
    memory(1_000_000)
    root = str(trees.isles2024(tmp_path / "cohort"))  # 720 voxels a case, 6 kB each
    command = ["run", "--config", "isles2024", "--methods", "all_background,fcn3d_crf", "--cohort", root]
    assert main([*command, "--set", "trainer.precision=32-true"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.removeprefix("benchmark: ") == (
        "fcn3d_crf needs about 0.00432 GB of memory for the largest case, sub-stroke0001 (0.00072 million voxels), and "
        "there are 0.001 GB here: name other methods, or run it where there is more memory"
    )
    assert not (tmp_path / "runs").exists()


def test_a_suite_leaves_out_what_does_not_fit_and_goes_on_with_the_others(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str], memory: Callable[..., None]
) -> None:
    memory(1_000_000)
    (project / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"methods": ["all_background", "fcn3d_crf"]}))
    assert run(tree, "--folds", "0") == 0
    said = capsys.readouterr()
    told = [line for line in said.out.splitlines() if "fcn3d_crf" in line]
    assert len(told) == 2  # before the first job, and below the table
    assert all(line.startswith("fcn3d_crf needs about ") for line in told)
    assert all(line.endswith(" GB here: its rows are left out") for line in told)
    suite = project / "runs" / "small"
    assert not (suite / "fcn3d_crf").exists()
    table = (suite / "leaderboard-fold0" / "leaderboard.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in table[1:]] == ["all_background"]

    # Once it has begun it stays, whatever the memory is now.
    checkpoints = suite / "fcn3d_crf" / "fold0" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "last.ckpt").touch()
    request = Request("suite.yaml", cohort=tree, folds=(0,))
    config = read_suite(find_config("suite.yaml"))
    plan = make_plan(request, config, suite, make_launcher("local", config, suite), Console(quiet=True))
    assert not plan.left_out
    assert [job.method for job in plan.todo] == ["fcn3d_crf"]


@pytest.mark.parametrize(
    ("trainer", "batch", "gpus", "machine", "left_out"),
    [
        ({}, 1, [], 4_320_000, False),
        ({}, 1, [], 4_319_999, True),
        ({}, 2, [], 8_640_000, False),
        ({}, 2, [], 8_639_999, True),
        ({}, 1, [6_000_000, 3_000_000], 6_000_000, True),
        ({}, 1, [6_000_000], 3_000_000, False),
        ({"accelerator": "cpu"}, 1, [6_000_000], 3_000_000, True),
    ],
)
def test_the_memory_is_that_of_what_the_method_would_compute_on(
    tmp_path: Path,
    memory: Callable[..., None],
    trainer: dict,
    batch: int,
    gpus: list[int],
    machine: int,
    left_out: bool,
) -> None:
    memory(machine, gpus)
    cohort = read_cohort(trees.isles2024(tmp_path / "cohort"))
    changed = {"trainer": trainer, "data": {"batch_size": batch}}
    configs = {
        name: read_yaml(shipped_configs() / "methods" / f"{name}.yaml") | changed
        for name in ("fcn3d_crf", "residual_unet", "all_background")
    }
    found = _too_large(configs, cohort)
    assert list(found) == ["fcn3d_crf"] * left_out
    assert all(("2 in a batch" in lack.fault) == (batch == 2) for lack in found.values())


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
