"""The page, as text; how it behaves in a browser is tested in test_report_browser.py."""

import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser

import matplotlib.path
import numpy as np
import pytest

from leaderboard.cases import read_cases, write_cases
from leaderboard.cli import main
from leaderboard.cohort import read_cohort
from leaderboard.errors import InputError
from leaderboard.images import read_volume, write_mask
from leaderboard.ranking import analyse
from leaderboard.report import write_report
from leaderboard.report.data import folds_digest, gather
from leaderboard.report.page import is_synthetic
from leaderboard.report.pictures import best_slice, exemplary, outline
from leaderboard.report.scatter import volume_agreement
from leaderboard.report.svg import shorten
from leaderboard.report.tables import number

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


@pytest.fixture(scope="module")
def written():
    """Keeps the page, which takes a second to write, for all tests of this file."""
    return {}


@pytest.fixture
def page(cases, tmp_path, written):
    if not written:
        written["page"] = write_report(cases, tmp_path / "page", resamples=200).read_text()
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
    first = write_report(cases, tmp_path / "a", resamples=100).read_bytes()
    second = write_report(cases.sample(frac=1, random_state=1), tmp_path / "b", resamples=100).read_bytes()
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
    table = analyse(cases, resamples=200).table
    head, *rows = Page(page).table("Rank", "Tie group")
    for row, expected in zip(rows, table.to_dict("records"), strict=True):
        shown = dict(zip(head, row, strict=True))
        assert shown["Rank"] == str(expected["rank"])
        assert shown["Method"] == expected["method"]
        low, high = expected["rank_low"], expected["rank_high"]
        assert shown["95 % set of ranks"] == (str(low) if low == high else f"{low}–{high}")
        assert shown["Tie group"] == expected["tie_group"]
        dice = next(value for title, value in shown.items() if title.startswith("Dice"))
        assert dice == f"{expected['dice_mean']:.2f}({expected['dice_sd']:.2f})"
        first = next(value for title, value in shown.items() if title.startswith("First"))
        assert first == f"{100 * expected['first_share']:.1f} %"
    assert [row[-1] for row in rows] == [str(value) for value in table["missing"]]


def test_significance_matrix_marks_who_wins(cases, page):
    analysis = analyse(cases, resamples=200)
    matrix = next(table for table in Page(page).tables if table[0][0] == "" and len(table[0]) == 4)[1:]
    wins = [["significant" in cell for cell in row[1:]] for row in matrix]
    assert wins == (analysis.significance < 0.05).tolist()
    assert any(map(any, wins))


def test_missing_is_listed(page):
    _, *rows = Page(page).table("Cases without a prediction")
    assert rows == [["gamma", "1", "0", "0", "0", "–"], ["beta", "0", "0", "0", "1", "case_12"]]


def test_nothing_missing_says_so(build, tmp_path):
    text = write_report(build({"a": [{}, {}], "b": [{}, {}]}), tmp_path, resamples=0).read_text()
    assert "every method has a prediction with lesion for every case" in text
    assert "Nothing was resampled" in text


def test_hostile_names_are_text(build, tmp_path):
    cases = build({HOSTILE: [{}, {"dice": 0.2}], "b" * 300: [{}, {}]})
    cases["patient"] = "<b>p</b>"
    page = write_report(cases, tmp_path, title=HOSTILE, notes={"<i>": "<img src=x>"}, resamples=50).read_text()
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


def test_synthetic_cohorts_are_named_so(cases, page, tmp_path):
    banner = "They are not ISLES results"
    assert banner not in page
    assert banner in write_report(cases, tmp_path, resamples=0, notes={"Cohort": "Synthetic twin, seed 0"}).read_text()


def test_twins_are_known_by_their_manifest(cohort):
    images = read_cohort(cohort)
    assert not is_synthetic({"numpy": "2"}, images)
    (cohort / "twin.json").write_text("{}")
    assert is_synthetic({}, images)


def test_notes_stand_in_their_order(cases, tmp_path):
    page = write_report(cases, tmp_path, resamples=0, notes={"zeta": "1", "alpha version": "2"}).read_text()
    assert page.index("<dt>zeta</dt><dd>1</dd>") < page.index("<dt>alpha version</dt><dd>2</dd>")
    assert f"<dd>{folds_digest(cases)}</dd>" in page


@pytest.mark.parametrize("methods", [1, 61])
def test_any_number_of_methods(build, tmp_path, methods):
    cases = build({f"method_{k:02d}": [{"dice": (k + c) / 99} for c in range(3)] for k in range(methods)})
    page = write_report(cases, tmp_path, resamples=20)
    assert page.stat().st_size < 10_000_000
    assert ("The figure shows the first 60 of 61 methods" in page.read_text()) == (methods == 61)
    assert len(Page(page.read_text()).table("Rank", "Tie group")) == methods + 1


def test_everything_undefined_makes_a_page(build, tmp_path):
    cases = build({"a": [{"status": "missing"}] * 2, "b": [{"status": "missing"}] * 2})
    assert write_report(cases, tmp_path, resamples=20).is_file()


def test_a_large_challenge_stays_below_ten_megabytes(build, tmp_path):
    rng = np.random.default_rng(0)
    cases = build({f"submission_with_a_long_name_{k:03d}": [{"dice": d} for d in rng.random(150)] for k in range(210)})
    page = write_report(cases, tmp_path, resamples=20)
    assert page.stat().st_size < 10_000_000
    assert "The table holds the first 120 of 210 methods" in page.read_text()


def test_folds_digest_is_that_of_the_benchmark(cases):
    folds = pytest.importorskip("benchmark.cohort.folds")
    rows = cases[cases["method"] == "alpha"]
    expected = folds.Folds(
        fold_of={row.case: int(row.fold) for row in rows.itertuples()},
        patient_of={row.case: row.patient for row in rows.itertuples()},
    )
    assert folds_digest(cases) == expected.digest
    assert folds_digest(cases.assign(patient="")) == ""


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
    content = gather(cases, analyse(cases, resamples=0), "dice", "isles2018")
    assert [(role, case) for role, case, _, _ in exemplary(content, "beta")] == [
        ("best", "case_11"), ("median", "case_6"), ("worst", "case_12")
    ]  # fmt: skip


def test_bland_altman_by_hand(build):
    scored = [{"reference_ml": 10.0, "predicted_ml": 12.0}, {"reference_ml": 20.0, "predicted_ml": 26.0}]
    cases = build({"a": [*scored, {"status": "missing"}]})
    found = volume_agreement(gather(cases, analyse(cases, resamples=0), "dice", "isles2018"), "a")
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
    """Masks of one method in two folders, as of two folds; the third case has none."""
    for k, fold in ((1, 0), (2, 1)):
        case = next(case for case in read_cohort(cohort).cases if case.number == k)
        volume = read_volume(case.reference)
        (tmp_path / f"fold{fold}").mkdir(exist_ok=True)
        write_mask(tmp_path / f"fold{fold}" / f"case_{k}.nii.gz", volume.data > 0, volume.header)
    return [tmp_path / "fold0", tmp_path / "fold1"]


def test_pictures_from_folders_and_functions(build, cohort, predictions, tmp_path):
    cases = build({"me": [{"dice": 0.9}, {"dice": 0.5}, {"status": "missing"}]})
    cases["case"] = [case.name for case in read_cohort(cohort).cases]
    images = read_cohort(cohort)
    page = write_report(cases, tmp_path / "a", images=images, predictions={"me": predictions}, resamples=0).read_text()
    assert page.count('class="slice"') == 3
    assert page.count('class="reference"') == 3
    assert page.count('class="prediction"') == 2
    assert "(no prediction)" in page
    files = {"case_1": predictions[0] / "case_1.nii.gz", "case_2": predictions[1] / "case_2.nii.gz"}
    again = write_report(cases, tmp_path / "b", images=images, predictions={"me": files.get}, resamples=0).read_text()
    assert page == again


def test_what_cannot_be_pictured_is_listed(build, cohort, tmp_path):
    cases = build({"me": [{}, {}], "other": [{}, {}]})
    cases["case"] = cases["case"].replace("case_2", "case_99")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "case_1.nii").write_bytes(b"no image")
    page = write_report(
        cases, tmp_path, images=read_cohort(cohort), predictions={"me": tmp_path / "masks"}, resamples=0
    ).read_text()
    assert "me, case_1: case_1.nii: " in page
    assert "me, case_99: the cohort given has no reference of it" in page
    assert "other: no predictions were given for its pictures" in page


def test_command(build, cases, tmp_path, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    command = ["report", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "page"), "--resamples", "50"]
    assert main([*command, "--title", "Mine", "--note", "numpy=2.0"]) == 0
    assert "3 methods" in capsys.readouterr().out
    page = (tmp_path / "page" / "index.html").read_text()
    assert "<h1>Mine</h1>" in page
    assert "<dt>numpy</dt><dd>2.0</dd>" in page
    same = write_report(
        read_cases(tmp_path / "cases.csv"), tmp_path / "b", resamples=50, title="Mine", notes={"numpy": "2.0"}
    )
    assert same.read_text() == page


def test_command_refuses(cases, cohort, tmp_path, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    command = ["report", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "page")]
    assert main([*command, "--images", str(cohort), "--predictions", f"nobody={tmp_path}"]) == 1
    assert "no table has this method: choose from alpha, beta, gamma" in capsys.readouterr().err
    assert main([*command, "--images", str(cohort), "--predictions", f"alpha={tmp_path / 'nowhere'}"]) == 1
    assert "nowhere: does not exist" in capsys.readouterr().err
    for option in ("--predictions alpha=x", f"--images {cohort}", "--note nothing", "--metrics dice", "--seed -1"):
        with pytest.raises(SystemExit) as stopped:
            main([*command, *option.split()])
        assert stopped.value.code == 2


def test_folder_that_cannot_be_made(cases, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        write_report(cases, tmp_path / "file" / "page", resamples=0)


def test_importing_the_command_line_imports_no_figures():
    code = "import sys, leaderboard.cli; print({'matplotlib', 'jinja2', 'pandas', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
