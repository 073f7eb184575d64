"""What the measurements share: one table of the figures at the end of the run, and the same as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

#: Name, figure, target ("" where there is none), in the order of measuring.
Row = tuple[str, float, str]
_rows: list[Row] = []
#: Beside pytest-benchmark's own ``bench.json``.
RATIOS = Path(".benchmarks") / "ratios.json"


@pytest.fixture
def figure() -> Callable[[str, float, str], None]:
    """``figure(name, value, target)`` puts a row into the table."""

    def note(name: str, value: float, target: str = "") -> None:
        _rows.append((name, value, target))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table; write it as JSON."""
    if not _rows:
        return
    import torch

    capabilities = torch.cpu.get_capabilities()
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "bfloat16": bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    width = max(len(name) for name, _, _ in _rows)
    terminalreporter.section(f"figures ({machine})")
    for name, value, target in _rows:
        terminalreporter.write_line(f"{name:<{width}}  {value:>10.3f}  {target}")
    RATIOS.parent.mkdir(exist_ok=True)
    rows = [{"name": name, "value": value, "target": target} for name, value, target in _rows]
    RATIOS.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1) + "\n")
    terminalreporter.write_line(f"written to {RATIOS}")
