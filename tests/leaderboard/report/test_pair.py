"""leaderboard compare: differences worked out by hand, and what the command prints, writes and refuses."""

import csv
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from leaderboard.cases import write_cases
from leaderboard.cli import main
from leaderboard.errors import InputError
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.pair import compare_pair

OPTIONS = RankingOptions(scheme="mean-then-rank")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def cases(build):
    return build(
        {
            "a": [{"dice": dice, "reference_ml": size} for dice, size in ((0.9, 2), (0.6, 8), (0.5, 9), (0.4, 30))],
            "b": [{"dice": dice, "reference_ml": size} for dice, size in ((0.5, 2), (0.6, 8), (0.3, 9), (0.5, 30))],
            "other": [{"dice": 0.1, "reference_ml": size} for size in (2, 8, 9, 30)],
        }
    )


def test_a_difference_is_worked_out_by_hand(cases):
    found = compare_pair(cases, "b", "a", OPTIONS, "size").differences[0]
    lead = np.array([-0.4, 0.0, -0.2, 0.1])
    assert (found.stratum, found.metric, found.cases, found.units) == ("all", "dice", 4, 4)
    assert (found.first, found.second, found.difference) == pytest.approx((0.475, 0.6, -0.125))
    expected = stats.t.interval(0.95, 3, loc=lead.mean(), scale=stats.sem(lead))
    assert (found.low, found.high) == pytest.approx(expected)
    assert (found.wins, found.ties, found.losses) == (1, 1, 2)
    assert found.chance == 1.5 / 4


def test_strata_are_compared_by_themselves_and_lower_may_be_better(cases):
    cases.loc[cases["method"] == "a", "avd_ml"] = 0.5
    pair = compare_pair(cases, "a", "b", OPTIONS, "size")
    by = {(found.stratum, found.metric): found for found in pair.differences}
    assert [name for name, metric in by if metric == "dice"] == ["all", "below 5 mL", "5 to 20 mL", "20 to 70 mL"]
    assert by["5 to 20 mL", "dice"].difference == pytest.approx(0.1)
    assert np.isnan(by["below 5 mL", "dice"].low)
    volume = by["all", "avd_ml"]
    assert (volume.difference, volume.wins, volume.chance) == (-0.5, 4, 1)


def test_slabs_of_a_patient_are_one_unit(cases):
    cases["patient"] = cases["case"].map({f"case_{number}": f"P{number // 2}" for number in range(1, 5)})
    found = compare_pair(cases, "a", "b", OPTIONS).differences[0]
    assert (found.units, found.wins, found.ties, found.losses) == (3, 2, 0, 1)


def test_the_order_of_the_names_only_turns_the_signs(cases):
    one, other = (compare_pair(cases, *names, OPTIONS).differences for names in (("a", "b"), ("b", "a")))
    for found, turned in zip(one, other, strict=True):
        assert (found.difference, found.low) == pytest.approx((-turned.difference, -turned.high))
        assert (found.wins, found.chance) == (turned.losses, pytest.approx(1 - turned.chance))


@pytest.mark.parametrize(("first", "second", "said"), [("aa", "b", "did you mean a?"), ("a", "a", "twice")])
def test_names_that_are_not_two_methods_are_refused(cases, first, second, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        compare_pair(cases, first, second, OPTIONS)


def test_the_command_prints_and_writes(cases, tmp_path, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    command = ["compare", str(tmp_path / "cases.csv"), "--methods", "a,b", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "+0.125" in text
    assert "2/1/1" in text
    said = "Where a method was trained, differences and intervals are conditional on these trained networks"
    assert said in " ".join(text.split())
    rows = list(csv.DictReader((tmp_path / "out" / "compare.csv").open()))
    assert [rows[0][name] for name in ("first_method", "second_method", "stratum", "metric", "difference")] == [
        "a", "b", "all", "dice", "0.125"
    ]  # fmt: skip
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main(command) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.fixture
def half_found(build):
    """Distances of a: 4, 6 mm and two undefined; of b: none but in the last case."""
    nothing = {"status": "empty_prediction", "hausdorff_mm": np.nan, "dice": 0.0, "precision": np.nan}
    ours, theirs = ({"hausdorff_mm": 4.0}, {"hausdorff_mm": 6.0}, nothing, nothing), (nothing,) * 3
    return build({"a": ours, "b": (*theirs, {"hausdorff_mm": 8.0})})


def test_undefined_distances_are_counted_and_no_mean_has_what_the_policy_gives_them(half_found, tmp_path, capsys):
    write_cases(tmp_path / "cases.csv", half_found)
    command = ["compare", str(tmp_path / "cases.csv"), "--methods", "a,b", "--out", str(tmp_path)]
    assert main([*command, "--metrics", "hausdorff_mm"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "5.000 8.000 - - 0.62 2/1/1" in printed
    assert "2 undef. 3 undef." in printed
    row = next(csv.DictReader((tmp_path / "compare.csv").open()))
    assert [float(row[f"{name}_defined_mean"]) for name in ("first", "second")] == [5, 8]
    assert [row["first_undefined"], row["second_undefined"]] == ["2", "3"]
    assert float(row["first"]) == (4 + 6 + 2e8) / 4  # as the policy counts them, as in leaderboard.csv
    root = ElementTree.parse(tmp_path / "compare.svg").getroot()
    texts = ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]
    assert {"a, mean 5.000, 2 undefined", "b, mean 8.000, 3 undefined", "8"} <= set(texts)
    assert any(text.startswith("undefined distances have no dot") for text in texts)
    assert "e+0" not in printed + " ".join(texts)


def test_what_is_no_distance_has_no_count_of_undefined_values(half_found):
    found = {found.metric: found for found in compare_pair(half_found, "a", "b", OPTIONS).differences}
    assert (found["precision"].first_undefined, found["dice"].undefined) == (None, 0)
    assert found["hausdorff_mm"].undefined == 5


def test_the_picture_names_the_cases_by_their_lead(cases, tmp_path):
    write_cases(tmp_path / "cases.csv", cases)
    assert main(["compare", str(tmp_path / "cases.csv"), "--methods", "a,b", "--out", str(tmp_path)]) == 0
    root = ElementTree.parse(tmp_path / "compare.svg").getroot()
    assert root.tag == f"{SVG}svg"
    texts = ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]
    assert [text for text in texts if text.startswith("case_")] == ["case_1", "case_3", "case_2", "case_4"]
    assert any("2 won, 1 tied, 1 lost" in text for text in texts)


def test_trainings_count_in_the_interval_and_are_said_to(cases, tmp_path, capsys):
    rows = cases[cases["method"] != "other"].assign(seed=0)
    again = rows.assign(seed=1, dice=rows["dice"] * 0.8)
    write_cases(tmp_path / "cases.csv", pd.concat([rows, again]))
    assert main(["compare", str(tmp_path / "cases.csv"), "--methods", "a,b"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "means over 2 trainings, and intervals cover patients and trainings." in text


def test_names_with_commas_are_given_one_by_one(cases, tmp_path, capsys):
    cases["method"] = cases["method"].replace({"a": "a, deep"})
    write_cases(tmp_path / "cases.csv", cases)
    command = ["compare", str(tmp_path / "cases.csv")]
    assert main([*command, "--methods", "a, deep", "--methods", "b"]) == 0
    assert "A: a, deep\nB: b\n" in capsys.readouterr().out
    for names in (["a, deep,b"], ["a"], ["a", "b", "other"], ["a,"]):
        assert main([*command, *(word for name in names for word in ("--methods", name))]) == 1
        assert "where a name has a comma, --methods mine --methods theirs" in capsys.readouterr().err


def test_only_the_command_speaks_of_its_option(cases, tmp_path, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    with pytest.raises(InputError) as raised:
        compare_pair(cases, "aa", "b")
    assert raised.value.problems[0].startswith("aa: no table has this method")
    assert main(["compare", str(tmp_path / "cases.csv"), "--methods", "aa,b"]) == 1
    assert f"--methods {raised.value.problems[0]}" in capsys.readouterr().err


def test_both_files_are_written_or_none(cases, tmp_path, monkeypatch):
    def fails(path, text):
        if "svg" in path.name:
            raise InputError(f"{path}: cannot be written")
        path.write_text(text)

    monkeypatch.setattr("leaderboard.report.leaderboard_files.write_text", fails)
    write_cases(tmp_path / "cases.csv", cases)
    assert main(["compare", str(tmp_path / "cases.csv"), "--methods", "a,b", "--out", str(tmp_path / "out")]) == 1
    assert not list((tmp_path / "out").iterdir())


def test_what_is_no_pair_or_no_comparison_of_ours_is_refused(cases, tmp_path, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    (tmp_path / "compare.csv").write_text("mine\n")
    for words, said in ((["--methods", "a"], "give two"), (["--methods", "a,b", "--out", str(tmp_path)], "something")):
        assert main(["compare", str(tmp_path / "cases.csv"), *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert not (tmp_path / "compare.svg").exists()


def test_of_synthetic_patients_every_output_says_so(cases, tmp_path, capsys):
    write_cases(tmp_path / "cases.csv", cases.assign(data="synthetic"))
    assert main(["compare", str(tmp_path / "cases.csv"), "--methods", "a,b", "--out", str(tmp_path)]) == 0
    assert "Synthetic twin" in capsys.readouterr().out
    assert {row["data"] for row in csv.DictReader((tmp_path / "compare.csv").open())} == {"synthetic"}
    assert "synthetic patients" in (tmp_path / "compare.svg").read_text()
