"""How long the trainings of a large suite will take, before the first job."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from toy import run

from benchmark.commands import forecast
from benchmark.commands.forecast import LARGE, in_words, to_time
from benchmark.commands.step_timer import later_slices
from benchmark.methods.residual_unet import ResidualUNetMethod
from benchmark.methods.strokenet import StrokeNetMethod
from benchmark.suite.config import is_rule, method_config, read_suite
from benchmark.suite.config_files import find_config
from benchmark.suite.plan import Job
from leaderboard.cohort.formats import read_cohort
from leaderboard.io.images import read_volume


def a_job(method: str, fold: int = 0, epochs: int = 1, class_path: str = "mine.Net") -> Job:
    config = {"model": {"class_path": class_path}, "trainer": {"max_epochs": epochs}}
    return Job(method, fold, Path(method) / f"fold{fold}", config, "")


def test_the_first_job_of_each_network_is_timed_where_a_suite_is_large(tree: Path) -> None:
    cohort = read_cohort(tree, "training")
    voxels = sum(read_volume(case.reference).data.size for case in cohort.cases)
    rule = a_job("rule", epochs=10**6, class_path="benchmark.methods.all_background.AllBackground")
    enough = -(-LARGE // voxels)
    jobs = [rule, a_job("b", 1, enough - 2), a_job("a"), a_job("a", 1)]
    assert list(to_time(jobs, cohort).items()) == [("b", Path("b/fold1")), ("a", Path("a/fold0"))]
    assert to_time([rule, a_job("b", 1, enough - 1)], cohort) == {}


def test_the_default_suite_does_not_wait_for_a_forecast_and_the_quick_one_has_one() -> None:
    epochs = {}
    for name in ("twin", "isles2018-quick"):
        suite = read_suite(find_config(name))
        configs = [method_config(suite, method, {}) for method in suite.methods]
        epochs[name] = 2 * sum(config["trainer"]["max_epochs"] for config in configs if not is_rule(config))
    assert epochs["twin"] * 80 * 48 * 48 * 8 < LARGE  # slabs have 8 slices at most
    assert epochs["isles2018-quick"] * 502 * 256 * 256 > LARGE


def test_a_forecast_in_words_says_what_it_rests_on_with_the_longest_first() -> None:
    jobs = [a_job("short"), a_job("long"), a_job("long", 1)]
    assert in_words({"short": 600.0, "long": 3600.0}, jobs, 2) == (
        "about 1 h 05 min of training on this machine (long 1 h 00 min, short 5 min): a step of each, timed just now, "
        "times its steps, 2 jobs at a time; validation and prediction come on top"
    )
    assert "at a time" not in in_words({"short": 600.0}, jobs, 1)


def test_a_curriculum_whose_crops_grow_is_expected_to_slow_down() -> None:
    strokenet = StrokeNetMethod(crop=0.5)
    areas = [strokenet.curriculum(100)(epoch).crop ** 2 for epoch in range(100)]
    assert {min(areas), max(areas)} == {0.25, 1.0}
    assert later_slices(strokenet, 100) == pytest.approx(sum(areas) / 100 / 0.25)
    assert later_slices(ResidualUNetMethod(), 100) == 1


@pytest.mark.usefixtures("forked")
def test_a_large_suite_tells_its_time_before_its_jobs_and_one_method_that_cannot_be_timed_is_left_to_its_job(
    project: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(forecast, "LARGE", 0)
    assert run(tree, "--methods", "all_background,broken,toy", "--folds", "0") == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    (told,) = [place for place, line in enumerate(lines) if re.search(r"about \S+ s of training on this", line)]
    assert re.search(r"\(toy \S+ s\): a step of each, timed just now, times its steps", lines[told])
    assert not any(line.startswith("[") for line in lines[:told])
    assert any("broken fold 0: failed:" in line and "the toy is broken" in line for line in lines[told:])
    assert said.err == ""
    assert run(tree, "--methods", "toy", "--folds", "0") == 0  # nothing is to do
    assert "of training on this machine" not in capsys.readouterr().out
