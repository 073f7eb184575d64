"""May the config of a run directory that somebody else has made be loaded?

LightningCLI builds whatever a ``class_path`` names and writes wherever a path leads. A job of the shipped methods needs
much less: a method of this package with plain arguments, and plain settings of the trainer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmark.rundir.names import CONFIG, is_plain_name
from leaderboard.errors import InputError

_SECTIONS = {"model", "data", "trainer", "suite", "predictions", "seed_everything", "requires", "needs"}
_MODEL = {"class_path", "init_args"}
_PREDICTIONS = {"folder", "submission"}
_METHOD = re.compile(r"benchmark\.methods(\.\w+)+")
#: A method of this package that builds whatever its arguments name.
_BUILDER = re.compile(r"benchmark\.methods\.(Any|any_network(\.\w+)*)")
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
#: Settings that LightningCLI first looks up as a file, whatever the word, and then builds what the file names.
_LOOKED_UP = ("accelerator", "strategy")


def received_config(run: Path, config: Mapping[str, Any], folder: Path) -> tuple[Path, dict[str, Any]]:
    """The config of a run directory that somebody else has made, reduced to what predicting needs.

    Strategy and accelerator are left to this machine (a job on a CPU stays there), and the cases are preprocessed again
    into this user's own cache.

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
    kept |= {"trainer": trainer, "data": {name: value for name, value in config["data"].items() if name != "cache"}}
    path = folder / CONFIG
    path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return path, kept


def require_harmless(run: Path, config: Mapping[str, Any]) -> None:
    """Refuse a config that has more than a job of this package's methods needs.

    Args:
        run: its run directory.
        config: the content of its ``config.yaml``.

    Raises:
        InputError: with every fault.
    """
    faults = [f"{name}: unknown section" for name in config if name not in _SECTIONS]
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
        class_path = str(model.get("class_path"))
        if not _METHOD.fullmatch(class_path):
            faults.append(f"model.class_path: {class_path} is not a method of this package")
        elif _BUILDER.fullmatch(class_path):
            faults.append(f"model.class_path: {class_path} builds the network that its config names")
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
