"""What the methods' READMEs say of a run, from its tables and run directories."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from scripts import script

from benchmark.rundir.digests import write_provenance


@pytest.fixture(scope="module")
def results():
    with script("method_results") as module:
        yield module


def config(name: str, epochs: int, **settings: float) -> dict:
    return {
        "model": {"class_path": f"benchmark.methods.{name}.Net", "init_args": settings},
        "trainer": {"max_epochs": epochs},
        "data": {"batch_size": 4},
    }


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A finished suite of a network with an ablation row and a rule, and the tables about it."""
    suite = tmp_path / "runs" / "suite"
    for run, ablations, epochs in (("net/fold0", ["raw"], 5), ("net/fold1", ["raw"], 5), ("rule/fold0", [], 0)):
        (suite / run).mkdir(parents=True)
        (suite / run / "config.yaml").write_text(yaml.safe_dump(config(run.partition("/")[0], epochs, rate=0.1)))
        (suite / run / "metrics.csv").write_text("epoch,train/loss,val/dice\n0,0.9,\n1,0.7,0.4\n")
        write_provenance(suite / run, {"ablations": ablations})
    (tmp_path / "runs" / "methods").mkdir()
    (tmp_path / "runs" / "methods" / "net.yaml").write_text(yaml.safe_dump(config("net", 100, rate=0.2)))
    (suite / "leaderboard").mkdir()
    spent = {"method": ["net", "net", "rule"], "parameters": [9, 9, 0], "peak_memory_mb": [300, 400, 100]}
    pd.DataFrame(spent | {"seed": [0, 1, None]}).to_csv(suite / "leaderboard" / "costs.csv", index=False)
    rows = [("net", 1, 0.6), ("net_raw", 2, 0.5), ("perfusion_tfit", 3, 0.35), ("rule", 4, 0.3)]
    table = pd.DataFrame(rows, columns=["method", "rank", "dice_mean"]).assign(
        **{f"{metric}_mean": 0.25 for metric in ("precision", "recall")}, avd_ml_mean=9.0, trainings=[2, 2, 1, 1],
        **{f"{metric}_sd": 0.125 for metric in ("dice", "precision", "recall", "avd_ml")}, dice_seed_sd=0.02,
    )  # fmt: skip
    table.to_csv(suite / "leaderboard" / "leaderboard.csv", index=False)
    cost = {
        "method": "net", "parameters": 9, "gmac": 475.2, "network_seconds": 9.25, "case_seconds": 8.19,
        "peak_memory_mb": 2585, "slices": 8, "size": 256, "precision": "32-true", "device": "2 CPU cores",
    }  # fmt: skip
    pd.DataFrame([cost, cost | {"method": "rule", "parameters": 0}]).to_csv(tmp_path / "costs.csv", index=False)
    return suite


NET = """**Cost** of one case of 256 x 256 x 8 with the recipe of the real data, 2 CPU cores, 32-true \
(`benchmark cost --methods net`): 475 GMAC, 9.25 s for the network, 8.19 s from the case's files to its mask, 2585 MB \
at most.

**Result of net** (`make it`; not a twin):

| row | rank | Dice | precision | recall | AVD [mL] |
|---|---:|---:|---:|---:|---:|
| net | 1 of 4 | 0.60 (0.12) | 0.25 (0.12) | 0.25 (0.12) | 9.00 (0.12) |
| net_raw | 2 of 4 | 0.50 (0.12) | 0.25 (0.12) | 0.25 (0.12) | 9.00 (0.12) |

Its recipe here: 5 of the recipe's 100 epochs, rate 0.1 in place of 0.2; the rest is the method's own config. It was \
chosen on others. Its mean Dice is 0.25 above that of `perfusion_tfit`.

Means over 2 trainings on each fold. From one to the next, the mean Dice moves by 0.020 (standard deviation).

A training needed 400 MB at most.

![Loss and held-out Dice by epoch](../../../docs/methods/net.png)"""
RULE = """**Result of rule** (`make it`; a synthetic cohort, no ISLES result):

| row | rank | Dice | precision | recall | AVD [mL] |
|---|---:|---:|---:|---:|---:|
| rule | 4 of 4 | 0.30 (0.12) | 0.25 (0.12) | 0.25 (0.12) | 9.00 (0.12) |"""


def test_each_readme_says_what_its_method_cost_scored_and_how_it_was_trained(
    results, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    readmes = {name: tmp_path / "benchmark" / "methods" / name / "README.md" for name in ("net", "rule")}
    for readme in readmes.values():
        readme.parent.mkdir(parents=True)
        readme.write_text("# A method\n")
    arguments = ["--costs", str(tmp_path / "costs.csv"), "--command", "make it", "--chosen", "It was chosen on others."]
    assert results.main([str(suite), *arguments]) == 0
    begin, end = results.MARKERS
    assert readmes["net"].read_text() == f"# A method\n\n{results.HEADING}\n\n{begin}\n{NET}\n{end}\n"
    assert [path.name for path in (tmp_path / "docs" / "methods").iterdir()] == ["net.png"]
    (suite / "leaderboard" / "twin.json").write_text("{}")
    assert results.main([str(suite), *arguments]) == 0
    assert RULE in readmes["rule"].read_text()
    assert "no ISLES result" in readmes["net"].read_text()
