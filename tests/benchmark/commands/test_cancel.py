"""Which jobs ``benchmark cancel`` ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from plans import suite_file

from benchmark.commands import cancel as module
from benchmark.commands.cancel import cancel
from leaderboard.errors import InputError


@pytest.mark.parametrize(
    ("methods", "folds", "seeds", "ended"),
    [
        (None, None, None, ["net/fold0/seed0", "net/fold0/seed1", "net/fold1/seed1", "rule/fold0"]),
        (None, None, [1], ["net/fold0/seed1", "net/fold1/seed1"]),
        (["net"], [0], None, ["net/fold0/seed0", "net/fold0/seed1"]),
        (None, [0], [0], ["net/fold0/seed0"]),
        (["rule"], None, None, ["rule/fold0"]),
    ],
)
def test_jobs_are_chosen_by_method_fold_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, methods: list[str], folds: list[int], seeds: list[int],
    ended: list[str],
) -> None:  # fmt: skip
    for run in ("net/fold0/seed0", "net/fold0/seed1", "net/fold1/seed1", "rule/fold0"):
        (tmp_path / "suite" / run).mkdir(parents=True)
    monkeypatch.setattr(module, "LAUNCHERS", ["local"])
    monkeypatch.setattr(module, "make_launcher", lambda *_: SimpleNamespace(cancel=list))
    suite = str(suite_file(tmp_path))
    assert cancel(suite, tmp_path, methods, folds, seeds) == [tmp_path / "suite" / run for run in ended]
    with pytest.raises(InputError, match="holds no jobs of these methods, folds and seeds"):
        cancel(suite, tmp_path, methods, folds, [5])
