"""What a job keeps in order to continue, and whether it is undamaged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmark.training.checkpoints import SameProcesses, is_loadable
from leaderboard.errors import InputError


def test_a_checkpoint_with_a_flipped_bit_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "epoch=1.ckpt"
    torch.save({"weights": torch.arange(1000.0)}, path)
    assert is_loadable(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not is_loadable(path)
    assert "is damaged" in capsys.readouterr().err


def test_a_checkpoint_that_could_run_code_is_not_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "epoch=1.ckpt"
    torch.save({"weights": Path("anything but numbers, texts and tensors")}, path)
    assert not is_loadable(path)
    assert "not used" in capsys.readouterr().err


def test_a_training_that_other_processes_began_is_not_continued() -> None:
    fitting = SimpleNamespace(state=SimpleNamespace(fn="fit"), world_size=2, default_root_dir="runs/x")
    predicting = SimpleNamespace(state=SimpleNamespace(fn="predict"), world_size=2)
    one, two = {}, {}
    SameProcesses().on_save_checkpoint(SimpleNamespace(world_size=1), None, one)
    SameProcesses().on_save_checkpoint(fitting, None, two)
    with pytest.raises(InputError, match="runs/x: 1 processes began this training, now there are 2: set"):
        SameProcesses().on_load_checkpoint(fitting, None, one)
    SameProcesses().on_load_checkpoint(predicting, None, one)
    SameProcesses().on_load_checkpoint(fitting, None, two)
