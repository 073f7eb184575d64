from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.rundir.state import State, read_state


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": "done", "unknown": 1}'])
def test_a_damaged_state_is_a_pending_job(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert read_state(tmp_path) == State()
