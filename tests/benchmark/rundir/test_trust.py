"""Run folders from strangers: what their configs may name, and what they may not."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.cli import main
from benchmark.rundir.digests import damaged_results, remembered_digest, write_provenance
from benchmark.rundir.locks import hold
from benchmark.rundir.trust import received_config, require_harmless, require_plain_files
from benchmark.suite.config import lacking, method_config, read_suite
from benchmark.suite.config_files import find_config, merge
from benchmark.training.loading import load
from leaderboard.errors import InputError

SHIPPED = (
    "residual_unet", "strokenet", "perfusion_tfit", "ms_dcnn", "plain_unet", "resenc_unet", "fcn3d_crf",
    "multiscale_resnet",
)  # fmt: skip


def received(folder: Path, method: str = "residual_unet", **changes: Any) -> tuple[Path, dict[str, Any]]:
    """A run directory below a suite's folder, and its config with changes."""
    run = folder / "runs" / "twin" / method / "fold0"
    notes = {
        "seed_everything": 0,
        "data": {"cohort": "/data/cohort", "folds": "folds.csv", "fold": 0, "cache": str(folder / "runs" / "cache")},
        "suite": {"name": "twin", "method": method, "wandb": False, "threads": 1},
        "predictions": {"folder": str(run / "predictions")},
    }
    return run, merge(method_config(read_suite(find_config("twin")), method, {}), notes, changes)


@pytest.mark.parametrize("method", SHIPPED)
def test_what_a_suite_writes_for_its_own_methods_is_taken(tmp_path: Path, method: str) -> None:
    require_harmless(*received(tmp_path, method))


#: What a stranger's config might hold, and where the complaint points.
HOSTILE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"trainer": {"callbacks": [{"class_path": "pytorch_lightning.callbacks.LambdaCallback"}]}}, "trainer.callbacks"),
    ({"trainer": {"logger": {"class_path": "pytorch_lightning.loggers.CSVLogger"}}}, "trainer.logger"),
    ({"trainer": {"profiler": "simple"}}, "trainer.profiler"),
    ({"trainer": {"plugins": []}}, "trainer.plugins"),
    ({"trainer": {"default_root_dir": "/etc"}}, "trainer.default_root_dir"),
    ({"trainer": {"strategy": {"class_path": "x.Y"}}}, "trainer.strategy"),
    ({"model": {"class_path": "subprocess.Popen"}}, "model.class_path"),
    ({"model": {"class_path": "benchmark.methods.residual_unet.os.system()"}}, "model.class_path"),
    ({"model": {"init_args": {"base": {"class_path": "os.system", "init_args": {"command": "id"}}}}}, "init_args.base"),
    ({"model": {"init_args": {"kernels": [[{"class_path": "os.system"}]]}}}, "init_args.kernels[0][0]"),
    ({"model": {"class_path": "benchmark.methods.Any"}}, "model.class_path"),
    ({"model": {"class_path": "benchmark.methods.any_network.AnyNetwork"}}, "model.class_path"),
    # Modules of this package hold more names than methods.
    ({"model": {"class_path": "benchmark.methods.base.torch.os.system"}}, "model.class_path"),
    ({"model": {"class_path": "benchmark.methods.residual_unet.module.torch.os.system"}}, "model.class_path"),
    ({"model": {"class_path": "benchmark.methods.residual_unet.module.Method"}}, "model.class_path"),
    ({"model": {"class_path": "benchmark.methods.residual_unet.network.ResidualUNet"}}, "model.class_path"),
    ({"model": {"class_path": "benchmark.methods.no_such.Method"}}, "model.class_path"),
    # A text is as good as a mapping to the parser.
    (
        {
            "model": {
                "class_path": "benchmark.methods.any_network.module.AnyNetwork",
                "init_args": {"network": "{class_path: os.system, init_args: {command: id}}"},
            }
        },
        "model.class_path",
    ),
    ({"suite": {"method": "../../x"}}, "suite.method"),
    ({"seed_everything": "seed.yaml"}, "seed_everything"),
    ({"model": "model.yaml"}, "model"),
    ({"data": {"cohort": {"class_path": "os.system"}}}, "data.cohort"),
    ({"predictions": {"submission": "../../x"}}, "predictions.submission"),
    ({"needs": [{"class_path": "os.system"}]}, "needs"),
    ({"optimizer": {"class_path": "os.system"}}, "optimizer"),
    ({"lr_scheduler": {"class_path": "os.system"}}, "lr_scheduler"),
)


@pytest.mark.parametrize(("changes", "place"), HOSTILE, ids=[place for _, place in HOSTILE])
def test_what_may_run_code_or_write_elsewhere_is_refused(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError) as refused:
        require_harmless(*received(tmp_path, **copy.deepcopy(changes)))
    assert any(place in problem for problem in refused.value.problems)
    assert all("--trust" in problem for problem in refused.value.problems)


@pytest.mark.parametrize("word", ["auto", "ddp", "obj.yaml"])
def test_a_file_named_like_a_setting_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    run, config = received(tmp_path, trainer={"strategy": word, "accelerator": "auto"}, data={"cache": "/etc/cron.d"})
    run.mkdir(parents=True)
    for name in (word, "auto"):
        (run / name).write_text("class_path: stranger.Strategy")
    (tmp_path / "stranger.py").write_text(PAYLOAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = tmp_path / "own"
    own.mkdir()
    path, kept = received_config(run, config, own)
    assert path.parent == own
    assert not {"strategy", "accelerator"} & set(kept["trainer"])
    assert "cache" not in kept["data"]
    assert "requires" not in kept
    load(path, {"logger": False, "default_root_dir": str(tmp_path)}, "--trainer.devices=1")
    assert not Path("executed").exists()


def test_what_a_method_needs_is_looked_up_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "__init__.py").write_text("raise RuntimeError('imported')")
    assert lacking({"requires": {"stranger.part": "", "no_such.part": "install it"}}) == ["no_such.part (install it)"]


def test_a_lock_that_is_a_link_empties_nothing(tmp_path: Path) -> None:
    precious, run = tmp_path / "precious", tmp_path / "run"
    precious.write_text("kept")
    run.mkdir()
    (run / ".lock").symlink_to(precious)
    with pytest.raises(OSError), hold(run, lambda owner: None):  # noqa: PT011
        pass
    assert precious.read_text() == "kept"


PAYLOAD = """
from pathlib import Path
from benchmark.methods.residual_unet import ResidualUNetMethod
Path("executed").write_text("code of a stranger")
"""


@pytest.mark.parametrize("command", [["verify"], ["predict-cohort", "--cohort", "cohort", "--out", "out", "--run"]])
def test_commands_refuse_before_they_import_what_a_run_names(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    isles_tree: Callable[[], Path],
    command: list[str],
) -> None:
    import torch

    isles_tree()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "stranger.py").write_text(PAYLOAD)
    run, config = received(tmp_path, model={"class_path": "stranger.ResidualUNetMethod"})
    (run / "checkpoints").mkdir(parents=True)
    torch.save({}, run / "checkpoints" / "last.ckpt")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    write_provenance(run, {"outputs": {}, "ablations": [], "cohort": {"format": "isles2018", "partition": "training"}})
    assert main([*command, str(run)]) == 1
    assert "is not a method of this package: give --trust" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()


def finished(folder: Path, **changes: Any) -> Path:
    """A run directory that looks like a finished job's."""
    import torch

    run, config = received(folder, **changes)
    for name in ("checkpoints", "predictions"):
        (run / name).mkdir(parents=True)
    torch.save({}, run / "checkpoints" / "last.ckpt")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    write_provenance(run, {"outputs": {}, "ablations": [], "cohort": {"format": "isles2018", "partition": "training"}})
    return run


def refused(run: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*command, str(run)]) == 1
    return capsys.readouterr().err


COMMANDS = (["verify"], ["predict-cohort", "--cohort", "cohort", "--out", "out", "--run"])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "name", ["config.yaml", "provenance.json", "state.json", "checkpoints/last.ckpt", "predictions"]
)
def test_a_link_in_a_run_is_refused_and_nothing_of_its_target_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    isles_tree: Callable[[], Path],
    command: list[str],
    name: str,
) -> None:
    isles_tree()
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "shadow"
    secret.write_text("root: $6$abc\nhost: secret\n")
    run = finished(tmp_path)
    target = run / name
    if target.is_dir():
        target.rmdir()
    target.unlink(missing_ok=True)
    target.symlink_to(tmp_path if name == "predictions" else secret)
    said = refused(run, command, capsys)
    assert name in said
    assert "secret" not in said
    assert "$6$" not in said


def test_special_files_in_a_run_are_refused_and_the_links_of_wandb_are_not(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (run / "wandb" / "offline-run").mkdir(parents=True)
    (run / "wandb" / "latest-run").symlink_to("offline-run")
    require_plain_files(run)
    (run / "wandb" / "elsewhere").symlink_to("/etc")
    os.mkfifo(run / "predictions" / "case_1.nii.gz")
    with pytest.raises(InputError) as refused:
        require_plain_files(run)
    assert [problem.partition(": ")[0] for problem in refused.value.problems] == [
        str(run / "predictions" / "case_1.nii.gz"), str(run / "wandb" / "elsewhere")
    ]  # fmt: skip


def test_keys_of_a_file_that_is_no_config_are_counted_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(tmp_path)
    (run / "config.yaml").write_text("root: $6$abc\ndaemon: $6$def\n")
    said = refused(run, ["verify"], capsys)
    assert "unknown sections: 2" in said
    assert "root:" not in said
    assert "daemon" not in said


@pytest.mark.parametrize("place", ["", "seed3"])
def test_folds_are_read_in_the_suites_folder_alone(tmp_path: Path, place: str) -> None:
    secret = tmp_path / "passwd"
    secret.write_text("case,patient,fold\n")
    fold, config = received(tmp_path, data={"folds": str(secret)})
    run, suite = fold / place, fold.parents[1]
    run.mkdir(parents=True)
    (tmp_path / "own").mkdir()
    _, kept = received_config(run, config, tmp_path / "own")
    assert kept["data"]["folds"] == str(suite / "folds.csv")
    (suite / "folds.csv").symlink_to(secret)
    with pytest.raises(InputError, match=r"folds\.csv: is a link"):
        received_config(run, config, tmp_path / "own")


def test_damaged_folds_are_told_before_anything_is_predicted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    isles_tree: Callable[[], Path],
) -> None:
    isles_tree()
    monkeypatch.chdir(tmp_path)
    run = finished(tmp_path)
    folds = run.parents[1] / "folds.csv"
    folds.write_text("case,fold\ncase_1,first\n")
    said = refused(run, ["predict-cohort", "--cohort", "cohort", "--out", "out", "--run"], capsys)
    assert said.startswith(f"benchmark: {folds}")
    assert not (tmp_path / "out").exists()


def test_messages_name_the_file_in_the_run_and_no_temporary_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(tmp_path, model={"init_args": {"no_such_argument": 1}})
    provenance = {"outputs": {}, "ablations": [], "packages": {}, "hardware": {}, "git": None, "folds": None}
    write_provenance(run, provenance | {"cohort": {"format": "isles2018", "partition": "training", "cases": {}}})
    said = refused(run, ["verify"], capsys)
    assert said.startswith(f"benchmark: {run / 'config.yaml'}: ")
    assert "no_such_argument" in said


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def test_weights_that_are_code_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    run, config = received(tmp_path)
    (run / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": _Payload()}, run / "checkpoints" / "last.ckpt")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    write_provenance(run, {"outputs": {}, "ablations": [], "cohort": {"format": "isles2018", "partition": "training"}})
    assert main(["verify", str(run)]) == 1
    assert "last.ckpt is damaged (UnpicklingError)" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["/dev/zero", "../outside", "pipe", "absolute"])
def test_digests_are_taken_of_files_of_the_run_alone(tmp_path: Path, name: str) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    outside.write_text("a sound file, with its right digest")
    os.mkfifo(run / "pipe")
    name = str(outside) if name == "absolute" else name
    write_provenance(run, {"outputs": {name: remembered_digest(outside)}})
    assert damaged_results(run) == [name]


@pytest.mark.parametrize("key", ["callbacks", "logger", "plugins", "profiler"])
def test_a_suite_names_no_objects_of_the_trainer(tmp_path: Path, key: str) -> None:
    path = tmp_path / "suite.yaml"
    trainer = {key: [{"class_path": "pytorch_lightning.callbacks.LambdaCallback"}]}
    path.write_text(json.dumps({"methods": ["residual_unet"], "defaults": {"trainer": trainer}}))
    with pytest.raises(InputError, match=rf"defaults: trainer\.{key}: jobs have their own"):
        read_suite(path)
