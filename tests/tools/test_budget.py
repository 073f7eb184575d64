"""Recipes with a share of the epochs, and Dice against what trainings took."""

from __future__ import annotations

from argparse import Namespace

import pandas as pd
import pytest
import yaml
from scripts import script

from benchmark.suite.config import method_config, read_suite
from leaderboard.cases import cases_frame, write_cases
from leaderboard.errors import InputError


@pytest.fixture(scope="module")
def budget():
    with script("budget") as module:
        yield module


@pytest.mark.parametrize(
    ("epochs", "warmup", "share", "left", "warms"),
    [(120, 5, 0.25, 30, 1.25), (6, 2, 0.5, 3, 1.0), (5, 2, 0.25, 1, 0.4), (2, 1, 0.1, 1, 0.5), (6, 2, 2, 12, 4.0)],
)
def test_a_warm_up_keeps_its_share_of_the_epochs_that_are_left(budget, epochs, warmup, share, left, warms):
    config = {"trainer": {"max_epochs": epochs}, "model": {"init_args": {"warmup_epochs": warmup, "base": 32}}}
    assert budget.scaled_recipe(config, share) == {
        "trainer": {"max_epochs": left}, "model": {"init_args": {"warmup_epochs": pytest.approx(warms)}}
    }  # fmt: skip
    assert budget.scaled_recipe({"trainer": {"max_epochs": 4}, "model": {}}, 0.5) == {"trainer": {"max_epochs": 2}}


def test_a_suite_with_half_the_epochs_is_otherwise_the_suite(budget, tmp_path):
    (tmp_path / "half.yaml").write_text(yaml.safe_dump(budget.scaled_suite(budget.find_config("tuning"), 0.5)))
    full, half = read_suite(budget.find_config("tuning")), read_suite(tmp_path / "half.yaml")
    assert (half.name, half.twin, half.seeds, half.methods) == ("tuning-0.5", full.twin, full.seeds, full.methods)
    for method in full.methods:
        old, new = method_config(full, method, {}), method_config(half, method, {})
        if method.startswith(("perfusion", "all")):
            assert new == old
            continue
        assert new["trainer"].pop("max_epochs") == round(old["trainer"].pop("max_epochs") / 2)
        for config in (old, new):
            config["model"]["init_args"].pop("warmup_epochs", None)
        assert new == old


def test_a_fold_file_beside_the_suite_is_still_found_from_elsewhere(budget, tmp_path):
    (tmp_path / "folds.csv").touch()
    suite = {"name": "mine", "methods": ["strokenet"], "folds": {"file": "folds.csv"}}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    content = budget.scaled_suite(tmp_path / "suite.yaml", 0.5)
    assert content["folds"] == {"file": str(tmp_path / "folds.csv")}
    assert content["overrides"] == {"strokenet": {"trainer": {"max_epochs": 150}}}


def write_tables(folder, dice, steps, cases=("a", "b"), seeds=(0, 1)):
    """Tables of a network that scores `dice` by seed on the first of two cases, and misses the other; and of a rule."""
    folder.mkdir()
    rows = [
        {
            "method": method,
            "case": case,
            "patient": case,
            "fold": place,
            "status": status,
            "seed": seed,
            "dice": value,
            "reference_ml": 1.0,
        }
        for method, own in (("net", seeds), ("rule", (None,)))
        for seed in own
        for place, (case, status, value) in enumerate(
            zip(cases, ("ok", "missing"), (dice + 0.1 * (seed or 0), None), strict=True)
        )
    ]
    write_cases(folder / "cases.csv", cases_frame(rows))
    costs = [
        {"method": "net", "seed": seed, "folds": 2, "parameters": 9, "steps": 2 * steps, "slices_seen": 8 * steps,
         "training_gmac": 3.0 * steps, "fit_seconds": 1.0}
        for seed in seeds
    ]  # fmt: skip
    rule = {"method": "rule", "folds": 2, "parameters": 0, "steps": 0, "slices_seen": 0, "training_gmac": 0.0}
    pd.DataFrame([*costs, rule]).astype({"seed": "Int64"}).to_csv(folder / "costs.csv", index=False)


def test_each_budget_is_a_row_with_the_mean_over_cases_and_folds_of_one_training(budget, tmp_path, capsys):
    write_tables(tmp_path / "full", 0.6, 4000)
    write_tables(tmp_path / "half", 0.4, 2000)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{budget.MARKERS[0]}\nold\n{budget.MARKERS[1]}\nafter\n")
    options = budget.parsed(["figure", str(tmp_path / "full"), str(tmp_path / "half"), "--page", str(page)])
    assert options.command(options) == 0
    # A missing prediction counts 0, so half of each Dice is left; a training is one of two folds.
    table = (
        "| method | steps | slices seen | GMAC | Dice | by seed |\n"
        "|---|---:|---:|---:|---:|---|\n"
        "| `net` | 2,000 | 8,000 | 3,000 | 0.225 | 0.200, 0.250 |\n"
        "| `net` | 4,000 | 16,000 | 6,000 | 0.325 | 0.300, 0.350 |"
    )
    assert capsys.readouterr().out == f"{table}\n"
    alt = "Mean Dice against the budget of a training, a line a method"
    assert (
        page.read_text() == f"before\n{budget.MARKERS[0]}\n{table}\n\n![{alt}](page.png)\n{budget.MARKERS[1]}\nafter\n"
    )
    picture = page.with_suffix(".png")
    assert picture.read_bytes()[:4] == b"\x89PNG"
    first = picture.read_bytes()
    assert options.command(options) == 0
    assert picture.read_bytes() == first


def test_the_figure_has_a_line_a_method_on_a_logarithmic_axis(budget, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(budget.plt, "close", drawn.append)
    found = pd.DataFrame(
        {"suite": ["f", "f", "h", "h"], "method": "net", "seed": [0, 1, 0, 1], "dice": [0.3, 0.4, 0.1, 0.2],
         "steps": [40, 40, 20, 20]}
    )  # fmt: skip
    budget.draw(found, "steps", tmp_path / "picture.png")
    (axes,) = drawn[0].axes
    line, dots = axes.get_lines()
    assert axes.get_xscale() == "log"
    assert line.get_xydata().ravel().tolist() == pytest.approx([20, 0.15, 40, 0.35])
    assert sorted(map(tuple, dots.get_xydata())) == [(20, 0.1), (20, 0.2), (40, 0.3), (40, 0.4)]


def test_suites_on_other_cases_and_tables_without_a_budget_are_refused(budget, tmp_path):
    write_tables(tmp_path / "full", 0.6, 4000)
    write_tables(tmp_path / "other", 0.6, 2000, cases=("a", "c"))
    options = budget.parsed(["figure", str(tmp_path / "full"), str(tmp_path / "other")])
    with pytest.raises(InputError, match=r"other: holds other cases or folds than .*full: choose the same"):
        options.command(options)
    costs = pd.read_csv(tmp_path / "full" / "costs.csv")
    costs.drop(columns="steps").to_csv(tmp_path / "full" / "costs.csv", index=False)
    options = budget.parsed(["figure", str(tmp_path / "full")])
    with pytest.raises(InputError, match="has no column steps"):
        options.command(options)
    costs.assign(steps=None).to_csv(tmp_path / "full" / "costs.csv", index=False)
    with pytest.raises(InputError, match="the budget of net is not known"):
        options.command(options)
    costs.assign(method=costs["method"].replace("net", "nets")).to_csv(tmp_path / "full" / "costs.csv", index=False)
    with pytest.raises(InputError, match="hold other trainings of nets"):
        options.command(options)
    write_tables(tmp_path / "half", 0.6, 2000)
    both = budget.parsed(["figure", str(tmp_path / "full"), str(tmp_path / "half")])
    costs.query("method != 'net'").to_csv(tmp_path / "full" / "costs.csv", index=False)
    with pytest.raises(InputError, match="net: not in every suite"):
        both.command(both)
    (tmp_path / "bare.md").write_text("no markers")
    with pytest.raises(InputError, match="has no lines"):
        budget.publish("table", tmp_path / "bare.md", budget.MARKERS, budget.ALT, lambda picture: None)


@pytest.mark.parametrize("share", ["nan", "inf", "0", "-1"])
def test_a_share_that_is_no_positive_number_is_refused_and_nothing_written(budget, share, tmp_path):
    with pytest.raises(InputError, match="is no number greater than 0"):
        budget.recipes(Namespace(share=float(share), suite="configs/tuning.yaml", out=tmp_path / "share.yaml"))
    assert not list(tmp_path.iterdir())


def test_a_suite_is_written_once_and_no_file_is_replaced(budget, tmp_path):
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"name": "mine", "methods": ["strokenet"]}))
    options = budget.parsed(
        ["recipes", str(tmp_path / "suite.yaml"), "--share", "0.5", "--out", str(tmp_path / "half.yaml")]
    )
    assert options.command(options) == 0
    assert read_suite(tmp_path / "half.yaml").name == "mine-0.5"
    (tmp_path / "half.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"--out .*half\.yaml: is there already: name a new file, or remove it first"):
        options.command(options)
    assert (tmp_path / "half.yaml").read_text() == "mine"
