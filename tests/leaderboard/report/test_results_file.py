"""results.json says what the leaderboard says, after its schema, and is no table."""

import hashlib
import json

import jsonschema
import pandas as pd
import pytest

from leaderboard.cases import read_cases, write_cases
from leaderboard.cli import main
from leaderboard.presets import PRESETS
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.report.origin import Origin
from leaderboard.report.results_file import results_json, results_schema


def validated(text):
    """The content, after the schema; no number in it is infinite or none."""
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the file"))
    jsonschema.Draft202012Validator(results_schema()).validate(content)
    return content


@pytest.fixture
def cases(build):
    never = {"status": "empty_prediction", "hausdorff_mm": None, "hd95_mm": None, "assd_mm": None, "dice": 0.0}
    return build({"a": [{"dice": 0.9}, {"dice": 0.2}], "b": [{"dice": 0.4}, {"status": "missing"}], "c": [never] * 2})


def test_the_schema_is_one_of_draft_2020_12():
    jsonschema.Draft202012Validator.check_schema(results_schema())
    assert results_schema()["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


def ends(row, metric):
    """The ends of a mean's interval, None where undefined."""
    return [None if pd.isna(row[f"{metric}_ci_{end}"]) else row[f"{metric}_ci_{end}"] for end in ("low", "high")]


@pytest.mark.parametrize("preset", ["", "isles2018", "isles2022", "isles2024", "atlas2"])
@pytest.mark.parametrize("resamples", [0, 40])
def test_every_figure_is_the_leaderboards(cases, preset, resamples):
    options = RankingOptions.of_preset(preset, resamples=resamples) if preset else RankingOptions(resamples=resamples)
    table = rank_methods(cases, options)
    content = validated(results_json(table, cases, Origin(options, version="1.2"), "for these trainings"))
    assert [method["method"] for method in content["methods"]] == table["method"].tolist()
    for method, row in zip(content["methods"], table.to_dict("records"), strict=True):
        assert method["rank"] == row["rank"]
        assert method["score"] == row["score"]
        assert (method["rank_set"] is None) == (resamples == 0)
        for name, figures in method["metrics"].items():
            interval = figures.pop("interval", None)
            assert interval == (None if resamples == 0 or f"{name}_ci_low" not in row else ends(row, name))
            for figure, value in figures.items():
                assert value == (None if pd.isna(row[f"{name}_{figure}"]) else row[f"{name}_{figure}"])
    means = {column for column in table.columns if column.endswith("_mean") and "_defined_" not in column}
    assert {f"{name}_mean" for name in content["metrics"]} == means
    assert content["ranking"]["preset"] == (preset or None)
    assert content["ranking"]["rules"] == (PRESETS[preset].rules if preset else {})
    assert (content["inference"], content["program"]["version"]) == ("for these trainings", "1.2")


def test_undefined_figures_are_null_and_counted(cases):
    content = validated(results_json(rank_methods(cases, RankingOptions(resamples=0)), cases, Origin()))
    figures = {method["method"]: method["metrics"] for method in content["methods"]}
    assert figures["c"]["hausdorff_mm"] == {
        "mean": 1e8, "sd": 0.0, "defined_mean": None, "defined_sd": None, "undefined": 2,
    }  # fmt: skip
    nulls = [value for metrics in figures.values() for values in metrics.values() for value in values.values()]
    assert content["undefined"] == nulls.count(None) > 0


def test_intervals_of_whatever_metric_come_as_pairs_and_other_columns_as_they_are(cases):
    options = RankingOptions(resamples=0)
    table = rank_methods(cases, options)
    table["lesion_f1_ci_low"], table["lesion_f1_ci_high"] = [0.1, 0.2, None], [0.3, 0.4, None]
    table["dice_seed_sd"], table["p_better_than_next"] = 0.01, [0.5, 0.75, None]
    first, _, last = validated(results_json(table, cases, Origin(options)))["methods"]
    assert first["metrics"]["lesion_f1"]["interval"] == [0.1, 0.3]
    assert last["metrics"]["lesion_f1"]["interval"] == [None, None]
    assert "interval" not in first["metrics"]["lesion_f1_iou20"]
    assert first["metrics"]["dice"]["seed_sd"] == 0.01
    assert [method["further"]["p_better_than_next"] for method in (first, last)] == [0.5, None]


def test_rank_and_report_write_the_same_results_twice(tmp_path, cases, monkeypatch):
    monkeypatch.setattr("leaderboard.report.making.render_page", lambda *_, **__: "the page, which takes seconds")
    write_cases(tmp_path / "cases.csv", cases)
    texts = []
    for place in ("one", "two"):
        out = tmp_path / place
        assert (
            main(["rank", str(tmp_path / "cases.csv"), "--out", str(out / "leaderboard.csv"), "--resamples", "40"]) == 0
        )
        texts.append((out / "results.json").read_bytes())
    page = tmp_path / "page"
    assert main(["report", str(tmp_path / "cases.csv"), "--out", str(page), "--resamples", "40"]) == 0
    assert texts[0] == texts[1] == (page / "results.json").read_bytes()
    content = validated(texts[0])
    assert content["digests"]["cases.csv"] == hashlib.sha256((tmp_path / "cases.csv").read_bytes()).hexdigest()
    assert "95 % set" in content["inference"]
    assert content["cohort"]["cases"] == 2
    assert main(["rank", str(tmp_path / "cases.csv"), "--out", str(page / "mine.csv"), "--resamples", "0"]) == 0
    assert validated((page / "mine_results.json").read_text())["methods"][0]["rank_set"] is None


def test_the_digests_change_with_cases_references_and_folds_and_not_with_a_score(cases):
    options = RankingOptions(resamples=0)

    def digests(rows):
        content = validated(results_json(rank_methods(rows, options), rows, Origin(options)))
        return content["cohort"]["sha256"], content["folds"] and content["folds"]["sha256"], content["digests"]

    split = cases.assign(fold=[0, 1] * 3)
    assert digests(cases)[1] is None
    assert digests(split)[1] != digests(split.assign(fold=[1, 0] * 3))[1]
    better = cases.assign(dice=cases["dice"] / 2)
    assert digests(better)[:2] == digests(cases)[:2]
    assert digests(better)[2] != digests(cases)[2]
    assert digests(cases.assign(reference_ml=11.0))[0] != digests(cases)[0]


def test_results_are_refused_where_cases_are_asked_for(tmp_path, cases, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    main(["rank", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "leaderboard.csv"), "--resamples", "0"])
    capsys.readouterr()
    path = tmp_path / "results.json"
    assert main(["rank", str(path), "--out", str(tmp_path / "again.csv")]) == 1
    assert capsys.readouterr().err == (
        f"leaderboard: {path}: is JSON and no table (a results.json holds means alone, of which no cases can be ranked "
        "or resampled): give the cases.csv\n"
    )


def test_verify_finds_a_changed_figure_in_the_results(tmp_path, cases, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    main(["rank", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "leaderboard.csv"), "--resamples", "0"])
    assert main(["verify", str(tmp_path)]) == 0
    assert "results.json" in capsys.readouterr().out
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace('"mean": 0.55', '"mean": 0.65', 1))
    assert main(["verify", str(tmp_path)]) == 1
    assert '"mean": 0.65' in capsys.readouterr().err


def test_a_file_of_another_program_is_left_as_it_is(tmp_path, cases, capsys):
    write_cases(tmp_path / "cases.csv", cases)
    (tmp_path / "results.json").write_text("[1]")
    assert main(["rank", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "leaderboard.csv")]) == 1
    assert "results.json: holds something else" in capsys.readouterr().err
    assert (tmp_path / "results.json").read_text() == "[1]"
    assert len(read_cases(tmp_path / "cases.csv")) == 6
