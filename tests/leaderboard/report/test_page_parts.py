"""Colours, sources, citation and the files beside the templates."""

import base64
import itertools
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from pages import page_of

from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import analyse
from leaderboard.report import citation, page_files, svg
from leaderboard.report.leaderboard_files import leaderboard_csv, leaderboard_latex
from leaderboard.report.published import read_quotes
from leaderboard.report.sources import number_sources

#: Protanopia, deuteranopia and tritanopia on linear RGB (Machado, Oliveira, Fernandes 2009, severity 1).
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def palette(theme):
    """Linear RGB of the methods' colours, shape (colours, 3), and of the paper."""
    text = page_files.read(f"{theme}.css")
    colours = dict(re.findall(r"--(m\d+|paper): #(\w{6})", text))
    assert len(colours) == svg.COLOURS + 1 == 21

    def linear(code):
        part = np.array([int(code[place : place + 2], 16) for place in (0, 2, 4)]) / 255
        return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)

    return np.array([linear(colours[f"m{number}"]) for number in range(svg.COLOURS)]), linear(colours["paper"])


def oklab(linear):
    """Ottosson's Oklab times 100: a difference of 2 is just noticeable."""
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
              [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
    return 100 * np.cbrt(np.clip(linear, 0, 1) @ np.array(to_cones).T) @ np.array(to_lab).T


def closest(colours):
    return min(np.linalg.norm(one - other) for one, other in itertools.combinations(colours, 2))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_twenty_methods_have_twenty_colours_that_differ(theme):
    assert closest(oklab(palette(theme)[0])) > 10


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", BLIND)
def test_the_first_eight_colours_differ_for_the_colour_blind(theme, kind):
    assert closest(oklab(palette(theme)[0][:8] @ np.array(BLIND[kind]).T)) > 10


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_stands_out_from_the_paper(theme):
    colours, paper = palette(theme)
    weights = np.array([0.2126, 0.7152, 0.0722])
    for colour in colours:
        low, high = sorted([float(colour @ weights), float(paper @ weights)])
        assert (high + 0.05) / (low + 0.05) > 3


def test_every_file_beside_the_templates_is_on_the_page():
    names = {item.name for item in resources.files("leaderboard.report").joinpath("templates").iterdir()}
    assert {name for name in names if name.endswith(".js")} == set(page_files.SCRIPTS)
    assert {name for name in names if name.endswith(".css")} == {*page_files.STYLES, "light.css", "dark.css"}


def test_sources_are_numbered_once_each_in_the_order_of_the_ranking():
    cells, sources = number_sources(read_quotes(["perfusion_t30", "strokenet", "perfusion_tfit"]))
    assert cells == {
        "perfusion_t30": [("OpenPerfusion: 0.29", 1), ("Hakim 2021: 0.3", 2)],
        "strokenet": [("Hu et al.: 0.52", 3)],
        "perfusion_tfit": [("Hakim 2021: 0.3", 2)],
    }
    assert [source.source.split()[0] for source in sources] == ["OpenPerfusion/OpenPerfusion", "A.", "X."]
    ((figures, methods),) = sources[1].figures
    assert methods == ("perfusion_t30", "perfusion_tfit")
    assert figures.startswith("Dice 0.3, AVD 15.3 mL")


def test_the_citation_has_the_facts_of_the_citation_file():
    facts = (Path(__file__).parents[3] / "CITATION.cff").read_text()
    assert f"\ntitle: {citation.TITLE}\n" in facts
    assert f"\nmessage: {citation.MESSAGE}\n" in facts
    assert re.findall(r"- name: (.*)", facts) == list(citation.AUTHORS)


def test_the_citation_has_the_commit_only_where_it_is_given():
    assert "note = {commit 1f2e3d}" in citation.citation({"commit": "1f2e3d"}).bibtex
    assert "commit" not in citation.citation({"numpy": "2.0"}).bibtex
    assert citation.citation({"commit": "}\\input{x}"}).bibtex.count("}") == citation.citation(
        {"commit": "x"}
    ).bibtex.count("}")


def test_what_is_saved_without_a_script_is_what_rank_writes(build, tmp_path):
    cases = build({"strokenet": [{"dice": 0.6}, {}], "b": [{}, {}]})
    page = page_of(cases, tmp_path, resamples=20, notes={"commit": "abc"}).read_text()
    table = analyse(cases, RankingOptions(resamples=20)).table
    saved = dict(re.findall(r'<a download="([^"]*)" href="data:[^,]*;base64,([^"]*)"', page))
    texts = {name: base64.b64decode(code).decode() for name, code in saved.items()}
    assert texts == {
        "leaderboard.csv": leaderboard_csv(table),
        "leaderboard.tex": leaderboard_latex(table),
        "isles-benchmark.bib": citation.citation({"commit": "abc"}).bibtex,
    }
    assert "<dt>commit</dt><dd>abc</dd>" in page


def calibration(page):
    """The section's methods, each with its cells as text; none without the section."""
    parts = page.split('<section id="calibration"')
    assert (len(parts) == 2) == ('<a href="#calibration">' in page)
    rows = (
        re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', parts[1].split("</section>")[0], re.DOTALL)
        if parts[1:]
        else []
    )
    return {re.sub("<wbr>", "", name): re.findall(r'data-v="[^"]*">([^<]*)', cells) for name, cells in rows}


def test_calibration_has_the_means_of_the_methods_whose_cases_have_maps(build, tmp_path):
    values = [(0.5, 0.4, 0.01, 0.002), (0.7, np.nan, 0.02, 0.004)]
    names = ("pr_auc", "average_precision", "brier", "calibration_error")
    mapped = [dict(zip(names, row, strict=True)) for row in values]
    cases = build({"net": mapped, "half": [mapped[0], {}], "rule": [{}, {}]})
    page = page_of(cases, tmp_path, resamples=20).read_text()
    assert calibration(page) == {"net": ["2", "0.6000", "0.4000", "0.0150", "0.0030"]}


def test_a_page_without_maps_has_no_calibration(build, tmp_path):
    assert calibration(page_of(build({"a": [{}, {}]}), tmp_path, resamples=20).read_text()) == {}
    empty = build({"a": [{"brier": np.nan}, {}]})
    assert calibration(page_of(empty, tmp_path, resamples=20).read_text()) == {}
