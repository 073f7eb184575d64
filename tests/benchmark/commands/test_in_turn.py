"""Work in a process of its own ends in an outcome, whatever becomes of the process."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.commands import forecast
from benchmark.commands.in_turn import in_turn

WORK = """
import os, time
from pathlib import Path

def hangs(tasks, sender):
    time.sleep(600)

def leaves_an_heir(tasks, sender):
    # dies, but what it has forked keeps the pipe open until it is told that the test is over
    folder = next(iter(tasks.values()))
    if not os.fork():
        for _ in range(600):
            time.sleep(0.05)
            if (folder / "over").exists():
                os._exit(0)
        (folder / "waited for").touch()
        os._exit(0)
    os._exit(3)

def sends_and_dies(tasks, sender):
    for name in tasks:
        sender.send(name.upper())
        os._exit(0)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A function of a module that the other process finds, by name."""
    name = f"work_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda function: getattr(importlib.import_module(name), function)


def test_a_process_that_hangs_is_ended_after_its_time(tmp_path: Path, work: Callable[[str], Any]) -> None:
    found = dict(in_turn(work("hangs"), {"a": tmp_path, "b": tmp_path}, limit_s=0.4))
    assert found == {"a": "it was not done after 0 s", "b": "it was not done after 0 s"}
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_noticed_although_another_holds_its_pipe(
    tmp_path: Path, work: Callable[[str], Any]
) -> None:
    with contextlib.closing(in_turn(work("leaves_an_heir"), {"a": tmp_path})) as outcomes:
        assert next(outcomes) == ("a", "its process ended with 3")
        assert not (tmp_path / "waited for").exists()
        (tmp_path / "over").touch()


def test_what_a_process_sent_before_it_died_counts(tmp_path: Path, work: Callable[[str], Any]) -> None:
    assert dict(in_turn(work("sends_and_dies"), {"a": tmp_path})) == {"a": "A"}


def test_a_forecast_whose_process_hangs_is_given_up_in_a_line(
    tmp_path: Path, work: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "_time_all", work("hangs"))
    monkeypatch.setattr(forecast, "LIMIT_S", 1.0)
    said: list[str] = []
    assert forecast.forecast({"a": tmp_path, "b": tmp_path}, said.append) == {}
    assert said == ["no forecast: a step of a could not be timed: it was not done after 1 s"]
