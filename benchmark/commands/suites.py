"""A suite by the name that a command was given, and its run directories."""

from __future__ import annotations

from benchmark.launchers import LAUNCHERS
from benchmark.suite.config import SuiteConfig, read_suite
from benchmark.suite.config_files import find_config


def open_suite(name: str) -> SuiteConfig:
    """A suite's config, by path or by the name of a shipped one; it may have a section for each launcher.

    Raises:
        InputError: there is none, or with every fault of the file.
    """
    return read_suite(find_config(name), LAUNCHERS)
