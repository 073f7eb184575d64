"""From a job's config to trainer, method and data, with faults in plain words."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import pydoc
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from benchmark.machine.environment import without_slurm
from benchmark.methods.base import Method, RuleMethod
from benchmark.methods.contract import contract_faults
from benchmark.methods.faults import definition_of, exits_told, find_named, place_of, told
from benchmark.pipeline.datamodule import StrokeData
from benchmark.suite.config import lacking
from benchmark.suite.config_files import merge, read_yaml
from benchmark.training.lightning_cli import SuiteCLI, trainer_defaults
from leaderboard.errors import InputError, nearest

_REMEDY = "correct the method's or the suite's config, or what --set says"
#: Jobs may run elsewhere, so settings that depend on a machine's hardware are not checked here.
_ANYWHERE = (
    "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto",
    "--seed_everything=false",
)  # fmt: skip


def load(config: Path, trainer: dict[str, Any], *changes: str, named: Path | None = None) -> SuiteCLI:
    """Trainer, method and data of a config, with further arguments of the command line.

    Args:
        config: the file.
        trainer: arguments of the trainer beneath what the config says.
        changes: arguments of the command line.
        named: the file that messages name, where `config` is a copy of it.

    Raises:
        InputError: the config does not fit the classes that it names, or a requirement of the method is not installed.
    """
    content, place = read_yaml(config), named or config
    if missing := lacking(content):
        raise InputError(f"{place}: its method needs {', '.join(missing)}")
    require_method(place, content)
    # torch would fill new memory before an operation writes it; our operations read nothing before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return SuiteCLI(
                args=["--config", str(config), *changes], run=False, trainer_defaults=trainer_defaults() | trainer
            )
    except SystemExit:  # jsonargparse prints pages of usage, then the fault
        if not complaint.getvalue():  # raised by a signal
            raise
        fault = " ".join(complaint.getvalue().rpartition("error: ")[2].split())
        raise InputError(f"{place}: {in_short(fault) or 'is not a valid config'}: {_REMEDY}") from None
    except MisconfigurationException as error:
        raise InputError(f"{place}: trainer: {str(error).rstrip('.')}: {_REMEDY}") from None
    except ValueError as error:  # jsonargparse lists the types that it tried around the method's own error
        if isinstance(error.__cause__, InputError):
            raise InputError(f"{place}: {problem}" for problem in error.__cause__.problems) from None
        cause = error.__cause__ or error
        if own := next((each for each in _chain(error) if place_of(each)), None):
            raise InputError(f"{place}: {told(own)}") from None
        kind = "" if isinstance(cause, ValueError) else f"{type(cause).__name__}: "
        raise InputError(f"{place}: {kind}{cause}: {_REMEDY}") from None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The chain of exceptions that led to one, the earliest first."""
    if before := error.__cause__ or error.__context__:
        yield from _chain(before)
    yield error


def require_method(config: Path, content: Mapping[str, Any]) -> None:
    """Import the method that a config names here, where a fault can be explained better than the parser would.

    Raises:
        InputError: it cannot be imported, or is not a method.
    """
    model = content.get("model")
    class_path = model.get("class_path") if isinstance(model, Mapping) else None
    if not isinstance(class_path, str) or "." not in class_path:  # the parser will find the fault
        return
    try:
        found = find_named(class_path)
    except InputError as error:
        raise InputError(f"{config}: model.class_path: {problem}" for problem in error.problems) from None
    if not isinstance(found, type) or not issubclass(found, Method):
        raise InputError(
            f"{config}: model.class_path: {class_path} ({definition_of(found)}) is not a "
            "benchmark.methods.base.Method: derive it from that, or name a plain network as docs/own_method.md shows "
            "(benchmark.methods.Any)"
        )


def in_short(fault: str) -> str:
    """The parser's complaint in one line, without the list of types that it tried.

    ``Parser key "trainer.max_epochs": ... - Expected a <class 'int'> ... Given value: x`` gives
    ``trainer.max_epochs: Expected an int, not x``.
    """
    found = re.search(r'Parser key "([\w.]+)": .*Errors: - (.+) - Expected a <class \'NoneType\'>(.*)', fault)
    if found:
        value = found[3].rpartition("Given value: ")[2]
        fault = f"{found[1]}: {found[2]}" + (f", not {value}" if "class_path" not in value else "")
    elif found := re.search(r'Parser key "([\w.]+)": (Expected .+)\. Got value: (.*)', fault):
        fault = f"{found[1]}: {found[2]}, not {found[3]}"
    return _with_nearest(re.sub(r"<class '(\w+)'>", r"\1", fault).replace("Expected a int", "Expected an int"))


def _with_nearest(fault: str) -> str:
    """A fault, with the nearest known name added if it is about an unknown option."""
    if found := re.search(r"Group '(\w+)' does not accept option '(\w+)'", fault):
        owner: Any = {"trainer": pl.Trainer, "data": StrokeData}.get(found[1])
    elif found := re.search(r"class_path '([\w.]+)': Option '(\w+)' is not accepted", fault):
        owner = pydoc.locate(found[1])
    else:
        return fault
    close = nearest(found[2], inspect.signature(owner).parameters).strip() if callable(owner) else ""
    return f"{fault} ({close})" if close else fault


def require_training(cli: SuiteCLI) -> None:
    """Refuse zero epochs for methods that learn, and for all methods settings that cannot work.

    Raises:
        InputError: max_epochs or sync_batchnorm is at fault.
    """
    method, epochs = cli.model, cli.trainer.max_epochs
    if epochs is None or epochs < 0:
        raise InputError(f"trainer.max_epochs is {epochs}, schedules need to know the end: give at least 1")
    if epochs == 0 and (not isinstance(method, RuleMethod) or method.fitted):
        raise InputError("trainer.max_epochs is 0, the method would stay untrained: give at least 1")
    together = cli.trainer.world_size > 1 and cli.config["trainer"].get("sync_batchnorm")
    if together and cli.trainer.strategy.root_device.type == "cpu":
        raise InputError(
            "trainer.sync_batchnorm: CPUs cannot normalise over the batches of several processes: set trainer.devices "
            "to 1, or sync_batchnorm to false"
        )


def config_faults(config: Mapping[str, Any]) -> list[str]:
    """Faults in a method's config that would stop all of its jobs, found without a cohort; devices are not checked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        places = {"data": {"cohort": folder}, "predictions": {"folder": folder}}
        path.write_text(yaml.safe_dump(merge(config, places), sort_keys=False), encoding="utf-8")
        precision = ("--trainer.precision=32-true",) if "precision" in config.get("trainer", {}) else ()
        try:
            with exits_told():
                cli = load(path, {"logger": False, "default_root_dir": folder}, *_ANYWHERE, *precision)
                faults = contract_faults(cli.model)
                require_training(cli)
        except InputError as error:
            return [problem.removeprefix(f"{path}: ") for problem in error.problems]
        except Exception as error:  # a user's method may raise anything
            return [told(error) if place_of(error) else f"cannot be set up ({told(error)}): {_REMEDY}"]
    return faults


def check_configs(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """`config_faults` of several methods, each fault once.

    Args:
        configs: by name.

    Returns:
        Lines ``<names>: <fault>``.
    """
    names: dict[str, list[str]] = {}
    with _like_a_job():
        for name, config in configs.items():
            for fault in config_faults(config):
                names.setdefault(fault, []).append(name)
    return [f"{', '.join(faulty)}: {fault}" for fault, faulty in names.items()]


def blamed(fault: str, settings: Mapping[str, Any]) -> str:
    """A fault, whose remedy is to correct ``--set`` if it is about a setting that comes from there.

    Args:
        fault: one line.
        settings: of the command line.
    """
    named = next((key for key in _dotted(settings, "") if re.search(rf"\b{re.escape(key)}\b", fault)), None)
    if named is None:
        return fault
    return f"{re.sub(r': correct [^:]*$', '', fault)}: correct --set {named}"


def _dotted(settings: Mapping[str, Any], above: str) -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


@contextlib.contextmanager
def _like_a_job() -> Iterator[None]:
    """Hide SLURM's allocation from Lightning."""
    environment = dict(os.environ)
    for name in environment.keys() - without_slurm(environment).keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)


def use_threads(config: Mapping[str, Any]) -> None:
    """Compute in as many threads as the suite gives a job; without a setting, in one thread per core."""
    threads = (config.get("suite") or {}).get("threads")
    if isinstance(threads, int) and threads > 0:
        torch.set_num_threads(threads)


def quiet_lightning() -> None:
    """Silence Lightning's remarks, but not its warnings, where they would stand between lines meant for people."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
