"""The README's example of an own method, taken from the README and run as it says."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pytest
import yaml

from benchmark.cli import main
from benchmark.commands.sanity import check_method
from benchmark.suite.config_files import read_yaml, shipped_configs

README = Path(__file__).parents[3] / "README.md"


def files_of(text: str) -> dict[str, str]:
    """Content by path of the code blocks that begin with a comment naming a file."""
    blocks = re.findall(r"^```(?:python|yaml)\n(# (\S+\.(?:py|yaml)).*?)^```", text, re.MULTILINE | re.DOTALL)
    return {name: content for content, name in blocks}


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the README's method, whose files lie in the working directory beside a suite that names it."""
    files = files_of(README.read_text(encoding="utf-8"))
    assert sorted(Path(path).suffix for path in files) == [".py", ".yaml"]
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    (config,) = (Path(path) for path in files if path.endswith(".yaml"))
    assert config.parent == Path("methods")
    suite = read_yaml(shipped_configs() / "twin.yaml")
    suite["methods"].append(config.stem)
    (tmp_path / "my_suite.yaml").write_text(yaml.safe_dump(suite))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(tmp_path)
    return config.stem


def test_the_example_of_an_own_method_trains_and_comes_to_the_leaderboard(method: str, tree: Path) -> None:
    chosen = ["--methods", f"all_background,{method}", "--folds", "0", "--set", "trainer.max_epochs=1"]
    assert main(["run", "--config", "my_suite.yaml", "--cohort", str(tree), *chosen]) == 0
    with Path("runs/twin/leaderboard-fold0/leaderboard.csv").open() as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"all_background", method}
    own = read_yaml(Path("runs/twin") / method / "fold0" / "config.yaml")
    assert own["model"] == read_yaml(Path("methods") / f"{method}.yaml")["model"]


def test_the_example_of_an_own_method_is_sane(method: str, tree: Path) -> None:
    checks = check_method(method, suite="my_suite.yaml", cohort=tree, epochs=1)  # too few to learn two cases by heart
    assert [check.name for check in checks if check.passed] == [
        "gradient",
        "loss at initialisation",
        "evaluation repeats",
    ]
