"""The whole path, with a toy method: from a tree on disk to a leaderboard, in real processes."""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import shutil
import time
import zipfile
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import yaml
from toy import BROKEN, CONFIG, SUITE, bytes_of, run

from benchmark.cli import main
from benchmark.cohort.folds import read_fold_file
from benchmark.rundir.locks import hold, owner
from benchmark.rundir.state import read_state
from benchmark.training.wandb_sink import run_id
from leaderboard.cli import main as leaderboard
from leaderboard.cohort.formats import read_cohort
from leaderboard.report.rebuild import verify
from leaderboard.report.results_file import results_schema


def test_a_suite_with_a_toy_method_ends_with_the_leaderboard_twice_to_the_byte(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "suite.yaml").write_text((project / "suite.yaml").read_text() + "\nthreads: 1\n")
    assert run(tree) == 0
    assert "toy" in capsys.readouterr().out
    folder = project / "runs" / "small" / "leaderboard"
    with (folder / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["case"]) for row in rows] == [
        (method, f"case_{number}") for method in ("all_background", "toy") for number in (18, 19, 20, 21, 22, 24)
    ]
    header = (folder / "leaderboard.csv").read_text().splitlines()[0]
    assert header.startswith("rank,method,cases,missing,dice_mean,dice_sd,hausdorff_mm_mean,hausdorff_mm_sd,")
    job = project / "runs" / "small" / "toy" / "fold0"
    assert {path.name for path in job.iterdir()} >= {
        "config.yaml", "state.json", "provenance.json", "checkpoints", "metrics.csv", "predictions", "probabilities",
    }  # fmt: skip
    assert read_state(job).status == "done"

    # Predictions are on the native grid, in the case's own header.
    prediction = next((job / "predictions").iterdir())
    image = nib.load(prediction)
    original = nib.load(next((tree / "TRAINING" / prediction.name[:-7]).glob("*CT_MTT*/*.nii")))
    assert image.shape == original.shape
    assert image.header.get_zooms() == original.header.get_zooms()
    assert set(np.unique(np.asanyarray(image.dataobj))) <= {0, 1}

    # No metric is computed in training: what the files hold decides, and the same run gives the same bytes.
    provenance = json.loads((job / "provenance.json").read_text())
    assert provenance["packages"]["torch"]
    assert provenance["folds"]
    assert provenance["costs"]["parameters"] == 3 * 5 * 9 * 4 + 4 + 4 + 1
    assert provenance["costs"]["gmac_per_slice"] == round(32 * 32 * (3 * 5 * 9 * 4 + 4) / 1e9, 3)
    # Two epochs of a batch of eight: six slices, two of them twice.
    budget = {"steps": 2, "slices_seen": 16, "training_gmac": round(3 * 16 * 32 * 32 * (3 * 5 * 9 * 4 + 4) / 1e9, 6)}
    assert provenance["costs"].items() >= budget.items()
    assert provenance["hardware"]["threads"] == 1
    assert 0 < provenance["costs"]["fit_seconds"] < provenance["costs"]["other_seconds"] < 300  # a toy
    page = (folder / "index.html").read_text()
    for heading in ("Weights", "GMAC", "Steps", "Slices seen", "Training", "Prediction", "Peak memory"):
        assert f">{heading}</button>" in page.split('id="h-costs"')[1].split("</section>")[0]
    assert "cohort and preprocessing" in page
    assert run(tree, out="again") == 0
    for name in ("cases.csv", "leaderboard.csv", "leaderboard.md", "results.json"):
        again = project / "again" / "small" / "leaderboard" / name
        assert (folder / name).read_bytes() == again.read_bytes(), name
    results = json.loads((folder / "results.json").read_text())
    jsonschema.Draft202012Validator(results_schema()).validate(results)
    assert results["folds"] == {"count": 2, "sha256": results["notes"]["sha256 of the folds"]}
    assert not verify(folder).differences
    metrics = [project / out / "small" / "toy" / "fold1" / "metrics.csv" for out in ("runs", "again")]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()

    # Running again does nothing; changed inputs are refused.
    before = job.stat().st_mtime_ns, (job / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert run(tree) == 0
    assert "4 of 4 jobs are done already" in capsys.readouterr().out
    assert before == (job.stat().st_mtime_ns, (job / "checkpoints" / "last.ckpt").stat().st_mtime_ns)
    assert run(tree, "--set", "trainer.max_epochs=3") == 1
    changed = [line for line in capsys.readouterr().err.splitlines() if "--restart-changed" in line]
    assert len(changed) == 4
    assert f"{job.parent / 'fold0'}: was made with trainer.max_epochs 2 (now 3): change it back" in changed[2]

    # Predictions of a finished job for new cases, named for submission.
    predict = ["predict-cohort", "--trust", "--run", str(job), "--cohort", str(tree), "--out", "submission"]
    assert main([*predict, "--probabilities"]) == 0
    names = sorted(path.name for path in (project / "submission").iterdir())
    assert names == sorted(path.name for path in (project / "submission_probabilities").iterdir())
    assert len(names) == 6
    assert all(name.startswith("SMIR.toy.") and name.endswith(".nii") for name in names)
    assert f"{job} was trained on 3 of these cases: their scores would say nothing" in capsys.readouterr().err
    (project / "submission" / "SMIR.other.1.nii").touch()
    assert main(predict) == 1
    assert "holds other files (SMIR.other.1.nii)" in capsys.readouterr().err


def test_predictions_for_the_testing_tree_are_a_zip_that_the_challenges_check_accepts(
    project: Path, tree: Path, twin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree, "--methods", "toy", "--folds", "0", "--set", "model.init_args.inverted=true") == 0
    job = project / "runs" / "small" / "toy" / "fold0"
    arguments = ["predict-cohort", "--trust", "--run", str(job), "--cohort", str(twin), "--name", "us"]
    cases = read_cohort(twin, "testing").cases
    assert len(cases) == 2
    archives = {}
    for name in ("one", "two"):
        assert main([*arguments, "--out", f"{name}.zip"]) == 0
        for row in ("", "_inverted"):
            archive = project / f"{name}{row}.zip"
            archives.setdefault(row, set()).add(archive.read_bytes())
            assert zipfile.ZipFile(archive).namelist() == sorted(f"SMIR.us.{case.ids['CT_MTT']}.nii" for case in cases)
            check = ["check", "--cohort", str(twin), "--partition", "testing", "--predictions", str(archive)]
            assert leaderboard(check) == 0
    assert [len(contents) for contents in archives.values()] == [1, 1]  # the same bytes again
    assert not list(project.glob(".one*"))
    (project / "file").touch()
    for name, words in (("file", "is a file"), ("submission.tar.gz", "must be a .zip")):
        assert main([*arguments, "--out", name]) == 1
        said = capsys.readouterr().err
        assert words in said
        assert "give another --out" in said
    assert "was trained on" not in said


def test_a_failed_job_leaves_the_others_and_running_again_continues(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree, "--methods", "broken,all_background", "--folds", "0") == 1
    captured = capsys.readouterr()
    assert re.search(BROKEN, captured.out)
    assert (project / "runs" / "small" / "leaderboard-fold0" / "leaderboard.csv").exists()
    assert "Traceback" not in captured.out + captured.err
    assert run(tree, "--methods", "toy", "--folds", "0", "--set", "model.init_args.scale=.nan", out="nan") == 1
    assert "the loss of epoch 0 is nan" in capsys.readouterr().out
    assert "Traceback" in (project / "runs" / "small" / "broken" / "fold0" / "log.txt").read_text()


def test_verify_predicts_or_trains_again_and_tells_what_differs(
    project: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    shutil.copytree(tree, own)
    inverted = ["--set", "model.init_args.inverted=true"]
    assert run(own, "--methods", "toy", "--folds", "0", *inverted) == 0
    job = project / "runs" / "small" / "toy" / "fold0"
    before = sorted(path.name for path in job.iterdir())
    assert main(["verify", "--trust", str(job)]) == 0
    assert "9 of 9 files are the same after predicting again" in capsys.readouterr().out
    with hold(job, pytest.fail):
        assert main(["verify", "--trust", str(job)]) == 1
        assert "works in it: wait for its end" in capsys.readouterr().err
    (job / ".verify-killed" / "predictions").mkdir(parents=True)
    assert main(["verify", "--trust", str(job), "--retrain"]) == 0
    assert "10 of 10 files are the same after training again" in capsys.readouterr().out
    assert sorted(path.name for path in job.iterdir()) == before

    checkpoint = (job / "checkpoints" / "last.ckpt").read_bytes()
    (job / "checkpoints" / "last.ckpt").write_bytes(checkpoint[:-100])
    assert main(["verify", "--trust", str(job)]) == 1
    assert "last.ckpt is damaged (BadZipFile): benchmark run makes it again" in capsys.readouterr().err
    (job / "checkpoints" / "last.ckpt").write_bytes(checkpoint)

    masks = sorted((job / "predictions_inverted").iterdir())
    masks[0].write_bytes(masks[1].read_bytes())
    masks[2].unlink()
    (job / "probabilities" / masks[1].name).unlink()
    (job / "metrics.csv").write_text("epoch\n")
    assert main(["verify", "--trust", str(job)]) == 1
    said = capsys.readouterr().err
    assert f"predictions_inverted/{masks[0].name}: differs: it was damaged, benchmark run makes it again" in said
    assert f"predictions_inverted/{masks[2].name}: differs" in said
    assert f"probabilities/{masks[1].name}: differs" in said
    assert "note: metrics.csv has changed since the job ended" in said

    case = next((own / "TRAINING").iterdir())
    image = next(case.glob("*CT_MTT*/*.nii"))
    content = bytearray(image.read_bytes())
    content[-8] ^= 1  # the last bit of the last voxel's mantissa
    image.write_bytes(content)
    assert main(["verify", "--trust", str(job)]) == 1
    assert f"{case.name} is not what" in capsys.readouterr().err
    assert run(own, "--methods", "toy", "--folds", "0", *inverted) == 1
    assert f"{own} has changed ({case.name}): restore it" in capsys.readouterr().err
    assert run(tree, "--methods", "toy", "--folds", "0", *inverted, "--set", "data.batch_size=2") == 1
    assert "was made with data.batch_size 8 (now 2): change it back; else give another --out" in capsys.readouterr().err
    shutil.rmtree(own / "TRAINING" / "case_24")
    own.rename(tmp_path / "other")
    assert run(tmp_path / "other", "--methods", "toy", "--folds", "0", *inverted) == 1
    said = capsys.readouterr().err
    assert f"was made with the cohort {own} (now {tmp_path / 'other'}): change it back" in said
    settings = yaml.safe_load((job / "config.yaml").read_text())
    (job / "config.yaml").write_text(yaml.safe_dump(settings | {"suite": None}))
    assert run(tree, "--methods", "toy", "--folds", "0", *inverted, "--set", "data.batch_size=2") == 1
    assert "its config.yaml or state.json is damaged" in capsys.readouterr().err
    assert main(["verify", str(project)]) == 1
    assert "holds no finished job" in capsys.readouterr().err


def test_the_rules_of_a_fold_share_a_process_and_give_what_each_gives_alone(project: Path, tree: Path) -> None:
    methods = ["all_background", "perfusion_t38", "perfusion_tfit", "toy"]
    assert run(tree, "--methods", ",".join(methods), "--folds", "0") == 0
    jobs = [project / "runs" / "small" / method / "fold0" for method in methods]
    processes = [(job / ".lock").read_text().split("process ")[1].split(",")[0] for job in jobs]
    assert len(set(processes[:3])) == 1
    assert processes[3] != processes[0]
    for method, job in zip(methods[:3], jobs, strict=False):
        assert "`Trainer.fit` stopped" in (job / "log.txt").read_text()
        assert json.loads((job / "provenance.json").read_text())["costs"]["other_seconds"] > 0
        assert run(tree, "--methods", method, "--folds", "0", out="alone") == 0  # in a process of its own
        alone = project / "alone" / "small" / method / "fold0"
        masks = sorted((job / "predictions").iterdir())
        assert len(masks) == 3
        for mask in masks:
            assert mask.read_bytes() == (alone / "predictions" / mask.name).read_bytes(), mask


def test_an_ablation_is_a_row_of_its_own_from_the_same_training(project: Path, tree: Path) -> None:
    assert run(tree, "--methods", "toy", "--folds", "0", "--set", "model.init_args.inverted=true") == 0
    job = project / "runs" / "small" / "toy" / "fold0"
    with (project / "runs" / "small" / "leaderboard-fold0" / "cases.csv").open() as file:
        rows = {(row["method"], row["case"]): row for row in csv.DictReader(file)}
    names = {path.name[:-7] for path in (job / "predictions").iterdir()}
    assert set(rows) == {(method, case) for method in ("toy", "toy_inverted") for case in names}
    for case in names:
        masks = [
            nib.load(job / folder / f"{case}.nii.gz").get_fdata() for folder in ("predictions", "predictions_inverted")
        ]
        assert np.array_equal(masks[0], 1 - masks[1])
        volumes = [float(rows[method, case]["predicted_ml"]) for method in ("toy", "toy_inverted")]
        assert sum(volumes) > max(volumes)
    assert (project / "runs" / "small" / "leaderboard-fold0" / "costs.csv").read_text().count("toy") == 1


def test_what_a_suite_must_say_of_its_results_stands_on_the_page_and_below_the_leaderboard(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"note": "Short recipes: not\n comparable [b]."}))
    assert run(tree, "--methods", "all_background") == 0
    note = "Short recipes: not comparable [b]."
    assert note in capsys.readouterr().out
    folder = project / "runs" / "small" / "leaderboard"
    assert note in (folder / "index.html").read_text()
    assert (folder / "banner.txt").read_text() == f"{note}\n"


def test_a_method_whose_package_is_missing_is_left_out_with_its_remedy(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needy = yaml.safe_load(CONFIG % "false") | {"requires": {"no_such_package": "pip install it"}}
    (project / "methods" / "needy.yaml").write_text(yaml.safe_dump(needy))
    (project / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"methods": ["all_background", "needy"]}))
    assert run(tree) == 0
    said = capsys.readouterr().out
    assert said.count("needy needs no_such_package (pip install it): its rows are left out\n") == 2
    table = (project / "runs" / "small" / "leaderboard" / "leaderboard.csv").read_text()
    assert "all_background" in table
    assert "needy" not in table
    assert run(tree, "--methods", "needy") == 1
    refused = "benchmark: needy needs no_such_package (pip install it): install that, or name other methods\n"
    assert capsys.readouterr().err == refused


def test_two_processes_write_every_prediction_once(project: Path, tree: Path) -> None:
    assert run(tree, "--methods", "toy", "--folds", "0", "--set", "trainer.devices=2") == 0
    job = project / "runs" / "small" / "toy" / "fold0"
    assert json.loads((job / "provenance.json").read_text())["devices"] == 2
    cases = read_fold_file(project / "runs" / "small" / "folds.csv").validation(0)
    assert len(cases) == 3
    assert sorted(path.name for path in (job / "predictions").iterdir()) == sorted(f"{name}.nii.gz" for name in cases)


def test_two_runs_in_one_folder_are_refused(project: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project / "runs" / "small"
    folder.mkdir(parents=True)
    with hold(folder, pytest.fail):
        assert run(tree) == 1
        assert owner(folder) is not None
    words = f"another benchmark run works here (host {platform.node()}, process {os.getpid()}, since 20"
    assert words in capsys.readouterr().err
    # What a dead process has written blocks nobody, and the next owner's line replaces it.
    assert owner(folder) is None
    with hold(folder, pytest.fail):
        assert len((folder / ".lock").read_text().splitlines()) == 1


def test_wandb_gets_a_run_a_job_with_a_picture_and_a_run_for_the_leaderboard_and_changes_no_file(
    project: Path, tree: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (project / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"wandb": True}))
    assert run(tree, "--methods", "toy", "--folds", "0") == 0
    folder = project / "runs" / "small" / "wandb"
    (job,) = (path for path in folder.glob("offline-run-*") if list(path.glob("files/media/images/val/slice*.png")))
    content = next(job.glob("*.wandb")).read_bytes()
    for word in (b"train/loss", b"train/learning_rate", b"val/dice", b"toy/fold0", b"small", b"batch_size"):
        assert word in content, word
    (leaderboard,) = set(folder.glob("offline-run-*")) - {job}
    assert list(leaderboard.glob("files/media/table/leaderboard*.json"))
    deadline = time.monotonic() + 60  # W&B's own process may write a little later
    while b"small-leaderboard" not in next(leaderboard.glob("*.wandb")).read_bytes():  # the artifact with the CSVs
        assert time.monotonic() < deadline
        time.sleep(0.2)
    without, logged = (root / "runs" / "small" for root in (finished, project))
    assert not (without / "wandb").exists()
    assert bytes_of(without / "toy" / "fold0") == bytes_of(logged / "toy" / "fold0")
    for name in ("cases.csv", "leaderboard.csv", "leaderboard.md"):
        assert (without / "leaderboard-fold0" / name).read_bytes() == (logged / "leaderboard-fold0" / name).read_bytes()


def test_jobs_that_share_a_process_are_a_run_of_wandb_each(
    project: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (project / "suite.yaml").write_text(yaml.safe_dump(SUITE | {"wandb": True}))
    names = ["all_background", "perfusion_t38"]
    assert run(tree, "--methods", ",".join(names), "--folds", "0") == 0
    suite = project / "runs" / "small"
    found = [path.name.rpartition("-")[2] for path in (suite / "wandb").glob("offline-run-*")]
    assert len(found) == len(names) + 1  # the leaderboard's
    for job in (suite / name / "fold0" for name in names):
        assert run_id(str(job.resolve()), read_state(job).inputs) in found


def test_lightning_cli_fits_a_method_from_its_config(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(project / "methods" / "toy.yaml", project / "toy.yaml")
    arguments = ["--data.cohort", str(tree), "--trainer.max_epochs=1", "--data.cache", "cache"]
    assert main(["fit", "--config", "toy.yaml", *arguments, "--trainer.logger=false"]) == 0
    assert list((project / "checkpoints").glob("*.ckpt"))
    assert main(["predict", "--config", "toy.yaml", *arguments, "--trainer.logger=false"]) == 1
    assert "--ckpt_path" in capsys.readouterr().err


def test_a_typo_in_a_setting_is_named_and_does_not_block_its_correction(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--methods", "toy", "--folds", "0"]
    for setting, words in {
        "trainer.max_epoch=1": "Group 'trainer' does not accept option 'max_epoch'",
        "trainer.max_epochs=many": "trainer.max_epochs: Expected an int, not many",
        "trainer.max_epochs=0": "trainer.max_epochs is 0, the method would stay untrained: give at least 1",
        "data.batch_size=many": "data.batch_size: Expected an int, not many",
        "trainer.max_epochs=-1": "trainer.max_epochs is -1, schedules need to know the end: give at least 1",
        "trainer.max_epochs=-3": "trainer: `max_epochs` must be a non-negative integer",
        "trainer.precision=foo": "trainer.precision: Expected a",
        "data.batch_size=0": "data.batch_size must be at least 1",
        "model.init_args.size=3": "model: Problem with given class_path 'toy_method.Toy': Option 'size' is not",
    }.items():
        assert run(tree, *common, "--set", setting) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"benchmark: toy: {words}")
        assert "correct" in line or "give" in line
    assert not (project / "runs").exists()  # found before anything is done
    assert run(tree, *common, "--set", "trainer.max_epochs=1") == 0


@pytest.mark.slow
def test_the_real_suite_runs_on_a_full_size_tree_cut_to_a_few_cases(tmp_path: Path) -> None:
    """The shipped config for ISLES 2018 with its own fold file, one epoch: cases 18 to 22 lie in several folds."""
    assert main(["twin", str(tmp_path / "whole"), "--cases", "22", "--size", "256"]) == 0
    for number in (18, 19, 20, 21, 22):
        case = f"TRAINING/case_{number}"
        shutil.copytree(tmp_path / "whole" / case, tmp_path / "tree" / case)
    arguments = ["--config", "isles2018", "--cohort", str(tmp_path / "tree"), "--out", str(tmp_path / "runs")]
    arguments += ["--methods", "residual_unet,strokenet,perfusion_tfit", "--set", "trainer.max_epochs=1"]
    arguments += ["--set", "trainer.precision=auto"]
    assert main(["run", *arguments]) == 0
    table = (tmp_path / "runs" / "isles2018" / "leaderboard" / "leaderboard.csv").read_text().splitlines()
    assert len(table) == 4


def test_a_suite_of_folds_by_case_is_refused_unless_allowed_and_then_says_that_it_leaks(
    project: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = SUITE | {"methods": ["all_background"], "folds": {"number": 2, "by": "case"}}
    (project / "suite.yaml").write_text(yaml.safe_dump(suite))
    assert run(tree) == 1
    assert "suite.yaml: folds.by is case, which has cases of one patient in training and in" in capsys.readouterr().err
    assert not (project / "runs").exists()
    assert run(tree, "--allow-leaky-folds", "--folds", "0") == 0
    with (project / "runs" / "small" / "folds.csv").open() as file:
        folds: dict[str, set[str]] = {}
        for row in csv.DictReader(file):
            folds.setdefault(row["patient"], set()).add(row["fold"])
    split = [patient for patient, own in folds.items() if len(own) == 2]
    assert split
    words = f"LEAKY FOLDS: {len(split)} of 4 patients have cases in training and in validation."
    assert words in capsys.readouterr().out
    folder = project / "runs" / "small" / "leaderboard-fold0"
    assert (folder / "banner.txt").read_text().startswith(words)
    assert words in (folder / "index.html").read_text()
    provenance = json.loads((project / "runs" / "small" / "all_background" / "fold0" / "provenance.json").read_text())
    assert sorted(provenance["split_patients"]) == sorted(split)
