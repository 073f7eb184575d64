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
    said = "For methods that were trained, differences and intervals are conditional on these trained networks"
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
    assert [row[name] for name in ("difference", "low", "high")] == ["", "", ""]
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


@pytest.fixture
def full(cases, tmp_path):
    """The two methods in cases.csv, with more metrics than the core ones: the command up to the methods."""
    write_cases(tmp_path / "cases.csv", cases.assign(lesion_f1=0.5, inplane_nsd=0.25, brier=0.125))
    return ["compare", str(tmp_path / "cases.csv"), "--methods", "a,b", "--out", str(tmp_path)]


def test_the_metrics_of_the_ranking_are_printed_and_all_are_written(full, tmp_path, capsys):
    assert main(full) == 0
    text = capsys.readouterr().out
    heads = [line[: line.index(arrow)] for line in text.splitlines() for arrow in (" ↑ ", " ↓ ") if arrow in line]
    assert heads == ["Dice", "Hausdorff [mm]", "Precision", "Recall", "AVD [mL]", "Dice"]  # the last one within strata
    assert "Further metrics: 13. --metrics all prints them, and --out DIR writes them." in text
    rows = list(csv.DictReader((tmp_path / "compare.csv").open()))
    named = [row["metric"] for row in rows if row["stratum"] == "all"]
    assert named[:5] == ["dice", "hausdorff_mm", "precision", "recall", "avd_ml"]
    assert {"lesion_f1", "brier"} <= set(named)
    assert len(named) == 5 + 13
    written = (tmp_path / "compare.csv").read_bytes()
    assert main([*full, "--metrics", "all"]) == 0
    text = capsys.readouterr().out
    assert "Lesion F1 ↑" in text
    assert "Brier score ↓" in text
    assert "Further" not in text
    assert (tmp_path / "compare.csv").read_bytes() == written


def test_metrics_that_are_named_are_printed_whatever_they_are(full, capsys):
    assert main([*full, "--metrics", "lesion_f1,avd_ml"]) == 0
    text = capsys.readouterr().out
    assert "Lesion F1 ↑" in text
    assert "AVD [mL] ↓" in text
    assert "Dice" not in text
    assert "Further" not in text


def test_a_patient_in_several_strata_is_said_to_count_in_each(cases, tmp_path, capsys):
    said = "A patient whose cases lie in several strata counts in each of these."
    for patients, is_said in ((["P1", "P1", "P2", "P2"], True), (["P1", "P2", "P2", "P3"], False)):
        cases["patient"] = cases["case"].map(
            dict(zip((f"case_{number}" for number in range(1, 5)), patients, strict=True))
        )
        write_cases(tmp_path / "cases.csv", cases)
        assert main(["compare", str(tmp_path / "cases.csv"), "--methods", "a,b"]) == 0
        assert (said in capsys.readouterr().out) == is_said
    assert main(["compare", str(tmp_path / "cases.csv"), "--methods", "a,b", "--unit", "case"]) == 0
    assert said not in capsys.readouterr().out


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


def test_of_synthetic_patients_every_output_says_so(cases, tmp_path, capsys, monkeypatch):
    write_cases(tmp_path / "cases.csv", cases.assign(data="synthetic"))
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["compare", str(tmp_path / "cases.csv"), "--methods", "a,b", "--out", str(tmp_path)]) == 0
    banner = capsys.readouterr().out.split("\n\n")[0]
    assert banner.startswith("Synthetic twin")
    assert max(map(len, banner.splitlines())) <= 60
    assert {row["data"] for row in csv.DictReader((tmp_path / "compare.csv").open())} == {"synthetic"}
    assert "synthetic patients" in (tmp_path / "compare.svg").read_text()
