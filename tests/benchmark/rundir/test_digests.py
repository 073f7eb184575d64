"""A file that changed after its job is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.rundir.digests import (
    damaged_results,
    digest_results,
    needs_training,
    read_provenance,
    remembered_digest,
    write_provenance,
)
from leaderboard.errors import InputError

MASKS = ("predictions/case_1.nii.gz", "predictions/case_2.nii.gz", "predictions_plain/case_1.nii.gz")
FILES = ("checkpoints/last.ckpt", "metrics.csv", "config.yaml", *MASKS)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of a finished job."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(f"what {name} holds".encode())
    outputs = digest_results(tmp_path, [tmp_path / "predictions", tmp_path / "predictions_plain"])
    write_provenance(tmp_path, {"outputs": outputs, "devices": 1})
    return tmp_path


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_what_a_job_leaves_is_digested_by_its_path(run: Path) -> None:
    outputs = read_provenance(run)["outputs"]
    assert outputs == {name: hashlib.sha256(f"what {name} holds".encode()).hexdigest() for name in FILES}
    assert damaged_results(run) == []
    assert remembered_digest(run / "no such file") == ""


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_the_damaged_file_is_named_and_no_other(run: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(run / name)
    assert damaged_results(run) == [name]


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"outputs": {}}', '{"outputs": {}, "sha256": "0"}'])
def test_a_provenance_that_is_not_what_was_written_is_itself_damaged(run: Path, content: str | None) -> None:
    if content is None:
        (run / "provenance.json").unlink()
    else:
        (run / "provenance.json").write_text(content)
    assert damaged_results(run) == ["provenance.json"]
    with pytest.raises(InputError, match=r"provenance.json: is missing or damaged"):
        read_provenance(run)


def test_a_changed_value_of_the_provenance_is_noticed(run: Path) -> None:
    content = json.loads((run / "provenance.json").read_text())
    (run / "provenance.json").write_text(json.dumps(content | {"devices": 2}))
    assert damaged_results(run) == ["provenance.json"]


@pytest.mark.parametrize(
    "content",
    [
        {"outputs": []}, {"outputs": {"a": 1}}, {"outputs": {}, "ablations": "abc"}, {"outputs": {}, "ablations": [{}]},
        {"outputs": {}, "cohort": [1]}, {"outputs": {}, "cohort": {"cases": {"case_1": 5}}},
        {"outputs": {}, "cohort": {"format": None}}, {"outputs": {}, "costs": []}, {"devices": 1},
    ],
)  # fmt: skip
def test_a_sealed_provenance_of_the_wrong_shape_is_damaged(run: Path, content: dict[str, Any]) -> None:
    write_provenance(run, content)
    assert damaged_results(run) == ["provenance.json"]
    with pytest.raises(InputError, match=r"provenance.json: is missing or damaged"):
        read_provenance(run, "outputs")


def test_what_a_command_needs_of_a_provenance_must_be_there(run: Path) -> None:
    write_provenance(run, {"cohort": {"cases": {}}})
    assert read_provenance(run, "cohort.cases") == {"cohort": {"cases": {}}}
    with pytest.raises(InputError, match="missing or damaged"):
        read_provenance(run, "cohort.cases", "cohort.format")


@pytest.mark.parametrize(
    ("damaged", "trains"),
    [
        ((), False), (MASKS, False), (("config.yaml", MASKS[0]), False), (("checkpoints/last.ckpt",), True),
        (("metrics.csv", MASKS[0]), True), (("provenance.json",), True),
    ],
)  # fmt: skip
def test_masks_and_the_config_are_made_again_without_a_training(damaged: tuple[str, ...], trains: bool) -> None:
    assert needs_training(damaged) == trains
