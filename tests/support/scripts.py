"""Scripts of tools/, which is no package, as modules."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest


@contextmanager
def script(name: str) -> Iterator[ModuleType]:
    """The script of that name as a module; the test is skipped where there is no checkout."""
    path = Path(__file__).parents[2] / "tools" / f"{name}.py"
    if not path.is_file():
        pytest.skip("not a checkout: there is no tools/")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # processes find its functions by this name
    sys.path.insert(0, str(path.parent))  # as when it is run: it finds what it shares with others
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    yield module
    del sys.modules[name]
