"""One case across all methods, and the heat map of all cases, compared with the masks and the table."""

import re

import numpy as np
import pandas as pd
import pytest
from pages import page_of

from leaderboard.cohort.formats import read_cohort
from leaderboard.io.images import read_volume, write_mask
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import analyse
from leaderboard.report import gallery
from leaderboard.report.content import Content
from leaderboard.report.gallery import choose_cases
from leaderboard.report.heat_map import STEPS, heat_maps
from leaderboard.report.pictures import take_pictures
from leaderboard.report.slices import outline
from leaderboard.scoring.folder import score_cases


def content_of(cases):
    return Content(analyse(cases, RankingOptions(resamples=0)))


@pytest.fixture
def cohort(isles_tree):
    return read_cohort(isles_tree(range(1, 4)))


@pytest.fixture
def masks(cohort, tmp_path):
    """Two methods: one predicts every reference exactly, the other a voxel beside each, and nothing in case 3."""
    for case in cohort.cases:
        volume = read_volume(case.reference)
        whole = volume.data > 0
        beside = np.zeros_like(whole)
        beside[0, 0, int(np.argmax(whole.sum(axis=(0, 1))))] = True
        for method, mask in (("whole", whole), ("beside", beside)):
            if (method, case.number) != ("beside", 3):
                (tmp_path / method).mkdir(exist_ok=True)
                write_mask(tmp_path / method / f"{case.name}.nii.gz", mask, volume.header)
    return {method: tmp_path / method for method in ("whole", "beside")}


@pytest.fixture
def scored(cohort, masks):
    return pd.concat([score_cases(cohort.cases, folder, name, lenient=True) for name, folder in masks.items()])


def test_cases_are_spread_evenly_from_the_easiest_to_the_hardest(build):
    dice = [0.05, 0.95, 0.15, 0.85, 0.25, 0.75, 0.35, 0.65, 0.45, 0.55, 0.5]
    cases = build({"a": [{"dice": value} for value in dice], "b": [{"dice": value} for value in dice]})
    chosen = choose_cases(content_of(cases))
    assert [dice[int(case.removeprefix("case_")) - 1] for case in chosen] == [0.95, 0.75, 0.55, 0.45, 0.25, 0.05]


def test_difficulty_is_the_mean_over_the_methods(build):
    cases = build({"a": [{"dice": 0.9}, {"dice": 0.5}], "b": [{"dice": 0.1}, {"dice": 0.6}]})
    assert choose_cases(content_of(cases)) == ["case_2", "case_1"]


def test_every_method_stands_on_the_same_slice_with_its_own_outline(scored, cohort, masks):
    views = take_pictures(content_of(scored), cohort, masks).views
    assert {view.case for view in views} == {"case_1", "case_2", "case_3"}
    for view in views:
        case = next(case for case in cohort.cases if case.name == view.case)
        reference = read_volume(case.reference).data > 0
        number = int(np.argmax(reference.sum(axis=(0, 1))))
        assert view.slice == (number + 1, reference.shape[2])
        assert [tile.method for tile in view.tiles] == ["whole", "beside"]
        lines = [re.findall(r'class="prediction" [^>]*d="([^"]*)"', tile.image) for tile in view.tiles]
        assert f'd="{lines[0][0]}"' in view.image  # the whole reference is predicted
        assert len(lines[1]) == (view.case != "case_3")
        assert len(outline(reference[..., number])) == len(lines[0][0])


def test_an_image_and_its_reference_are_there_once_for_all_methods(scored, cohort, masks, tmp_path):
    page = page_of(scored, tmp_path / "page", images=cohort, predictions=masks, resamples=0).read_text()
    shown = page[page.index('<section id="pictures"') : page.index("<summary>Best, median")]
    assert shown.count("data:image/jpeg") == shown.count('class="reference"') == 3
    uses = re.findall(r'<use href="#(\w+)"/>', shown)
    assert len(uses) == 2 * 2 * 3  # image and reference, two methods, three cases
    assert all(shown.count(f'id="{name}"') == 1 for name in uses)
    assert shown.count("no prediction") == 1


def test_views_that_would_burst_the_page_are_left_out(scored, cohort, masks, monkeypatch):
    monkeypatch.setattr(gallery, "BUDGET_BYTES", 10)
    assert len(take_pictures(content_of(scored), cohort, masks).views) == 1


def colours(drawing, place):
    """Colour of each cell of the row of a method, read back from the figure."""
    row = re.search(rf'<g data-m="{place}">.*?fill="none"[^>]*>(.*?)</g></g>', drawing)[1]
    cells = {}
    for lines, colour in re.findall(r'<path d="(.*?)" stroke="(.*?)"', row):
        for first, length in re.findall(r"M(\d+) 0h(\d+)", lines):
            cells |= {int(first) + k: colour for k in range(int(length))}
    return [cells[k] for k in range(len(cells))]


@pytest.fixture
def measured(build):
    sizes = [30.0, 3.0, 90.0, 10.0]
    dice = {"a": [0.95, 0.05, 1.0, 0.55], "b": [0.45, 0.15, None, 0.0]}
    return build(
        {
            method: [
                {"reference_ml": size} | ({"status": "missing"} if value is None else {"dice": value})
                for size, value in zip(sizes, values, strict=True)
            ]
            for method, values in dice.items()
        }
    )


def test_the_heat_map_has_the_dice_of_each_case_by_lesion_volume(measured):
    by_volume = heat_maps(content_of(measured))[0]
    for drawing in (by_volume.drawing.wide, by_volume.drawing.narrow):
        assert colours(drawing, 0) == [STEPS[0], STEPS[5], STEPS[9], STEPS[9]]  # 3, 10, 30, 90 mL: 0.05 0.55 0.95 1
        assert colours(drawing, 1) == [STEPS[1], STEPS[0], STEPS[4], "var(--muted)"]  # 0.15 0 0.45 missing


def test_the_heat_map_goes_from_the_hardest_to_the_easiest(measured):
    names = re.findall(r"rotate\(-90\)\">(\w+)</text>", heat_maps(content_of(measured))[1].drawing.wide)
    assert names == ["case_2", "case_4", "case_3", "case_1"]  # means 0.1, 0.275, 0.5, 0.7


def test_hostile_names_are_text_in_the_heat_map(build):
    cases = build({"<script>": [{}, {}]}).assign(case=["<b>", "&"])
    for found in heat_maps(content_of(cases)):
        assert "<script>" not in found.drawing.wide + found.drawing.narrow
        assert "<b>" not in found.drawing.wide
