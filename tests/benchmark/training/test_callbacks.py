"""What a job does besides training, tested without a training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmark.methods.base import Method, RuleMethod
from benchmark.rundir.state import State, read_state, write_state
from benchmark.training import callbacks
from benchmark.training.callbacks import FiniteLoss, MetricsFile, PredictionWriter, ProgressReport, write_masks
from leaderboard.cohort.formats import FORMATS, read_cohort
from leaderboard.errors import InputError
from leaderboard.io.images import read_volume


def trainer_at(epoch: int, first_process: bool = True, **metrics: float) -> Any:
    return SimpleNamespace(
        is_global_zero=first_process, current_epoch=epoch, max_epochs=9, world_size=2,
        callback_metrics={name.replace("_", "/"): torch.tensor(value) for name, value in metrics.items()},
        datamodule=SimpleNamespace(held_out=[None] * 5, training=[None] * 13), num_training_batches=7,
    )  # fmt: skip


def test_masks_and_those_of_ablation_rows_lie_in_folders_side_by_side_on_the_cases_grid(
    isles_tree: Any, tmp_path: Path
) -> None:
    case = read_cohort(isles_tree([3], shape=(8, 9, 2), spacing=(0.9, 1.1, 6.0))).cases[0]
    own, plain = torch.zeros(2, 2, 9, 8, dtype=torch.bool)
    own[1, 7, 3] = plain[0, 2, 6] = True  # z, y, x
    write_masks(tmp_path / "predictions", case, {"": own, "plain": plain})
    for folder, voxel in (("predictions", (3, 7, 1)), ("predictions_plain", (6, 2, 0))):
        volume = read_volume(tmp_path / folder / "case_3.nii.gz")
        assert volume.data.shape == (8, 9, 2)
        assert volume.spacing_mm == pytest.approx((0.9, 1.1, 6.0))
        assert volume.data.sum() == volume.data[voxel] == 1


def test_the_probability_map_lies_beside_the_masks_as_16_bits_that_say_the_same_at_one_half(
    isles_tree: Any, tmp_path: Path
) -> None:
    case = read_cohort(isles_tree([3], shape=(8, 9, 2), spacing=(0.9, 1.1, 6.0))).cases[0]
    probability = torch.rand((2, 9, 8), generator=torch.Generator().manual_seed(0))
    probability[0, 0, :4] = torch.tensor([0.0, 1.0, 0.5, 0.5 + 2**-24])  # the last is the next number after 0.5
    write_masks(tmp_path / "predictions", case, {"": probability > 0.5}, probability=probability)
    mask, read = (read_volume(tmp_path / name / "case_3.nii.gz") for name in ("predictions", "probabilities"))
    assert nib.load(tmp_path / "probabilities" / "case_3.nii.gz").get_data_dtype() == np.uint16
    assert (read.spacing_mm, read.header.get_best_affine().tolist()) == (
        mask.spacing_mm, mask.header.get_best_affine().tolist()
    )  # fmt: skip
    expected = probability.permute(2, 1, 0).numpy()
    np.testing.assert_allclose(read.data, expected, rtol=0, atol=0.51 / 65535)
    np.testing.assert_array_equal(read.data > 0.5, mask.data == 1)
    assert read.data[:4, 0, 0].tolist()[:2] == pytest.approx([0, 1], abs=1e-7)


class Logits(Method):
    """Gives whatever the network gives."""

    def probability(self, logits: torch.Tensor) -> torch.Tensor:
        return logits


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_what_is_no_probability_is_refused_where_a_map_is_wanted(isles_tree: Any, tmp_path: Path, value: float) -> None:
    case = read_cohort(isles_tree([3])).cases[0]
    outputs = {"case": 0, "probability": torch.full((2, 9, 8), value), "masks": {"": torch.ones(2, 9, 8).bool()}}
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(held_out_cases=[case]))
    writer = PredictionWriter(str(tmp_path / "predictions"), probabilities=True)
    with pytest.raises(InputError, match=r"test_callbacks.py:\d+: Logits.probability gives values from .* 0 to 1, or"):
        writer.on_predict_batch_end(trainer, Logits(), outputs, {}, 0)
    writer.on_predict_batch_end(trainer, RuleMethod(), outputs, {}, 0)  # a rule has none
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and "pr" in path.name] == ["predictions"]


def test_a_submitted_mask_has_the_id_of_the_mtt_image_in_its_name(isles_tree: Any, tmp_path: Path) -> None:
    case = read_cohort(isles_tree([3])).cases[0]
    name = FORMATS["isles2018"].submitted_file(case, "mine")
    write_masks(tmp_path / "out", case, {"": torch.zeros(2, 9, 8, dtype=torch.bool)}, name)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"SMIR.mine.{case.ids['CT_MTT']}.nii"]


def test_the_metrics_file_has_a_row_an_epoch_and_validation_where_it_was(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.on_train_epoch_end(trainer_at(0, train_loss=3.0), None)
    metrics.on_validation_end(trainer_at(1), None)
    metrics.on_train_epoch_end(trainer_at(1, train_loss=2.0, val_dice=0.5), None)
    metrics.on_train_epoch_end(trainer_at(2, train_loss=1.0, val_dice=0.5), None)
    expected = "epoch,train/loss,val/dice\n0,3.0,\n1,2.0,0.5\n2,1.0,\n"
    assert (tmp_path / "metrics.csv").read_text() == expected


def test_a_restart_goes_on_with_the_rows_of_its_checkpoint_whatever_the_file_holds(tmp_path: Path) -> None:
    before = MetricsFile(tmp_path / "metrics.csv")
    before.on_train_epoch_end(trainer_at(0, train_loss=3.0), None)
    checkpoint = before.state_dict()
    checkpoint = {name: list(rows) for name, rows in checkpoint.items()}  # as it is written then
    before.on_train_epoch_end(trainer_at(1, train_loss=2.0), None)
    (tmp_path / "metrics.csv").write_text("damaged")
    after = MetricsFile(tmp_path / "metrics.csv")
    after.load_state_dict(checkpoint)
    after.on_train_epoch_end(trainer_at(1, train_loss=5.0), None)
    assert (tmp_path / "metrics.csv").read_text() == "epoch,train/loss\n0,3.0\n1,5.0\n"


def test_one_process_alone_writes_the_metrics(tmp_path: Path) -> None:
    other = trainer_at(0, first_process=False, train_loss=3.0)
    MetricsFile(tmp_path / "metrics.csv").on_train_epoch_end(other, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_training(loss: float) -> None:
    watch = FiniteLoss()
    watch.on_train_epoch_end(trainer_at(3, train_loss=1e30), None)
    watch.on_train_epoch_end(trainer_at(3), None)  # a rule has none
    with pytest.raises(InputError, match=f"the loss of epoch 4 is {loss}.* look in Method.loss .*methods/base.py:"):
        watch.on_train_epoch_end(trainer_at(4, train_loss=loss), Method())


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A report whose every call is written."""
    monkeypatch.setattr(callbacks, "REPORT_EVERY", 0.0)
    write_state(tmp_path, State(status="running", inputs="abc"))
    return ProgressReport(tmp_path)


def progress(run: Path) -> State:
    state = read_state(run)
    assert (state.status, state.inputs) == ("running", "abc")
    return State(phase=state.phase, done=state.done, total=state.total, step=state.step, steps=state.steps)


def test_progress_is_told_in_epochs_and_steps_then_in_cases_of_all_processes(tmp_path: Path, report: Any) -> None:
    report.on_train_epoch_start(trainer_at(4), None)
    seen = [progress(tmp_path)]
    for step in (0, 6):
        report.on_train_batch_end(trainer_at(4), None, {}, {}, step)
        seen.append(progress(tmp_path))
    for step in range(3):
        report.on_predict_batch_end(trainer_at(0), None, {}, {}, step)
        seen.append(progress(tmp_path))
    training, predicting = {"phase": "training", "done": 4, "total": 9, "steps": 7}, {"phase": "predicting", "total": 5}
    assert seen == [
        State(**training, step=0), State(**training, step=1), State(**training, step=7),
        State(**predicting, done=2), State(**predicting, done=4), State(**predicting, done=5),
    ]  # fmt: skip


def test_a_rule_that_is_fitted_tells_its_cases_and_another_nothing(tmp_path: Path, report: Any) -> None:
    report.on_train_batch_end(trainer_at(0), RuleMethod(), {}, {}, 1)
    assert progress(tmp_path) == State()
    rule = RuleMethod()
    rule.fitted = True
    report.on_train_batch_end(trainer_at(0), rule, {}, {}, 1)  # the second of each of two processes
    assert progress(tmp_path) == State(phase="fitting", done=4, total=13)


def test_progress_is_written_at_most_once_a_second_and_by_one_process(tmp_path: Path) -> None:
    report = ProgressReport(tmp_path)
    report.on_train_epoch_start(trainer_at(1, first_process=False), None)
    assert list(tmp_path.iterdir()) == []
    report.on_train_epoch_start(trainer_at(1), None)
    report.on_train_epoch_start(trainer_at(2), None)
    assert read_state(tmp_path).done == 1
