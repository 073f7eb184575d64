"""A suite whose precision the machine has no hardware for: asked before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from toy import SUITE, run

from benchmark.commands.run_plan import Request, check_request
from benchmark.commands.suites import open_suite
from benchmark.machine import precision
from leaderboard.errors import InputError


@pytest.fixture(autouse=True)
def _without_bf16(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without bfloat16, and a suite that asks for it."""
    suite = SUITE | {"defaults": {"trainer": SUITE["defaults"]["trainer"] | {"precision": "bf16-mixed"}}}
    (project / "suite.yaml").write_text(yaml.safe_dump(suite))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    precision.multiplies_bf16.cache_clear()
    yield
    precision.multiplies_bf16.cache_clear()


def notes(cohort: Path, asked: str | None = None, **request: object) -> list[str]:
    settings = {} if asked is None else {"trainer": {"precision": asked}}
    suite = open_suite("suite.yaml")
    return check_request(Request("suite.yaml", cohort, settings=settings, **request), suite, Path("runs/small"))[1]


def test_bfloat16_in_software_is_refused_before_anything_is_made_with_the_setting_that_helps(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("benchmark: toy: this machine computes bf16-mixed in software, tens of times slower")
    assert "give --set trainer.precision=auto, which is 32-true here" in line
    assert not (project / "runs").exists()


def test_a_precision_that_the_command_names_is_taken_and_told_where_it_is_slow(tree: Path) -> None:
    assert notes(tree, "auto") == notes(tree, "32-true") == []
    (note,) = notes(tree, "bf16-mixed")
    assert note.startswith("toy: this machine computes bf16-mixed in software")


def test_rules_are_as_quick_in_any_precision(tree: Path) -> None:
    assert notes(tree, methods=("all_background", "perfusion_tfit")) == []


def test_a_training_that_has_begun_goes_on_as_it_is(project: Path, tree: Path) -> None:
    folder = project / "runs" / "small" / "toy" / "fold1" / "checkpoints"
    folder.mkdir(parents=True)
    with pytest.raises(InputError):
        notes(tree)
    (folder / "epoch=0-step=3.ckpt").touch()
    (note,) = notes(tree)
    assert note.startswith("toy: ")
