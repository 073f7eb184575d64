"""May the config of a run directory that somebody else has made be loaded?

LightningCLI builds whatever a ``class_path`` names and writes wherever a path leads. A job of the shipped methods needs
much less: a method of this package with plain arguments, and plain settings of the trainer.
"""

from __future__ import annotations

import importlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmark.rundir.names import CONFIG, FOLDS, is_plain_name, method_folder
from leaderboard.errors import InputError

_SECTIONS = {"model", "data", "trainer", "suite", "predictions", "seed_everything", "requires", "needs"}
_MODEL = {"class_path", "init_args"}
_PREDICTIONS = {"folder", "submission", "probabilities"}
#: Where the class of a shipped method is defined, and where it is named more shortly.
_METHOD = re.compile(r"benchmark\.methods\.(?P<name>[a-z]\w*)(?:\.module)?\.(?P<kind>\w+)")
_METHODS = Path(__file__).parents[1] / "methods"
#: A method of this package that builds whatever its arguments name.
_BUILDER = re.compile(r"benchmark\.methods\.(Any|any_network(\.\w+)*)")
#: Sections of LightningCLI that a job has not; other unknown keys are not repeated, the file may be no config at all.
_LIGHTNING = {"optimizer", "lr_scheduler", "ckpt_path"}
#: W&B's own folder in a run directory: no command reads it, and it holds links that lead nowhere else.
_WANDB = "wandb"
#: Settings of the trainer that are numbers, words or switches and name no file.
TRAINER = {
    "accelerator", "strategy", "devices", "num_nodes", "precision", "max_epochs", "min_epochs", "max_steps", "max_time",
    "check_val_every_n_epoch", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches",
    "deterministic", "benchmark", "sync_batchnorm", "limit_train_batches", "limit_val_batches", "limit_predict_batches",
    "log_every_n_steps", "num_sanity_val_steps", "val_check_interval", "use_distributed_sampler", "inference_mode",
    "detect_anomaly", "overfit_batches", "enable_progress_bar", "enable_model_summary", "enable_checkpointing",
}  # fmt: skip
#: Settings of the trainer that are objects: code that the config's author chooses.
OBJECTS = ("callbacks", "logger", "plugins", "profiler")
#: How many links are named, and how much of a class path.
_MOST_NAMED = 5
_LONGEST = 100
#: Settings that LightningCLI first looks up as a file, whatever the word, and then builds what the file names.
_LOOKED_UP = ("accelerator", "strategy")


def received_config(run: Path, config: Mapping[str, Any], folder: Path) -> tuple[Path, dict[str, Any]]:
    """The config of a run directory that somebody else has made, reduced to what predicting needs.

    Strategy and accelerator are left to this machine (a job on a CPU stays there), and the cases are preprocessed again
    into this user's own cache. The folds are those in the suite's folder, whatever file the config names.

    Args:
        run: its run directory.
        config: the content of its ``config.yaml``.
        folder: an empty one, where the config is written.

    Returns:
        The written file, and its content.

    Raises:
        InputError: see `require_harmless`.
    """
    require_harmless(run, config)
    trainer = {name: value for name, value in config["trainer"].items() if name not in _LOOKED_UP}
    if config["trainer"].get("accelerator") == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    kept = {name: config[name] for name in ("seed_everything", "model", "suite") if name in config}
    data = {name: value for name, value in config["data"].items() if name != "cache"}
    if data.get("folds") is not None:
        data["folds"] = str(_suites_folds(run))
    kept |= {"trainer": trainer, "data": data}
    path = folder / CONFIG
    path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return path, kept


def require_plain_files(run: Path) -> None:
    """Refuse a run directory with links or special files, which would show or hash what lies elsewhere.

    Args:
        run: a run directory that somebody else has made; it may itself be a link.

    Raises:
        InputError: with the first few of them, by name.
    """
    root = run.resolve()
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        for path in (Path(folder) / name for name in (*folders, *files)):
            mode, name = path.lstat().st_mode, path.relative_to(root)
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                continue
            if stat.S_ISLNK(mode) and name.parts[0] == _WANDB and path.resolve().is_relative_to(root):
                continue
            found.append(name)
    if found:
        raise InputError(
            f"{run / name}: is a link or a special file, and not read: put the file itself there, or give --trust if "
            "you know who made it"
            for name in sorted(found)[:_MOST_NAMED]
        )


def _suites_folds(run: Path) -> Path:
    """The fold file of the suite that a run directory belongs to; it need not be there.

    Raises:
        InputError: it is a link.
    """
    path = method_folder(run.resolve()).parent / FOLDS
    if path.is_symlink():
        raise InputError(f"{path}: is a link, and not read: put the file itself there, or give --trust")
    return path


def require_harmless(run: Path, config: Mapping[str, Any]) -> None:
    """Refuse a config that has more than a job of this package's methods needs.

    Args:
        run: its run directory.
        config: the content of its ``config.yaml``.

    Raises:
        InputError: with every fault.
    """
    model = config.get("model")
    faults = _method_faults(str(model.get("class_path"))) if isinstance(model, Mapping) else []
    faults += [f"{name}: unknown section" for name in sorted(_LIGHTNING & config.keys())]
    if others := len(config.keys() - _SECTIONS - _LIGHTNING):
        faults.append(f"unknown sections: {others}")
    sections = {name: config.get(name) or {} for name in _SECTIONS - {"seed_everything", "needs"}}
    faults += [f"{name}: is not a mapping" for name, section in sections.items() if not isinstance(section, Mapping)]
    faults += [f"{name}: is missing" for name in ("model", "data", "trainer") if not config.get(name)]
    needs = config.get("needs") or []
    if not isinstance(needs, list) or not all(isinstance(name, str) for name in needs):
        faults.append("needs: is not a list of words")
    if not isinstance(config.get("seed_everything", 0), int):
        faults.append("seed_everything: is not a number")
    if not faults:
        model, trainer, predictions = (sections[name] for name in ("model", "trainer", "predictions"))
        faults += [f"model.{name}: unknown setting" for name in model if name not in _MODEL]
        faults += [f"model.init_args{where}: names a class" for where in _classes(model.get("init_args"), "")]
        faults += [f"trainer.{name}: is not a plain setting" for name in trainer if name not in TRAINER]
        faults += [f"predictions.{name}: unknown setting" for name in predictions if name not in _PREDICTIONS]
        for name in ("data", "trainer", "suite", "predictions", "requires"):
            faults += [f"{name}.{key}: is not a number, a word or a switch" for key in _structured(sections[name])]
        named = {
            "predictions.submission": predictions.get("submission"),
            "suite.method": sections["suite"].get("method"),
        }
        faults += [
            f"{place}: leads to another folder"
            for place, name in named.items()
            if name is not None and not is_plain_name(str(name))
        ]
    if faults:
        raise InputError(
            f"{run / CONFIG}: {fault}: give --trust if you know who made it and what it does" for fault in faults
        )


def _method_faults(class_path: str) -> list[str]:
    """What is wrong with a class path that must name a method that ships with this package."""
    if _BUILDER.fullmatch(class_path):
        return [f"model.class_path: {class_path} builds the network that its config names"]
    if not _is_shipped(class_path):
        return [f"model.class_path: {class_path[:_LONGEST]!r} is not a method of this package"]
    return []


def _is_shipped(class_path: str) -> bool:
    """Whether a class path names a class that a method's own module in this package defines, derived from `Method`.

    Nothing but such a module is imported.
    """
    found = _METHOD.fullmatch(class_path)
    if not found or not (_METHODS / found["name"] / "module.py").is_file():
        return False
    module = importlib.import_module(f"benchmark.methods.{found['name']}.module")
    kind = getattr(module, found["kind"], None)
    bases = {f"{base.__module__}.{base.__name__}" for base in kind.__mro__} if isinstance(kind, type) else set()
    return "benchmark.methods.base.Method" in bases and kind.__module__ == module.__name__


def _classes(value: Any, where: str) -> Iterator[str]:
    """The places in nested arguments that name a class."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in ("class_path", "init_args", "__path__"):
                yield f"{where}.{name}"
            yield from _classes(inner, f"{where}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _classes(inner, f"{where}[{place}]")


def _structured(section: Mapping[str, Any]) -> list[str]:
    return [name for name, value in section.items() if not isinstance(value, str | int | float | bool | None)]
