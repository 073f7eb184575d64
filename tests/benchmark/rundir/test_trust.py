"""Run folders from strangers: what their configs may name, and what they may not."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.cli import main
from benchmark.rundir.digests import damaged_results, file_digest, write_provenance
from benchmark.rundir.locks import hold
from benchmark.rundir.trust import received_config, require_harmless
from benchmark.suite.config import lacking, method_config, read_suite
from benchmark.suite.config_files import find_config, merge
from benchmark.training.loading import load
from leaderboard.errors import InputError

SHIPPED = ("residual_unet", "strokenet", "perfusion_tfit", "ms_dcnn", "plain_unet", "fcn3d_crf", "multiscale_resnet")


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


@pytest.mark.parametrize("command", [["verify"], ["predict-cohort", "--cohort", ".", "--out", "out", "--run"]])
def test_commands_refuse_before_they_import_what_a_run_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    import torch

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
    assert "last.ckpt is missing or damaged" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["/dev/zero", "../outside", "pipe", "absolute"])
def test_digests_are_taken_of_files_of_the_run_alone(tmp_path: Path, name: str) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    outside.write_text("a sound file, with its right digest")
    os.mkfifo(run / "pipe")
    name = str(outside) if name == "absolute" else name
    write_provenance(run, {"outputs": {name: file_digest(outside)}})
    assert damaged_results(run) == [name]


@pytest.mark.parametrize("key", ["callbacks", "logger", "plugins", "profiler"])
def test_a_suite_names_no_objects_of_the_trainer(tmp_path: Path, key: str) -> None:
    path = tmp_path / "suite.yaml"
    trainer = {key: [{"class_path": "pytorch_lightning.callbacks.LambdaCallback"}]}
    path.write_text(json.dumps({"methods": ["residual_unet"], "defaults": {"trainer": trainer}}))
    with pytest.raises(InputError, match=rf"defaults: trainer\.{key}: jobs have their own"):
        read_suite(path)
