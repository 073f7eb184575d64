"""``benchmark fit`` and ``benchmark predict``: LightningCLI for one method, whose faults are told in one line."""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.methods.faults import exits_told
from benchmark.suite.config import lacking
from benchmark.suite.config_files import read_yaml
from benchmark.training.lightning_cli import SuiteCLI, trainer_defaults
from benchmark.training.loading import in_short, require_method
from leaderboard.errors import InputError


def main(arguments: list[str]) -> int:
    """Run ``fit`` or ``predict`` with LightningCLI's arguments.

    Raises:
        InputError: the arguments or the configs do not fit. What a method's code raises later passes, for a debugger.
    """
    for path in _configs(arguments):
        content = read_yaml(path)
        if missing := lacking(content):
            raise InputError(f"{path}: its method needs {', '.join(missing)}")
        require_method(path, content)
    shown = {"enable_progress_bar": True, "enable_model_summary": True}
    raising = {"exit_on_error": False}
    try:
        with exits_told():
            SuiteCLI(
                args=arguments,
                trainer_defaults=trainer_defaults() | shown,
                parser_kwargs={**raising, arguments[0]: raising},
            )
    except ArgumentError as error:
        fault = in_short(" ".join(str(error).split()))
        raise InputError(f"benchmark {arguments[0]}: {fault}: correct it (--help lists all arguments)") from None
    return 0


def _configs(arguments: Sequence[str]) -> Iterator[Path]:
    """The files that ``--config`` names."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in ("--config", "-c") and (given := value if equals else following):
            yield Path(given)
