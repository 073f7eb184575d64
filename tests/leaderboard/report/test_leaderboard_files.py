"""The written leaderboard: CSV, Markdown, LaTeX."""

import re
from html import unescape

import numpy as np
import pytest

from leaderboard.cohort.banner import SYNTHETIC
from leaderboard.errors import InputError
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.report.leaderboard_files import (
    leaderboard_csv,
    leaderboard_latex,
    leaderboard_markdown,
    printed,
    strata_csv,
    strata_markdown,
    write_leaderboard,
)
from leaderboard.report.published import read_published

NAN = float("nan")
CONTRACT = (
    "rank,method,cases,missing,dice_mean,dice_sd,hausdorff_mm_mean,hausdorff_mm_sd,precision_mean,precision_sd,"
    "recall_mean,recall_sd,avd_ml_mean,avd_ml_sd,rank_low,rank_high,"
)


@pytest.fixture
def cases(build):
    return build({"MS-DCNN": [{"dice": 0.5}, {"status": "missing"}], "a|[b]": [{"dice": 0.3}, {"dice": 0.1}]})


@pytest.fixture
def table(cases):
    return rank_methods(cases, RankingOptions(resamples=100))


def test_csv_begins_with_the_contract_columns(table):
    lines = leaderboard_csv(table).splitlines()
    assert lines[0].startswith(CONTRACT)
    assert lines[1].startswith("1,MS-DCNN,2,1,0.25,0.25,50000005.0,49999995.0,0.25,0.25,0.25,0.25,5.5,4.5,1,2,10.0,1,")
    assert lines[2].startswith("2,a|[b],2,0,0.2,0.1,10.0,0.0,0.5,0.0,0.5,0.0,1.0,0.0,1,2,10.0,0,")
    assert lines[1].endswith(",a,2,patient,100,0")


def test_csv_without_resamples_leaves_the_sets_empty(cases):
    lines = leaderboard_csv(rank_methods(cases, RankingOptions(resamples=0))).splitlines()
    assert lines[0].startswith(CONTRACT)
    assert ",5.5,4.5,,,10.0,1," in lines[1]
    assert lines[1].endswith("dice,isles2018")


def test_same_cases_give_the_same_bytes(build):
    methods = {name: [{"dice": (7 * i * len(name) % 11) / 11} for i in range(9)] for name in ("a", "bb", "ccc")}
    texts = {
        leaderboard_csv(rank_methods(build(dict(order)))) for order in (methods.items(), reversed(methods.items()))
    }
    assert len(texts) == 1


def test_markdown_has_the_printed_form_of_the_paper(table):
    lines = leaderboard_markdown(table).splitlines()
    assert lines[2] == "Mean (standard deviation) over 2 cases; scheme dice, policy isles2018."
    first = f"{100 * table['first_share'].iloc[0]:.0f} %"
    assert lines[6] == (
        f"| 1 | MS-DCNN | 1-2 | a | {first} | 2 | 1 | 0.25 (0.25) | 10.00 (0.00), 1 undefined | 0.25 (0.25) "
        "| 0.25 (0.25) | 5.50 (4.50) | 50 % |"
    )
    assert lines[7].startswith("| 2 | a\\|[b] | 1-2 | a | ")
    assert "from 100 resamples of 2 patients (seed 0)" in lines[9]
    assert "Each set is marginal" in lines[9]
    assert lines[11].startswith("For methods that were trained, scores, ranks and sets are conditional on these")
    assert lines[13].startswith("Distances are means over the cases that have one")
    assert "Same side of 70 mL: share of cases" in lines[15]
    assert "no confidence intervals" in lines[17]
    assert "about three quarters of simulated challenges" in lines[17]


def test_a_set_of_one_rank_is_one_number(build):
    rows = {"a": [{"dice": 0.9}] * 7, "b": [{"dice": 0.1}] * 7}
    text = leaderboard_markdown(rank_methods(build(rows), RankingOptions(resamples=30)))
    assert "| 1 | a | 1 | a | 100 % |" in text
    assert "| 2 | b | 2 | b | 0 % |" in text


@pytest.mark.parametrize(("unit", "counted"), [("patient", "2 patients"), ("case", "3 cases")])
def test_the_caption_says_what_was_resampled(build, unit, counted):
    rows = [{"patient": "P1"}, {"patient": "P1"}, {"patient": "P2"}]
    text = leaderboard_markdown(rank_methods(build({"a": rows}), RankingOptions(resamples=9, unit=unit, seed=4)))
    assert f"from 9 resamples of {counted} (seed 4)" in text


def test_markdown_without_resamples_speaks_of_none(cases):
    text = leaderboard_markdown(rank_methods(cases, RankingOptions(resamples=0)))
    assert "| 1 | MS-DCNN | 2 | 1 | 0.25 (0.25) |" in text
    assert "95 %" not in text


@pytest.fixture
def undefined(build):
    """Method a has distances of 10, 20 and 60 mm and an undefined one; those of b are all defined."""
    rows = [{"hausdorff_mm": 10.0}, {"hausdorff_mm": 20.0}, {"hausdorff_mm": 60.0}]
    empty = {"status": "empty_prediction", "hausdorff_mm": NAN, "hd95_mm": NAN}
    return build({"a": [*rows, {"dice": 0, **empty}], "b": [{}] * 4})


@pytest.mark.parametrize("policy", ["isles2018", "diagonal"])
def test_distances_are_shown_over_the_cases_that_have_one_and_the_others_are_counted(undefined, policy):
    table = rank_methods(undefined, RankingOptions(resamples=0, policy=policy))
    shown = f"30.00 ({np.std([10, 20, 60]):.2f}), 1 undefined"
    assert f"| {shown} |" in leaderboard_markdown(table)
    assert f"& {shown} &" in leaderboard_latex(table)
    assert "| 10.00 (0.00) |" in leaderboard_markdown(table)
    assert table.set_index("method").loc["a", "hausdorff_mm_defined_mean"] == 30


def test_the_value_of_the_challenge_stays_in_the_csv_and_in_a_note(undefined):
    table = rank_methods(undefined, RankingOptions(resamples=0))
    mean, sd = np.mean([10, 20, 60, 1e8]), np.std([10, 20, 60, 1e8])
    assert float(leaderboard_csv(table).splitlines()[2].split(",")[6]) == mean
    note = next(line for line in leaderboard_markdown(table).splitlines() if line.startswith("Distances"))
    assert "counts 100000000 mm under the policy isles2018" in note
    assert note.endswith(f"Hausdorff [mm] with undefined ones counted: a {mean:.2f} ({sd:.2f}).")
    assert "% Distances are means over the cases that have one" in leaderboard_latex(table)


def test_distances_that_are_ranked_by_are_shown_alike(undefined):
    options = RankingOptions(scheme="mean-then-rank", metrics=["hd95_mm"], resamples=0)
    text = leaderboard_markdown(rank_methods(undefined, options))
    assert text.count("| 8.00 (0.00), 1 undefined |") == 1
    assert "Hausdorff 95 % [mm] with undefined ones counted: a 25000006.00" in text


def test_the_csv_has_no_column_that_is_only_shown(undefined):
    header = leaderboard_csv(rank_methods(undefined, RankingOptions(resamples=0))).splitlines()[0].split(",")
    assert [name for name in header if "defined" in name] == ["hausdorff_mm_defined_mean", "hausdorff_mm_undefined"]


def test_nothing_is_said_of_undefined_distances_where_there_are_none(build):
    table = rank_methods(build({"a": [{}, {}]}), RankingOptions(resamples=0))
    assert "undefined" not in leaderboard_markdown(table) + leaderboard_latex(table)


def test_strata_say_what_undefined_is_where_any_of_them_has_one(undefined):
    tables = {f"fold {fold}": rank_methods(undefined[undefined["case"].isin(names)], RankingOptions(resamples=0))
              for fold, names in enumerate((["case_1"], ["case_2", "case_4"]))}  # fmt: skip
    text = strata_markdown(tables, "fold")
    assert "| 20.00 (0.00), 1 undefined |" in text
    assert text.count("Distances are means over the cases that have one") == 1


def test_markdown_of_a_method_without_any_distance(build):
    table = rank_methods(build({"a": [{"status": "missing"}]}), RankingOptions(resamples=0))
    assert "| 1 undefined |" in leaderboard_markdown(table)


def test_the_published_table_stands_below_and_is_not_mixed_in(table):
    own = leaderboard_markdown(table)
    text = leaderboard_markdown(table, read_published("isles2018"))
    assert text.startswith(own)
    below = text[len(own) :]
    assert "come from other data" in below
    assert (
        "| 1 | songt1 | 0.51 (0.31) | 19354856.39 (39507890.41) | 0.55 (0.36) | 0.55 (0.34) | 10.24 (9.94) |" in below
    )
    assert "| 5 | Liu et al. (MS-DCNN) | 0.44 (0.30) | 19354857.71 (39507889.77) |" in below
    assert "Table 1 of L. Liu" in below


def test_latex_is_a_tabular_with_everything_escaped(build):
    table = rank_methods(build({"a_b & 50 %": [{"dice": 0.44}], "c\\d": [{"dice": 0.4}]}), RankingOptions(resamples=20))
    lines = leaderboard_latex(table).splitlines()
    assert all(line.startswith("% ") for line in lines[:3])
    assert "conditional on these trained networks" in lines[2]
    assert lines[3] == r"\begin{tabular}{rcllrrrrrr}"
    assert lines[5].startswith(r"Rank & 95\,\% set & Group & Method & Missing & Dice & Hausdorff [mm] &")
    assert lines[7].startswith(r"1 & 1--2 & a & a\_b \& 50 \% & 0 & 0.44 (0.00) & 10.00 (0.00) &")
    assert lines[8].startswith(r"2 & 1--2 & a & c\textbackslash{}d & 0 & ")
    assert lines[-1] == r"\end{tabular}"
    assert all(line.endswith(r" \\") for line in (lines[5], *lines[7:9]))


def test_latex_without_resamples_has_no_sets(build):
    text = leaderboard_latex(rank_methods(build({"a": [{}]}), RankingOptions(resamples=0)))
    assert r"{rlrrrrrr}" in text
    assert "set" not in text


def test_numbers_are_printed_as_in_the_paper():
    assert printed(0.444, 0.3) == "0.44 (0.30)"
    assert printed(19354857.71, 39507889.77) == "19354857.71 (39507889.77)"


def test_the_files_are_written_into_a_folder_that_need_not_be_there(table, tmp_path):
    path = tmp_path / "board" / "leaderboard.csv"
    write_leaderboard(path, table)
    assert path.read_bytes() == leaderboard_csv(table).encode()
    assert path.with_suffix(".md").read_bytes() == leaderboard_markdown(table).encode()
    assert not path.with_suffix(".tex").exists()
    write_leaderboard(path, table, published=read_published("isles2018"), latex=True)
    assert "songt1" in path.with_suffix(".md").read_text()
    assert path.with_suffix(".tex").read_bytes() == leaderboard_latex(table).encode()


def test_strata_stand_below_each_other(table, tmp_path):
    tables = {"below 5 mL": table.iloc[:1], "70 mL and more": table.iloc[1:]}
    lines = strata_csv(tables).splitlines()
    assert lines[0].startswith(f"stratum,{CONTRACT}")
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["below 5 mL", "1", "MS-DCNN"],
        ["70 mL and more", "2", "a|[b]"],
    ]
    text = strata_markdown(tables, "size")
    assert text.index("# Leaderboard by size") < text.index("## Below 5 mL") < text.index("## 70 mL and more")
    write_leaderboard(tmp_path / "board.csv", table, strata=tables, by="size")
    assert (tmp_path / "board_by_size.csv").read_text() == strata_csv(tables)
    assert (tmp_path / "board_by_size.md").read_text() == text


def test_each_stratum_says_what_was_resampled_within_it(build):
    small = rank_methods(build({"a": [{}, {}], "b": [{}, {}]}), RankingOptions(resamples=30))
    large = rank_methods(build({"a": [{}] * 5, "b": [{}] * 5}), RankingOptions(resamples=30))
    first, second = strata_markdown({"below 5 mL": small, "70 mL and more": large}, "size").split("## 70 mL")
    assert "Sets from 30 resamples of 2 patients (seed 0)." in first
    head, foot = second.split("95 % set: ")
    assert "Sets from 30 resamples of 5 patients (seed 0)." in head
    assert "patients" not in foot.split("Group:")[0]


def test_all_files_are_written_or_none(table, tmp_path):
    path = tmp_path / "q.csv"
    path.with_suffix(".md").mkdir()
    with pytest.raises(InputError, match=r"q\.md: is not a regular file"):
        write_leaderboard(path, table, latex=True, strata={"fold 1": table}, by="fold")
    assert [found.name for found in tmp_path.iterdir()] == ["q.md"]
    path.with_suffix(".md").rmdir()
    write_leaderboard(path, table, latex=True, strata={"fold 1": table}, by="fold")
    names = ["q.csv", "q.json", "q.md", "q.tex", "q_by_fold.csv", "q_by_fold.md"]
    assert sorted(found.name for found in tmp_path.iterdir()) == names


def test_a_folder_that_may_not_be_written_to_is_left_as_it_is(table, tmp_path):
    path = tmp_path / "q.csv"
    path.with_suffix(".md").symlink_to(tmp_path / "none" / "q.md")
    with pytest.raises(InputError, match=r"q\.md: cannot be written"):
        write_leaderboard(path, table)
    assert not path.exists()


def test_the_metrics_ranked_by_are_named_and_shown(build):
    cases = build({"a": [{"dice": 0.5}, {}], "b": [{"dice": 0.3}, {}]}).assign(seconds=[1, 2, 3, 4])
    table = rank_methods(
        cases, RankingOptions(scheme="rank-then-mean", metrics=["dice", "hd95_mm", "seconds:lower"], resamples=30)
    )
    lines = leaderboard_csv(table).splitlines()
    assert lines[0].endswith(",resamples,seed,metrics")
    assert lines[1].endswith(",30,0,dice;hd95_mm;seconds:lower")
    text = leaderboard_markdown(table)
    assert "scheme rank-then-mean by Dice, Hausdorff 95 % and seconds (lower is better), policy" in text
    assert "| AVD [mL] | Hausdorff 95 % [mm] | seconds | Same side of 70 mL |" in text
    assert "| 1.00 (0.00) | 8.00 (0.00) | 1.50 (0.50) | 100 % |" in text
    assert "Hausdorff 95 \\% [mm] & seconds" in leaderboard_latex(table)


def test_the_scheme_dice_names_no_metrics(table):
    assert "metrics" not in table.columns
    assert "scheme dice, policy" in leaderboard_markdown(table)


def test_unknown_patients_are_cases(build):
    table = rank_methods(build({"a": [{"patient": ""}] * 3}), RankingOptions(resamples=30, seed=4))
    assert "from 30 resamples of 3 cases (patients unknown, seed 4)" in leaderboard_markdown(table)
    assert leaderboard_csv(table).splitlines()[1].endswith(",a,,patient,30,4")
    by_case = rank_methods(build({"a": [{"patient": ""}] * 3}), RankingOptions(resamples=30, unit="case"))
    assert "of 3 cases (seed 0)" in leaderboard_markdown(by_case)


@pytest.mark.parametrize(("resamples", "said"), [(1, True), (18, True), (19, False)])
def test_too_few_resamples_are_said_to_say_nothing(build, resamples, said):
    table = rank_methods(
        build({"a": [{"dice": 0.9}] * 7, "b": [{"dice": 0.1}] * 7}), RankingOptions(resamples=resamples)
    )
    text = leaderboard_markdown(table)
    assert ("sets and groups say nothing" in text) == said
    assert ("sets and groups say nothing" in strata_markdown({"fold 1": table}, "fold")) == said
    assert f"from {resamples} resample{'s' * (resamples > 1)} of 7 patients" in text


def test_published_figures_stand_in_a_column_apart(build):
    dice = {"mine": 0.6, "residual_unet": 0.5, "fcn3d_crf": 0.4, "perfusion_t30": 0.3}
    table = rank_methods(
        build({method: [{"dice": value}] for method, value in dice.items()}), RankingOptions(resamples=0)
    )
    text = leaderboard_markdown(table)
    lines = text.splitlines()
    assert lines[4].endswith("| As published |")
    assert lines[6].endswith("|  |")
    assert lines[7].endswith("| P. Liu: 0.55 (4-fold CV, own folds) |")
    assert lines[8].endswith("| Monteiro & Oliveira: none published (ISLES 2017 MRI) |")
    assert lines[9].endswith("| OpenPerfusion: 0.29 (RAPID on training slabs); Hakim 2021: 0.3 (test set) |")
    assert {line.count("|") for line in lines[4:10]} == {lines[4].count("|")}
    assert "come from other data" in text
    assert "not comparable" in text
    assert (
        "- residual_unet: best mean Dice 0.5523 (4-fold CV, own folds; 94 training slabs of ISLES 2018). Source: "
        in text
    )
    assert [line.split(":")[0] for line in lines if line.startswith("- ")] == [
        "- residual_unet", "- fcn3d_crf", "- perfusion_t30", "- perfusion_t30"
    ]  # fmt: skip
    for other in (leaderboard_csv(table), leaderboard_latex(table)):
        assert "P. Liu" not in other
        assert "published" not in other


def test_no_column_of_published_figures_without_a_figure(build):
    text = leaderboard_markdown(
        rank_methods(build({"Residual_unet": [{}], "fcn3d_crf": [{}]}), RankingOptions(resamples=0))
    )
    assert "published" not in text


def test_groups_and_sets_are_said_to_be_tested_apart(table):
    assert "all pairs are tested at once for the groups, which is stricter" in leaderboard_markdown(table)


def test_a_folder_that_cannot_be_made_is_an_input_error(table, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="its folder cannot be made"):
        write_leaderboard(tmp_path / "file" / "leaderboard.csv", table)


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "[x](http://a.b)", "**a**", "`a`", "_a_", "&lt;a"])
def test_markup_in_a_name_is_text_in_markdown(build, name):
    from markdown_it import MarkdownIt

    table = rank_methods(build({name: [{}]}), RankingOptions(resamples=0))
    html = MarkdownIt("commonmark").enable("table").render(leaderboard_markdown(table))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html)
    assert unescape(cells[1]) == name
    assert not re.search(r"<(?!/?(?:h1|p|table|thead|tbody|tr|th|td)\b)", html)


@pytest.mark.parametrize("name", ["residual_unet", "a-b (c)", "3D U-Net [x]"])
def test_usual_names_stay_as_they_are_in_markdown(build, name):
    assert f"| 1 | {name} |" in leaderboard_markdown(rank_methods(build({name: [{}]}), RankingOptions(resamples=0)))


@pytest.mark.parametrize("name", ["a\nb", "=1+1", "@a", "a\t"])
def test_names_that_no_table_may_hold_are_not_ranked(build, name):
    with pytest.raises(InputError, match="the method"):
        rank_methods(build({name: [{}]}), RankingOptions(resamples=0))


def test_every_table_of_synthetic_rows_says_so(build):
    twin = rank_methods(build({"a": [{"data": "synthetic"}] * 2, "b": [{}] * 2}), RankingOptions(resamples=0))
    lines = leaderboard_csv(twin).splitlines()
    assert [line.rpartition(",")[2] for line in lines] == ["data", "synthetic", ""]
    for text in (leaderboard_markdown(twin), strata_markdown({"fold 1": twin}, "fold")):
        assert f"**{SYNTHETIC}**" in text
    assert "{Synthetic data: invented patients.}" in leaderboard_latex(twin)
    other = rank_methods(build({"a": [{}] * 2}), RankingOptions(resamples=0))
    assert (
        "synthetic"
        not in "".join(
            (
                leaderboard_csv(other),
                leaderboard_markdown(other),
                leaderboard_latex(other),
                strata_markdown({"x": other}, "fold"),
            )
        ).lower()
    )
