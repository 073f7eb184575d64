from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmark.cli import main
from benchmark.commands.cost import _measure
from benchmark.commands.in_turn import in_turn
from benchmark.machine.precision import multiplies_bf16


def test_weights_and_multiplications_are_those_of_the_methods_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "costs.csv"
    arguments = ["--methods", "all_background,residual_unet", "--size", "64", "--set", "trainer.accelerator=cpu"]
    assert main(["cost", *arguments, "--set", "trainer.precision=32-true", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "8,114,914" in said
    assert re.match(
        r"measuring 2 methods, 4 times each\nall_background: \S+ s a case\nresidual_unet: \S+ s a case\n", said
    )
    table = pd.read_csv(out).set_index("method")
    assert table.loc["residual_unet", "parameters"] == 8_114_914
    # The README has 12.8 GMAC for a slice of 256 x 256; this case has eight of a sixteenth of the size.
    assert table.loc["residual_unet", "gmac"] == pytest.approx(8 * 12.8 / 16, rel=0.01)
    assert table.loc["all_background", ["parameters", "gmac", "network_seconds"]].tolist() == [0, 0, 0]
    assert table.loc["residual_unet", "network_seconds"] > 0
    assert table.loc["residual_unet", "case_seconds"] > 0  # how many is not for a test to say
    assert table.loc["all_background", "case_seconds"] > 0
    assert set(table["precision"]) == {"32-true"}
    assert (table["peak_memory_mb"] > 100).all()
    assert list(tmp_path.iterdir()) == [out]


def test_unknown_methods_and_missing_cohorts_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--methods", "no_such_method"]) == 1
    assert "unknown method" in capsys.readouterr().err
    assert main(["cost", "--methods", "all_background", "--cohort", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert main(["cost", "--methods", "all_background", "--size", "7"]) == 1
    assert "size" in capsys.readouterr().err


def test_a_table_of_costs_replaces_no_other_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cases.csv").write_text("method,case\n")
    assert main(["cost", "--methods", "all_background", "--out", str(tmp_path / "cases.csv")]) == 1
    assert f"{tmp_path / 'cases.csv'}: holds something else than this command writes" in capsys.readouterr().err
    assert (tmp_path / "cases.csv").read_text() == "method,case\n"


@pytest.mark.usefixtures("forked")
def test_a_setting_that_does_not_exist_is_named_without_the_temporary_file_that_held_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["cost", "--methods", "all_background", "--size", "32", "--set", "trainer.nosuch=3"]) == 1
    said = capsys.readouterr().err
    assert "nosuch" in said
    assert "config.yaml" not in said


@pytest.mark.usefixtures("forked")
def test_without_a_precision_it_is_what_the_machine_is_fast_in(tmp_path: Path) -> None:
    out = tmp_path / "costs.csv"
    assert main(["cost", "--methods", "all_background", "--size", "32", "--out", str(out)]) == 0
    assert pd.read_csv(out)["precision"].tolist() == ["bf16-mixed" if multiplies_bf16("auto") else "32-true"]


@pytest.mark.usefixtures("forked")
def test_a_method_that_cannot_be_measured_is_named_and_the_others_keep_their_rows(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "bad.py").write_text("""
import os
from benchmark.methods.base import Method

class Bad(Method):
    def __init__(self, dies: bool):
        super().__init__()
        self.dies = dies

    def configure_network(self, channels):
        if self.dies:
            os.kill(os.getpid(), 9)
        raise RuntimeError("no such network")
""")
    for name, dies in (("raises", "false"), ("dies", "true")):
        config = f"model: {{class_path: bad.Bad, init_args: {{dies: {dies}}}}}\ntrainer: {{accelerator: cpu}}\n"
        (project / "methods" / f"{name}.yaml").write_text(config)
    methods = "raises,all_background,dies,toy"
    arguments = ["--config", "suite.yaml", "--methods", methods, "--size", "32", "--out", "costs.csv"]
    assert main(["cost", *arguments]) == 1
    said = capfd.readouterr().err
    assert re.search(
        r"benchmark: raises: cannot be measured: bad.py:\d+, in configure_network: RuntimeError: no such", said
    )
    assert "benchmark: dies: cannot be measured: its process ended with -9\n" in said
    table = pd.read_csv("costs.csv").set_index("method")
    assert table.index.tolist() == ["all_background", "toy"]
    assert table["parameters"].tolist() == [0, 3 * 5 * 9 * 4 + 4 + 4 + 1]


def test_an_end_in_the_middle_leaves_neither_a_process_nor_a_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    measured = in_turn(_measure, {str(number): tmp_path / "no_config" for number in range(2000)})
    next(measured)  # the other process goes on, and sends one fault after the other
    measured.close()
    assert not multiprocessing.active_children()
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts a process's peak anew")
def test_a_method_is_not_charged_for_the_memory_of_the_one_before() -> None:
    work = """
from benchmark.machine.memory import keep_memory, peak_memory_mb, reset_peak_memory
keep_memory()
small = peak_memory_mb()
blocks = [bytearray(b"x") * 2**20 for _ in range(512)]
large = peak_memory_mb()
del blocks
reset_peak_memory()
print(small, large, peak_memory_mb())
"""
    run = subprocess.run([sys.executable, "-c", work], capture_output=True, check=True, text=True)
    small, large, after = map(int, run.stdout.split())
    assert large > small + 500
    assert after < small + 100
