"""The script that sets the twin's figures beside the real ones."""

import json

import numpy as np
import pytest
from scipy import ndimage
from scripts import script

from benchmark.cohort.twin import write_twin


@pytest.fixture(scope="module")
def figures():
    with script("twin_figures") as module:
        yield module


def test_area_under_curve_counts_pairs(figures):
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[positive] for b in score[~positive]]
    assert figures.area_under_curve(score, positive) == pytest.approx(np.mean(pairs))
    assert np.isnan(figures.area_under_curve(score, np.zeros(60, dtype=bool)))


@pytest.mark.parametrize(("angle", "shift"), [(0, 0), (7, 6), (-10, -9)])
def test_the_midline_of_a_turned_and_shifted_head_is_found(figures, angle, shift):
    x, y = np.meshgrid(np.arange(-64, 64) * 2.0, np.arange(-64, 64) * 2.0, indexing="ij")
    normal = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    across = normal[0] * (x - shift) + normal[1] * y
    along = -normal[1] * (x - shift) + normal[0] * y
    brain = (across / 65) ** 2 + (along / 85) ** 2 < 1
    ct = np.where((np.abs(across) < 8) & (along > 0) & (along < 40), 10.0, 30.0) * brain
    left = figures.left_of_midline(ct[..., None], brain[..., None], (2.0, 2.0, 5.0))
    assert (left == (across > 0))[brain].mean() > 0.97


def test_relative_flow_is_that_of_the_opposite_side(figures):
    cbf = np.array([[[10.0], [20.0]], [[40.0], [60.0]]])
    left = np.array([[True, True], [False, False]])
    found = figures.relative_cbf(cbf, np.ones(cbf.shape, dtype=bool), left)
    np.testing.assert_allclose(found[..., 0], [[0.2, 0.4], [40 / 15, 4.0]])


def test_smoothing_sees_only_the_mask(figures):
    mask = np.zeros((30, 30, 2), dtype=bool)
    mask[10:20, 10:20] = True
    image = np.where(mask, 5.0, 1e6)
    np.testing.assert_allclose(figures.gaussian(image, mask, (1.0, 1.0, 5.0))[mask], 5.0, rtol=1e-4)


def test_small_components_are_dropped_and_others_kept(figures):
    mask = np.zeros((10, 10, 1), dtype=bool)
    mask[1:4, 1:4] = mask[7, 7] = True
    expected = mask.copy()
    expected[7, 7] = False
    np.testing.assert_array_equal(figures.without_small(mask, voxel_ml=0.2), expected)
    assert not figures.without_small(np.zeros_like(mask), 0.2).any()


def test_overlap_of_known_masks(figures):
    reference, prediction = np.zeros((10, 10), dtype=bool), np.zeros((10, 10), dtype=bool)
    reference[:4, :5], prediction[2:7, :5] = True, True
    assert figures.overlap(prediction, reference, 0.5) == pytest.approx((20 / 45, 10 / 25, 10 / 20, 12.5))
    assert figures.overlap(prediction & False, reference, 0.5) == (0, 0, 0, 0)


def test_margins_and_fluid_are_left_out(figures):
    brain = np.zeros((256, 256, 1), dtype=bool)
    brain[60:200, 60:200] = True
    ct = np.where(brain, 32.0, 0.0)
    ct[120:140, 120:140] = 8.0
    cbf = np.where(brain, 200.0, 0.0)
    valid = figures.valid_mask({"CT": ct, "CT_CBF": cbf}, brain, (0.9, 0.9, 5.0))
    assert not valid[120:140, 120:140].any()
    assert not (valid & ~ndimage.binary_erosion(brain, np.ones((3, 3, 1)), iterations=2)).any()
    assert valid[80, 80, 0]


def test_table_readme_and_pictures_of_a_small_twin(figures, tmp_path, capsys):
    root, out = tmp_path / "twin", tmp_path / "docs"
    write_twin(root, cases=7, size=32, seed=0, test_cases=1, jobs=1)
    out.mkdir()
    (out / "README.md").write_text(f"# Title\n{figures.MARKERS[0]}\nold\n{figures.MARKERS[1]}\nrest\n")
    figures.main([str(root), "--out", str(out)])
    table = capsys.readouterr().out
    assert "7 training" in table
    assert "1 testing" in table
    assert len(table.splitlines()) == 2 + len(figures.REAL)
    readme = (out / "README.md").read_text()
    assert readme == f"# Title\n{figures.MARKERS[0]}\n{table}{figures.MARKERS[1]}\nrest\n"
    drawn = {f"case_{case}.png" for case in figures.PICTURED if case <= 7}
    assert {path.name for path in out.glob("*.png")} == drawn
    assert drawn


def test_a_twin_of_another_format_gets_a_picture_and_no_table(figures, tmp_path, capsys):
    root, out = tmp_path / "twin", tmp_path / "docs"
    write_twin(root, cases=2, size=32, seed=0, jobs=1, format_name="isles2022")
    figures.main([str(root), "--out", str(out)])
    assert capsys.readouterr().out == ""
    assert [path.name for path in out.iterdir()] == ["isles2022.png"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_acceptance_figures_hold(figures, tmp_path, seed):
    root = tmp_path / "twin"
    write_twin(root, cases=94, size=128, seed=seed)
    assert json.loads((root / "twin.json").read_text())["cases"] == 94
    (summary,) = figures.measure_cohort(root, root).values()
    for name, (_, accepted) in figures.REAL.items():
        if accepted:
            assert accepted[0] <= summary[name][1] <= accepted[1], name
