"""Text between the markers of a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import script

from benchmark.suite.config_files import shipped_configs


def test_committed_readmes_stay_when_their_own_text_is_written_again_and_others_get_a_heading(tmp_path: Path) -> None:
    with script("method_results") as results:
        begin, end = results.MARKERS
        readme = shipped_configs().parent / "benchmark" / "methods" / "plain_unet" / "README.md"
        if not readme.is_file():
            pytest.skip("not a checkout")
        text, copy = readme.read_text(encoding="utf-8"), tmp_path / "README.md"
        copy.write_text(text, encoding="utf-8")
        results.fill(copy, text.partition(f"{begin}\n")[2].partition(f"\n{end}")[0])
        assert copy.read_text(encoding="utf-8") == text
        copy.write_text("# Mine\n\n", encoding="utf-8")
        results.fill(copy, "figures")
        assert copy.read_text(encoding="utf-8") == f"# Mine\n\n{results.HEADING}\n\n{begin}\nfigures\n{end}\n"
