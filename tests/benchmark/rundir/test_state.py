from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.rundir.state import State, read_state, update_state, write_state


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"status": "done", "unknown": 1}', '{"done": "3"}', '{"reason": [1]}', "[" * 100_000]
)
def test_a_damaged_state_is_a_pending_job(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert read_state(tmp_path) == State()


@pytest.mark.parametrize("content", [None, "{", '{"status": "done", "unknown": 1}'])
def test_of_a_lost_state_the_config_still_tells_the_inputs(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "config.yaml").write_text("suite: {inputs: abc}\n")
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    assert read_state(tmp_path) == State(inputs="abc")


def test_a_run_whose_config_repeats_itself_is_a_pending_job(tmp_path: Path) -> None:
    lines = [f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 12)]
    (tmp_path / "config.yaml").write_text("\n".join(["a0: &a0 [x]", *lines, "suite: {inputs: *a11}\n"]))
    assert read_state(tmp_path).inputs == ""


def test_a_change_of_some_fields_leaves_the_others(tmp_path: Path) -> None:
    write_state(tmp_path, State(status="running", phase="training", done=3, total=9, inputs="abc"))
    assert update_state(tmp_path, done=4) == State(status="running", phase="training", done=4, total=9, inputs="abc")
    assert read_state(tmp_path).done == 4
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
