"""A method whose package is not installed, in the commands that look at single methods."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmark.cli import main
from benchmark.suite.config_files import read_yaml, shipped_configs


def test_a_method_whose_package_is_missing_is_refused_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_yaml(shipped_configs() / "methods" / "residual_unet.yaml")
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "needy.yaml").write_text(
        yaml.safe_dump(config | {"requires": {"no_such": "pip install it"}})
    )
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"name": "s", "methods": ["all_background", "needy"]}))
    monkeypatch.chdir(tmp_path)
    for command in (["cost", "--methods", "needy"], ["sanity", "needy"]):
        command += ["--config", "suite.yaml"]
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "pip install it" in said
        assert "Traceback" not in said
    # Of a whole suite, what can be measured is.
    assert main(["cost", "--config", "suite.yaml", "--size", "32"]) == 0
    said = capsys.readouterr()
    assert "needy is left out, it needs no_such (pip install it)" in said.err
    assert "all_background" in said.out
