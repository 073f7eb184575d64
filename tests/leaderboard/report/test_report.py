"""The page, as text; how it behaves in a browser is tested in test_report_browser.py."""

import hashlib
import itertools
import json
import re
import subprocess
import sys
import warnings
from html import unescape
from html.parser import HTMLParser

import matplotlib.path
import numpy as np
import pandas as pd
import pytest
from pages import page_of

from leaderboard.cases import read_cases, write_cases
from leaderboard.cli import main
from leaderboard.cohort.folds import folds_digest
from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError
from leaderboard.io.images import read_volume, write_mask
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import analyse
from leaderboard.report import SYNTHETIC, svg
from leaderboard.report.content import FIGURE_METHODS, Content
from leaderboard.report.examples import exemplary
from leaderboard.report.making import report
from leaderboard.report.page_ranking import significance_cells
from leaderboard.report.page_tables import Cell, metric_cells, number
from leaderboard.report.page_trainings import chance_cells
from leaderboard.report.published import read_published
from leaderboard.report.scatter import volume_agreement
from leaderboard.report.section import Numbers, Section
from leaderboard.report.slices import best_slice, outline
from leaderboard.report.svg import method_colour, method_mark, shorten
from leaderboard.scoring.folder import score_cases

HOSTILE = "<script>alert(1)</script> & \"x\" 'y' {{ 7 * 7 }} $a_b$ 1.23456"


@pytest.fixture
def cases(build):
    """Three methods, twelve cases; one case missing, one prediction empty."""
    nan = float("nan")
    empty = {"status": "empty_prediction", "hausdorff_mm": nan, "precision": nan, "recall": 0.0, "predicted_ml": 0.0,
             "hd95_mm": nan, "assd_mm": nan}  # fmt: skip
    return build(
        {
            "alpha": [{"dice": 0.5 + k / 30, "fold": k % 2} for k in range(12)],
            "beta": [
                *({"dice": 0.123456 + k / 30, "fold": k % 2} for k in range(11)),
                {"status": "missing", "fold": 1},
            ],
            "gamma": [*({"dice": 0.3 + k / 30, "fold": k % 2} for k in range(11)), {"dice": 0.0, "fold": 1, **empty}],
        }
    )


@pytest.fixture
def undrawn(monkeypatch):
    """The page's figures are empty: drawing them takes most of its time."""
    monkeypatch.setattr(svg, "draw", lambda *_: '<svg role="img"></svg>')


#: Of tests that ask for the words of a page of their own.
of_words = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def written():
    """Writes the page, which takes a second, once for all tests of this file."""
    return {}


@pytest.fixture
def page(cases, tmp_path, written):
    if not written:
        written["page"] = page_of(cases, tmp_path / "page", resamples=200).read_text()
    return written["page"]


class Page(HTMLParser):
    """Tables as lists of rows of texts, and every element seen."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.elements, self.ids, self._cell = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True
        elif tag in ("tbody", "section"):
            self._cell = None

    def handle_endtag(self, tag):
        if tag in ("tr", "table", "thead"):
            self._cell = None

    def handle_data(self, data):
        if self._cell and self.tables:
            self.tables[-1][-1][-1] += data.strip("\n")

    def table(self, *titles):
        """The table whose head holds these columns."""
        return next(table for table in self.tables if set(titles) <= set(table[0]))


def test_page_is_self_contained(page):
    assert "http://" not in page
    assert "https://" not in page
    for tag, attributes in Page(page).elements:
        assert tag not in ("iframe", "object", "embed", "base")
        assert not {"src", "srcset", "action", "onclick", "onload"} & set(attributes)
        if "href" in attributes:
            assert attributes["href"].startswith(("#", "data:"))
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!#)", page)


def test_same_input_same_bytes_in_any_row_order(cases, tmp_path):
    first = page_of(cases, tmp_path / "a", resamples=100).read_bytes()
    second = page_of(cases.sample(frac=1, random_state=1), tmp_path / "b", resamples=100).read_bytes()
    assert first == second


def test_page_names_no_folder_of_this_machine(page, tmp_path):
    assert str(tmp_path.parent.parent) not in page


def test_every_case_of_every_method_stands_under_its_heading_with_its_values(cases, page):
    head, *rows = Page(page).table("Case", "Status")
    head = [text.removesuffix("↕").strip() for text in head]
    assert len(rows) == len(cases) == 36
    found = {(row[0], row[1]): dict(zip(head, row, strict=True)) for row in rows}
    for case in cases.to_dict("records"):
        row = found[case["method"], case["case"]]
        assert row["Dice"] == ("–" if np.isnan(case["dice"]) else f"{case['dice']:.3f}")
        assert row["Hausdorff [mm]"] == ("–" if np.isnan(case["hausdorff_mm"]) else f"{case['hausdorff_mm']:.2f}")
        assert row["Precision"] == ("–" if np.isnan(case["precision"]) else f"{case['precision']:.3f}")
        assert row["Reference [mL]"] == f"{case['reference_ml']:.2f}"
        assert row["Patient"] == case["patient"]
        assert row["Fold"] == str(case["fold"])
        assert row["Status"] == {"ok": "scored"}.get(case["status"], case["status"].replace("_", " "))


def test_ranking_shows_what_the_leaderboard_holds(cases, page):
    table = analyse(cases, RankingOptions(resamples=200)).table
    head, *rows = Page(page).table("Rank", "Tie group")
    for row, expected in zip(rows, table.to_dict("records"), strict=True):
        shown = dict(zip(head, row, strict=True))
        assert shown["Rank"] == str(expected["rank"])
        assert shown["Method"] == expected["method"]
        low, high = expected["rank_low"], expected["rank_high"]
        assert shown["95 % set of ranks"] == (str(low) if low == high else f"{low}–{high}")
        assert shown["Tie group"] == expected["tie_group"]
        dice = next(value for title, value in shown.items() if title.startswith("Dice"))
        interval = f"{expected['dice_ci_low']:.2f} to {expected['dice_ci_high']:.2f}"
        assert dice == f"{expected['dice_mean']:.2f}({expected['dice_sd']:.2f}){interval}"
        first = next(value for title, value in shown.items() if title.startswith("First"))
        assert first == f"{100 * expected['first_share']:.1f} %"
    assert [row[-1] for row in rows] == [str(value) for value in table["missing"]]


def test_significance_matrix_marks_who_wins(cases, page):
    analysis = analyse(cases, RankingOptions(resamples=200))
    chances, matrix = (table[1:] for table in Page(page).tables if table[0][0] == "" and len(table[0]) == 4)
    assert chances[0][1:3] == ["–", "1.00 meaningful"]
    wins = [["significant" in cell for cell in row[1:]] for row in matrix]
    assert wins == (analysis.significance < 0.05).tolist()
    assert any(map(any, wins))


@pytest.fixture
def seeded(cases, build):
    """The three methods, of which alpha and beta were trained with the seeds 4 and 7."""
    again = [
        rows.assign(seed=seed, dice=rows["dice"] * scale)
        for name, rows in cases[cases["method"] != "gamma"].groupby("method")
        for seed, scale in ((4, 1.0), (7, 0.9 if name == "alpha" else 1.1))
    ]
    return pd.concat([*again, cases[cases["method"] == "gamma"].assign(seed=pd.NA)])


def test_trainings_have_a_section_and_methods_without_several_are_named(seeded, page, tmp_path):
    text = page_of(seeded, tmp_path, resamples=50).read_text()
    assert 'id="trainings"' in text
    assert 'id="trainings"' not in page
    assert "those of gamma, where trained, are conditional on these trained networks" in text
    assert "For methods that were trained, scores, ranks and sets are conditional on these trained networks" in page
    head, *rows = Page(text).table("Trainings’ shareof the mean")
    assert [row[:2] for row in rows] == [["alpha", "2"], ["beta", "2"]]
    means = [np.mean([scale * (0.5 + k / 30) for k in range(12)]) for scale in (1.0, 0.9)]
    assert rows[0][2] == f"{np.std(means, ddof=1):.4f}"
    head, *rows = Page(text).table("Seed 4")
    assert head == ["Method", "Allmeans over seeds", "Seed 4", "Seed 7"]
    assert {row[0]: row[1:] for row in rows} == {"alpha": ["1"] * 3, "gamma": ["2"] * 3, "beta": ["3"] * 3}


@of_words
def test_tables_of_cases_show_means_over_trainings(seeded, tmp_path):
    text = page_of(seeded, tmp_path, resamples=20).read_text()
    head, *rows = Page(text).table("Case", "Status")
    first = next(row for row in rows if row[:2] == ["alpha", "case_1"])
    assert first[head.index("Dice")] == "0.475"
    assert len(rows) == 36


@of_words
def test_results_of_several_trainings_are_those_of_the_table_of_cases(seeded, tmp_path, capsys):
    table = tmp_path / "cases.csv"
    write_cases(table, seeded)
    few = ["--resamples", "20"]
    assert main(["rank", str(table), *few, "--out", str(tmp_path / "leaderboard.csv")]) == 0
    ranked = (tmp_path / "results.json").read_bytes()
    assert main(["report", str(table), *few, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "results.json").read_bytes() == ranked
    found = json.loads(ranked)
    assert found["seeds"] == [4, 7]
    assert found["digests"]["cases.csv"] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert main(["verify", str(tmp_path)]) == 0


def test_a_page_without_its_results_is_not_written(build, tmp_path, monkeypatch):
    def fails(path, text):
        if "results" in path.name:
            raise InputError(f"{path}: cannot be written")
        path.write_text(text)

    monkeypatch.setattr("leaderboard.report.leaderboard_files.write_text", fails)
    with pytest.raises(InputError, match=r"results\.json: cannot be written"):
        report(build({"a": [{}, {}]}), tmp_path, RankingOptions(resamples=0))
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".html", ".json", ".new")]


def test_missing_is_listed(page):
    _, *rows = Page(page).table("Cases without a prediction")
    assert rows == [["gamma", "1", "0", "0", "0", "–"], ["beta", "0", "0", "0", "1", "case_12"]]


def test_sections_that_would_be_empty_are_neither_shown_nor_linked(build, page, tmp_path):
    text = page_of(build({"a": [{}, {}], "b": [{}, {}]}), tmp_path, resamples=0).read_text()
    alone = page_of(build({"a": [{}, {}]}), tmp_path, resamples=20).read_text()

    def sections(text):
        elements = Page(text).elements
        shown = [attributes["id"] for tag, attributes in elements if tag == "section"]
        assert re.findall(r'<li><a href="#(.*?)">', text) == shown
        return shown

    everywhere = ["ranking", "metrics", "volumes", "heatmap", "cases", "about"]
    assert sections(text) == ["ranking", "metrics", "significance", "schemes", "volumes", "heatmap", "cases", "about"]
    assert [name for name in sections(alone) if name != "stability"] == everywhere
    assert "missing" in sections(page)
    assert "Not pictured" not in page


def test_hostile_names_are_text(build, tmp_path):
    cases = build({HOSTILE: [{}, {"dice": 0.2}], "b" * 300: [{}, {}]})
    cases["patient"] = "<b>p</b>"
    page = page_of(cases, tmp_path, heading=HOSTILE, notes={"<i>": "<img src=x>"}, resamples=50).read_text()
    assert page.count("<script>") == 1
    assert "<img" not in page
    assert "<b>p</b>" not in page
    assert HOSTILE in unescape(page)
    assert "1.23456" in page  # figures do not round what stands in a name


def test_figures_and_tables_speak(page):
    parsed = Page(page)
    graphics = [attributes for tag, attributes in parsed.elements if tag == "svg"]
    assert len(graphics) >= 16
    assert all(graphic["role"] == "img" and len(graphic["aria-label"]) > 40 for graphic in graphics)
    assert page.count("<caption") == len(parsed.tables) == page.count("<table")
    assert all("scope" in attributes for tag, attributes in parsed.elements if tag == "th")
    assert len(parsed.ids) == len(set(parsed.ids))
    assert ("html", {"lang": "en", "class": "noscript"}) in parsed.elements


def test_headings_never_skip_a_level(page):
    levels = [int(tag[1]) for tag, _ in Page(page).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(deeper <= level + 1 for level, deeper in itertools.pairwise(levels))


def test_everything_of_a_method_carries_its_place_in_the_ranking(cases, page):
    ranked = list(analyse(cases, RankingOptions(resamples=200)).table["method"])
    for method, place in re.findall(r'<tr data-m="(\d+)"><th scope="row">(?:\d&ensp;|\d\u2002)?(\w+)</th>', page):
        assert ranked[int(method)] == place
    drawn = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert len(drawn) == 8  # stability, metrics, further metrics, schemes, two of volumes, two heat maps
    assert all({f'data-m="{place}"' in figure for place in range(3)} == {True} for figure in drawn)


def test_a_banner_stands_at_the_top_as_text_and_only_where_it_is_given(cases, page, tmp_path):
    assert 'class="banner"' not in page
    text = page_of(cases, tmp_path, resamples=0, banner="<b>Mind</b> this").read_text()
    assert '<p class="banner" role="note">&lt;b&gt;Mind&lt;/b&gt; this</p>' in text


@of_words
def test_notes_stand_in_their_order(cases, tmp_path):
    page = page_of(cases, tmp_path, resamples=0, notes={"zeta": "1", "alpha version": "2"}).read_text()
    assert page.index("<dt>zeta</dt><dd>1</dd>") < page.index("<dt>alpha version</dt><dd>2</dd>")


def test_a_section_has_a_link_its_text_and_of_its_columns_those_that_are_there(cases, page, tmp_path):
    columns = {"weights": Numbers("Weights"), "absent": Numbers("Absent"), "seconds": Numbers("Time", "s a case", 2)}
    table = pd.DataFrame({"method": ["alpha"], "seconds": [0.801], "weights": [8_114_914], "more": [1]})
    section = Section("Effort", "Measured on <this> machine.", "Per method.", columns, table)
    text = page_of(cases, tmp_path, resamples=0, sections=[section]).read_text()
    assert Page(text).table("Weights") == [["Method", "Weights", "Times a case"], ["alpha", "8,114,914", "0.80"]]
    assert '<a href="#effort">Effort</a>' in text
    assert "<p>Measured on &lt;this&gt; machine.</p>" in text
    assert 'id="effort"' not in page


def test_the_page_names_every_pair_of_methods_that_is_told_apart_and_no_other(build, tmp_path):
    rng = np.random.default_rng(3)
    means = {"good": 0.8, "middling_1": 0.55, "middling_2": 0.54, "bad": 0.2}
    cases = build({name: [{"dice": mean + step} for step in rng.normal(0, 0.05, 30)] for name, mean in means.items()})
    text = re.sub(r"<wbr>|</?b>", "", page_of(cases, tmp_path, resamples=500).read_text())
    found = re.findall(r">(\w+) is better than ([\w, ]+)\.<", text)
    separated = analyse(cases, RankingOptions(resamples=500)).uncertainty.separated
    methods = ["good", "middling_1", "middling_2", "bad"]
    pairs = {(methods[a], methods[b]) for a, b in np.argwhere(separated)}
    assert {(better, other) for better, others in found for other in others.split(", ")} == pairs
    assert ("good", "bad") in pairs
    assert ("middling_1", "middling_2") not in pairs


def test_the_page_says_so_where_no_two_methods_are_told_apart(build, tmp_path):
    values = np.random.default_rng(4).random(30)
    cases = build({name: [{"dice": value} for value in values] for name in "ab"})
    assert '<p class="note">No two.</p>' in page_of(cases, tmp_path, resamples=500).read_text()


@pytest.mark.parametrize(("methods", "shown"), [(1, 1), (60, 60), (61, 60)])
def test_figures_show_sixty_methods_at_most(build, methods, shown):
    cases = build({f"method_{k:02d}": [{"dice": (k + c) / 99} for c in range(3)] for k in range(methods)})
    assert len(Content(analyse(cases, RankingOptions(resamples=0))).shown) == shown


def test_a_page_of_one_method(build, tmp_path):
    page = page_of(build({"alone": [{"dice": c / 3} for c in range(3)]}), tmp_path, resamples=20)
    assert len(Page(page.read_text()).table("Rank", "Tie group")) == 2


def test_everything_undefined_makes_a_page(build, tmp_path):
    cases = build({"a": [{"status": "missing"}] * 2, "b": [{"status": "missing"}] * 2})
    assert page_of(cases, tmp_path, resamples=20).is_file()


def test_a_large_challenge_stays_below_ten_megabytes(build, tmp_path):
    rng = np.random.default_rng(0)
    cases = build({f"submission_with_a_long_name_{k:03d}": [{"dice": d} for d in rng.random(150)] for k in range(210)})
    page = page_of(cases, tmp_path, resamples=20)
    assert page.stat().st_size < 10_000_000
    text = page.read_text()
    assert "The table holds the first 120 of 210 methods" in text
    assert "The figure shows the first 53 of 210 methods" in text  # 53 x 150 cases are within 8,000
    assert len(Page(text).table("Rank", "Tie group")) == 211


def test_the_digest_of_the_folds_stands_on_the_page_where_each_case_has_one_fold_and_patient(cases, page, tmp_path):
    rows = cases.drop_duplicates("case")
    digest = folds_digest(zip(rows["case"], rows["patient"], map(int, rows["fold"]), strict=True))
    assert f"<dd>{digest}</dd>" in page
    unknown = page_of(cases.assign(patient=""), tmp_path, resamples=0).read_text()
    assert "<dd>none: a fold or a patient is not known</dd>" in unknown


@pytest.mark.parametrize("seed", range(5))
def test_outline_encloses_exactly_the_mask(seed):
    mask = np.random.default_rng(seed).random((9, 7)) < 0.5
    inside = np.zeros(mask.shape, dtype=int)
    for part in outline(mask).split("z")[:-1]:
        x, y = map(int, re.match(r"M(-?\d+) (-?\d+)", part).groups())
        corners = [(x, y)]
        for axis, length in re.findall(r"([hv])(-?\d+)", part):
            x, y = (x + int(length), y) if axis == "h" else (x, y + int(length))
            corners.append((x, y))
        polygon = matplotlib.path.Path([*corners, corners[0]])
        inside += [[polygon.contains_point((i + 0.5, j + 0.5)) for j in range(7)] for i in range(9)]
    assert ((inside % 2)[:, ::-1] == mask).all()


def test_outline_of_nothing_is_empty():
    assert outline(np.zeros((3, 3), dtype=bool)) == ""


def test_slice_with_most_reference_is_pictured():
    reference, prediction = np.zeros((4, 4, 3), dtype=bool), np.zeros((4, 4, 3), dtype=bool)
    assert best_slice(reference, prediction) == 1
    prediction[0, 0, 2] = True
    assert best_slice(reference, prediction) == 2
    reference[:2, 0, 0] = True
    assert best_slice(reference, prediction) == 0


def test_exemplary_cases(cases):
    content = Content(analyse(cases, RankingOptions(resamples=0)))
    assert [(drawn.role, drawn.case) for drawn in exemplary(content, "beta")] == [
        ("best", "case_11"), ("median", "case_6"), ("worst", "case_12")
    ]  # fmt: skip


def test_bland_altman_by_hand(build):
    scored = [{"reference_ml": 10.0, "predicted_ml": 12.0}, {"reference_ml": 20.0, "predicted_ml": 26.0}]
    cases = build({"a": [*scored, {"status": "missing"}]})
    found = volume_agreement(Content(analyse(cases, RankingOptions(resamples=0))), "a")
    assert found.cases == 2
    assert found.bias == 4.0
    assert found.high == pytest.approx(4 + 1.96 * 8**0.5)
    assert found.low == pytest.approx(4 - 1.96 * 8**0.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.50"), (-1.234, "−1.23"), (-0.001, "0.00"), (19354856.39, "1.94×10⁷"), (float("nan"), "–"), (None, "–")],
)
def test_numbers(value, text):
    assert number(value) == text


def test_shortened_names_keep_both_ends():
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghijk", 10) == "abcde…hijk"


@pytest.fixture
def cohort(isles_tree):
    return isles_tree(range(1, 4))


@pytest.fixture
def predictions(tmp_path, cohort):
    """Masks of one method in two folders, as for two folds: all of case 1, part of case 2, none for the third case."""
    for k, fold in ((1, 0), (2, 1)):
        case = next(case for case in read_cohort(cohort).cases if case.number == k)
        volume = read_volume(case.reference)
        (tmp_path / f"fold{fold}").mkdir(exist_ok=True)
        mask = volume.data > 0
        mask[3] &= k == 1
        write_mask(tmp_path / f"fold{fold}" / f"case_{k}.nii.gz", mask, volume.header)
    return [tmp_path / "fold0", tmp_path / "fold1"]


@pytest.fixture
def scored(cohort, predictions):
    """The rows that these masks have."""
    frames = [
        score_cases(read_cohort(cohort).cases, folder, "me").query(f"case in {names}")
        for folder, names in zip(predictions, (["case_1", "case_3"], ["case_2"]), strict=True)
    ]
    return pd.concat(frames)


def drawn(cases, cohort, places, out, **options):
    return page_of(cases, out, images=read_cohort(cohort), predictions={"me": places}, resamples=0, **options)


def test_pictures_from_folders_and_functions(scored, cohort, predictions, tmp_path):
    page = drawn(scored, cohort, predictions, tmp_path / "a").read_text()
    examples = page[page.index("<summary>Best, median") :]
    assert examples.count('class="slice"') == 3
    assert examples.count('class="reference"') == 3
    assert examples.count('class="prediction"') == 2
    assert "(no prediction)" in page
    files = {"case_1": predictions[0] / "case_1.nii.gz", "case_2": predictions[1] / "case_2.nii.gz"}
    assert drawn(scored, cohort, files.get, tmp_path / "b").read_text() == page


def refused(cases, cohort, places, out):
    with pytest.raises(InputError) as error:
        drawn(cases, cohort, places, out)
    assert not out.exists()
    return error.value.problems


def test_a_damaged_mask_is_refused(scored, cohort, predictions, tmp_path):
    (predictions[0] / "case_1.nii.gz").write_bytes(b"no image")
    (problem,) = refused(scored, cohort, predictions, tmp_path / "page")
    assert problem.startswith(f"{predictions[0] / 'case_1.nii.gz'}: ")


@pytest.mark.parametrize("fault", ["shape", "spacing", "labels"])
def test_a_mask_that_check_refuses_is_refused(scored, cohort, predictions, tmp_path, fault, isles_tree):
    mask = np.zeros((8, 9, 3 if fault == "shape" else 2), np.uint8)
    mask[2, 3, 0] = 7 if fault == "labels" else 1
    path = predictions[0] / "case_1.nii.gz"
    isles_tree.image(path, mask, (0.9, 0.9, 5.0 if fault == "spacing" else 6.0))
    problems = refused(scored, cohort, predictions, tmp_path / "page")
    assert all(problem.startswith(f"{path}: ") for problem in problems)


def test_another_mask_than_was_scored_is_refused(scored, cohort, predictions, tmp_path):
    (predictions[0] / "case_1.nii.gz").write_bytes((predictions[1] / "case_2.nii.gz").read_bytes())
    (problem,) = refused(scored, cohort, predictions, tmp_path / "page")
    assert "has Dice 0.666667 with the reference of case_1 where the table has 1 for me: give the" in problem


def test_a_mask_that_is_lacking_is_refused(scored, cohort, predictions, tmp_path):
    (problem,) = refused(scored, cohort, predictions[:1], tmp_path / "page")
    assert "me: has no prediction of case_2, which the table has a score of" in problem


def test_a_mask_that_is_there_twice_is_refused(scored, cohort, predictions, tmp_path):
    (predictions[1] / "case_1.nii").write_bytes(b"")
    (problem,) = refused(scored, cohort, predictions, tmp_path / "page")
    assert f"case_1 is predicted again by {predictions[1] / 'case_1.nii'}: give the one" in problem


def test_a_sound_mask_of_a_case_that_counts_as_missing_is_refused(scored, cohort, predictions, tmp_path):
    (predictions[0] / "case_3.nii.gz").write_bytes((predictions[0] / "case_1.nii.gz").read_bytes())
    (problem,) = refused(scored, cohort, predictions, tmp_path / "page")
    assert "can be scored, yet the table counts case_3 of me as missing" in problem


def test_what_a_lenient_scoring_let_pass_is_drawn_without_prediction(scored, cohort, predictions, tmp_path):
    (predictions[0] / "case_3.nii.gz").write_bytes(b"no image")
    assert "(no prediction)" in drawn(scored, cohort, predictions, tmp_path / "page").read_text()


def test_another_cohort_is_refused(scored, isles_tree, predictions, tmp_path):
    other = isles_tree(range(1, 4), name="other", shape=(8, 9, 2), spacing=(0.9, 0.9, 5.0))
    problems = refused(scored, other, predictions, tmp_path / "page")
    assert len(problems) == 3
    assert "holds 0.0243 mL where the table has 0.02916 mL for case_1: give the cohort, and with" in problems[0]
    fewer = isles_tree([1], name="fewer")
    (first, _) = refused(scored, fewer, predictions[:1], tmp_path / "page")
    assert first.startswith(f"{fewer}: has no reference of case_2 in its training cases: give the cohort")


def test_methods_without_predictions_are_listed(scored, cohort, predictions, tmp_path):
    cases = pd.concat([scored, scored.assign(method="other")])
    page = drawn(cases, cohort, predictions, tmp_path).read_text()
    assert "other: no predictions were given for its pictures" in page
    page = page_of(scored, tmp_path, images=read_cohort(cohort), resamples=0).read_text()
    assert 'id="pictures"' not in page


def test_the_published_table_has_a_section_of_its_own(cases, page, tmp_path):
    assert "songt1" not in page
    quoted = page_of(cases, tmp_path, resamples=0, published=read_published("isles2018")).read_text()
    rows = Page(quoted).table("Team")[1:]
    assert rows[0][:3] == ["1", "songt1", "0.51 (0.31)"]
    assert len(rows) == 5
    assert "Source: Table 1 of L. Liu" in quoted
    assert "These figures come from other data" in quoted
    assert '<a href="#published">' in quoted


def test_published_figures_stand_in_a_column_apart_with_the_numbers_of_their_sources(build, page, tmp_path):
    assert "As published" not in page
    own = build({"strokenet": [{"dice": 0.6}, {}], "mine": [{}, {}], "perfusion_t38": [{"dice": 0.1}, {}]})
    text = page_of(own, tmp_path, resamples=0).read_text()
    rows = Page(text).table("Rank", "As publishedother data")[1:]
    assert {row[1]: row[-1] for row in rows} == {
        "strokenet": "Hu et al.: 0.52 [1]",
        "mine": "",
        "perfusion_t38": "PerfusionCT-Net: 0.30 [2] Hakim 2021: 0.3 [3]",
    }


@of_words
def test_sources_are_folded_away_between_the_ranking_and_what_follows(build, tmp_path):
    own = build({"strokenet": [{"dice": 0.6}, {}], "perfusion_t38": [{}, {}], "perfusion_tfit": [{}, {}]})
    text = page_of(own, tmp_path, resamples=0).read_text()
    folded = re.search(r'<details class="sources" id="sources">(.*?)</details>', text, re.DOTALL)[1]
    assert text.count("StrokeNet: 3D Local Refinement Network") == folded.count("StrokeNet: 3D Local") == 1
    assert folded.count("Hakim et al.") == 1  # quoted for two methods
    assert "are not comparable with it" in folded
    assert [f"source-{number}" in folded for number in (1, 2, 3, 4)] == [True, True, True, False]
    cited = re.findall(r'href="#(source-\d)"', text)
    assert set(cited) == {"source-1", "source-2", "source-3"} <= set(Page(text).ids)


@of_words
def test_the_metrics_ranked_by_are_named_and_shown(build, tmp_path):
    cases = build({"a": [{}, {}], "b": [{}, {}]}).assign(seconds=[1, 2, 3, 4])
    text = page_of(
        cases, tmp_path, scheme="rank-then-mean", metrics=["lesion_f1", "seconds:lower"], resamples=30
    ).read_text()
    head, *rows = Page(text).table("Rank", "Tie group")
    assert head[-2:] == ["Lesion F1higher is better", "secondslower is better"]
    assert rows[0][-2:] == ["0.50(0.00)0.50 to 0.50", "1.50(0.50)−4.85 to 7.85"]
    assert "<dt>Ranked by</dt><dd>Lesion F1 and seconds (lower is better)</dd>" in text
    for key, value in (("Unit of resampling", "patient: 2 patients"), ("Resamples", "30"), ("Seed", "0")):
        assert f"<dt>{key}</dt><dd>{value}</dd>" in text


@of_words
def test_unknown_patients_are_cases(cases, tmp_path):
    text = page_of(cases.assign(patient=""), tmp_path, resamples=50).read_text()
    assert "with these 12 cases (patients unknown)" in text
    assert "50 resamples of 12 cases (patients unknown)" in text


@of_words
@pytest.mark.parametrize(("resamples", "said"), [(1, True), (19, False)])
def test_too_few_resamples_are_said_to_say_nothing(cases, tmp_path, resamples, said):
    text = page_of(cases, tmp_path, resamples=resamples).read_text()
    assert ("sets and groups say nothing" in text) == said
    assert f"{resamples} resample{'s' * (resamples > 1)} of 12 patients" in text


def test_dice_stands_third(page):
    assert Page(page).table("Rank", "Tie group")[0][:3] == ["Rank", "Method", "Dicehigher is better"]


@of_words
def test_the_core_agreement_stands_with_the_volumes(build, tmp_path):
    cases = build({"a": [{}, {"core_agreement": 0}], "b": [{}, {"status": "missing"}], "c": [{}, {}]})
    head, *rows = Page(page_of(cases, tmp_path, resamples=0).read_text()).table("Bias [mL]")
    assert head[-1] == "Same side of 70 mL"
    assert {row[0]: row[-1] for row in rows} == {"a": "50 %", "b": "50 %", "c": "100 %"}


def test_only_chances_of_three_quarters_are_tinted():
    cells = chance_cells(np.array([[0.5, 0.75, 0.7499], [0.25, 0.5, 1.0], [0.2501, 0.0, 0.5]]))
    assert cells[0] == [("–", "self", ""), (".75", "win", " meaningful"), (".75", "", "")]
    assert cells[1][2] == ("1.00", "win", " meaningful")


def test_only_significant_p_values_are_tinted():
    cells = significance_cells(np.array([[np.nan, 0.0499, 0.05], [0.9999, np.nan, 0.0005], [0.3, 0.051, np.nan]]))
    assert cells[0] == [("–", "self", ""), (".050", "win", " significant"), (".050", "", "")]
    assert cells[1] == [(">.99", "", ""), ("–", "self", ""), ("<.001", "win", " significant")]
    assert cells[2][:2] == [(".300", "", ""), (".051", "", "")]


def test_methods_of_one_colour_have_different_marks():
    looks = [(method_colour(number), method_mark(number)[1:]) for number in range(FIGURE_METHODS)]
    assert len(set(looks)) == FIGURE_METHODS == 60


def test_names_that_the_font_lacks_are_drawn_in_silence(build, tmp_path):
    cases = build({"日本語": [{}, {}], "b": [{}, {}]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "日本語</text>" in page_of(cases, tmp_path, resamples=20).read_text()


def test_volumes_beyond_500_ml_stand_within_their_panel(build, tmp_path):
    cases = build({"a": [{"reference_ml": 2000.0, "predicted_ml": 4000.0}, {}], "b": [{"reference_ml": 2000.0}, {}]})
    page = page_of(cases, tmp_path, resamples=0).read_text()
    assert ">1000</text>" in page


def test_command(build, cases, tmp_path, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    command = ["report", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "page"), "--resamples", "50"]
    assert main([*command, "--title", "Mine", "--note", "numpy=2.0"]) == 0
    assert "3 methods" in capsys.readouterr().out
    page = (tmp_path / "page" / "index.html").read_text()
    assert "<h1>Mine</h1>" in page
    assert "<dt>numpy</dt><dd>2.0</dd>" in page
    same = page_of(
        read_cases(tmp_path / "cases.csv"), tmp_path / "b", resamples=50, heading="Mine", notes={"numpy": "2.0"}
    )
    assert same.read_text() == page
    assert main([*command, "--published", "isles2018"]) == 0
    assert "songt1" in (tmp_path / "page" / "index.html").read_text()


@of_words
def test_the_command_shows_what_the_options_the_notes_and_the_files_beside_its_input_say(cases, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_cases(tmp_path / name / "cases.csv", cases.assign(method=cases["method"] + name))
    tables = [str(tmp_path / name / "cases.csv") for name in ("one", "two")]
    command = ["report", *tables, "--out", str(tmp_path / "page"), "--resamples", "0"]

    def banner(*options):
        assert main([*command, *options]) == 0
        return re.findall(r'class="banner" role="note">(.*?)</p>', (tmp_path / "page" / "index.html").read_text())

    assert banner() == []
    assert banner("--synthetic") == [SYNTHETIC]
    assert banner("--note", "Cohort=a synthetic twin, seed 0") == [SYNTHETIC]
    (tmp_path / "one" / "banner.txt").write_text("Preliminary.\n")
    assert banner() == ["Preliminary."]
    (tmp_path / "two" / "banner.txt").write_text("Other scanner.\n")
    assert banner() == ["Preliminary. Other scanner."]
    (tmp_path / "two" / "banner.txt").write_text("Preliminary.\n")
    assert banner() == ["Preliminary."]
    (tmp_path / "two" / "banner.txt").write_bytes(b"\xff")
    assert main(command) == 1


@of_words
def test_the_command_shows_the_banner_of_the_cohort(scored, cohort, predictions, tmp_path):
    write_cases(tmp_path / "cases.csv", scored)
    (cohort / "banner.txt").write_text(SYNTHETIC)
    options = [f"--predictions=me={folder}" for folder in predictions]
    command = ["report", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "page"), "--resamples", "0"]
    assert main([*command, "--cohort", str(cohort), *options]) == 0
    assert SYNTHETIC in (tmp_path / "page" / "index.html").read_text()


def test_command_refuses(cases, cohort, tmp_path, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    command = ["report", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "page")]
    assert main([*command, "--cohort", str(cohort), "--predictions", f"nobody={tmp_path}"]) == 1
    assert "no table has this method: choose from alpha, beta, gamma" in capsys.readouterr().err
    assert main([*command, "--cohort", str(cohort), "--predictions", f"alpha={tmp_path / 'nowhere'}"]) == 1
    assert "nowhere: does not exist" in capsys.readouterr().err
    for option in ("--published nothing", "--note nothing", "--seed -1"):
        assert main([*command, *option.split()]) == 1
    apart = ("--partition testing", "--predictions alpha=x", f"--images {cohort}", "--scheme dice --metrics recall")
    for option in apart:
        with pytest.raises(SystemExit) as stopped:
            main([*command, *option.split()])
        assert stopped.value.code == 2


def test_folder_that_cannot_be_made(cases, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        page_of(cases, tmp_path / "file" / "page", resamples=0)


def test_a_page_that_cannot_be_written_is_told_before_a_table_is_read(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["report", str(tmp_path / "nowhere.csv"), "--out", str(tmp_path / "file")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"leaderboard: {tmp_path / 'file'}")


def test_importing_the_command_line_imports_no_figures():
    code = "import sys, leaderboard.cli; print({'matplotlib', 'jinja2', 'pandas', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_cell_of_distances_holds_the_mean_of_the_defined_and_counts_the_others():
    row = {"hausdorff_mm_mean": 5e6, "hausdorff_mm_sd": 2e7, "hausdorff_mm_undefined": 4}
    row |= {"hausdorff_mm_defined_mean": 41.8, "hausdorff_mm_defined_sd": 17.2}
    (cell,) = metric_cells(row, ["hausdorff_mm"])
    assert (cell.text, cell.value, cell.note) == ("41.80", "41.8", "(17.20), 4 undefined")
    nothing = row | {"hausdorff_mm_defined_mean": np.nan, "hausdorff_mm_defined_sd": np.nan}
    assert metric_cells(nothing, ["hausdorff_mm"]) == [Cell("–", "", "4 undefined")]
    whole = metric_cells(row | {"hausdorff_mm_undefined": 0, "hausdorff_mm_mean": 9.0}, ["hausdorff_mm"])
    assert whole[0].text == "9.00"


def test_the_page_says_what_undefined_distances_count(page):
    assert "which counts 100000000 mm under the policy isles2018" in page


@of_words
def test_rows_marked_as_synthetic_make_a_banner_wherever_the_table_lies(build, tmp_path):
    cases = build({"a": [{"data": "synthetic"}, {}]})
    for given, said in [("", SYNTHETIC), ("Draft.", f"{SYNTHETIC} Draft."), (SYNTHETIC, SYNTHETIC)]:
        page = page_of(cases, tmp_path, resamples=0, banner=given).read_text()
        assert re.findall(r'class="banner" role="note">(.*?)</p>', page) == [said]
