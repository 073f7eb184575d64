"""Each preset against its challenge's rules, written out once more in plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest

from leaderboard.cases import cases_frame
from leaderboard.columns import METRICS
from leaderboard.errors import InputError
from leaderboard.presets import PRESETS, find_preset
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.parts import rank_parts
from leaderboard.ranking.policies import POLICIES
from leaderboard.ranking.ranks import rank_methods
from leaderboard.ranking.reading import read_matrices
from leaderboard.ranking.schemes import SCHEMES
from leaderboard.scoring.one_case import score_case

SPACING = (0.9, 1.1, 4.0)
VOXEL_ML = 0.9 * 1.1 * 4.0 / 1000
SHAPE = (6, 5, 4)
#: Three methods in each of a hundred cases: 300 pairs of masks.
METHODS, CASES = ("a", "b", "c"), 100

Mask = np.ndarray
Voxel = tuple[int, int, int]


def voxels(mask: Mask) -> list[Voxel]:
    """Its voxels, the first axis running fastest."""
    nx, ny, nz = mask.shape
    return [(x, y, z) for z in range(nz) for y in range(ny) for x in range(nx) if mask[x, y, z]]


def parts(mask: Mask, corners: bool) -> list[list[Voxel]]:
    """Connected parts in the order of their first voxels, over 26 neighbours or over 6."""
    steps = [step for step in product((-1, 0, 1), repeat=3) if any(step) and (corners or sum(map(abs, step)) == 1)]
    left, found = dict.fromkeys(voxels(mask)), []
    while left:
        part = [next(iter(left))]
        del left[part[0]]
        for x, y, z in part:
            for i, j, k in steps:
                if (x + i, y + j, z + k) in left:
                    del left[x + i, y + j, z + k]
                    part.append((x + i, y + j, z + k))
        found.append(part)
    return found


def dice(p: Mask, r: Mask) -> float:
    total = len(voxels(p)) + len(voxels(r))
    return 2 * len(voxels(p & r)) / total if total else 1.0


def precision(p: Mask, r: Mask) -> float:
    if not p.any() and not r.any():
        return 1.0
    return len(voxels(p & r)) / len(voxels(p)) if p.any() else 0.0


def recall(p: Mask, r: Mask) -> float:
    return precision(r, p)


def hausdorff(p: Mask, r: Mask) -> float:
    """1e8 mm where one mask is empty, 0 where both are."""
    if not (p.any() and r.any()):
        return 0.0 if p.any() == r.any() else 1e8

    def edge(mask: Mask) -> list[Voxel]:
        inside = set(voxels(mask))
        steps = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
        return [v for v in inside if any((v[0] + i, v[1] + j, v[2] + k) not in inside for i, j, k in steps)]

    places = [np.array(edge(mask)) * SPACING for mask in (p, r)]
    apart = np.linalg.norm(places[0][:, None] - places[1][None], axis=2)
    return float(max(apart.min(axis=0).max(), apart.min(axis=1).max()))


def volume_difference(p: Mask, r: Mask) -> float:
    return abs(len(voxels(p)) - len(voxels(r))) * VOXEL_ML


def count_difference(p: Mask, r: Mask) -> float:
    return abs(len(parts(p, corners=True)) - len(parts(r, corners=True)))


def count_difference_over_faces(p: Mask, r: Mask) -> float:
    return abs(len(parts(p, corners=False)) - len(parts(r, corners=False)))


def f1_by_touch(p: Mask, r: Mask) -> float:
    found = missed = false = 0
    for lesion in parts(r, corners=True):
        hit = any(p[voxel] for voxel in lesion)
        found, missed = found + hit, missed + (not hit)
    for lesion in parts(p, corners=True):
        false += not any(r[voxel] for voxel in lesion)
    return found / (found + (false + missed) / 2) if found + false + missed else 1.0


def f1_by_match(least: float) -> Callable[[Mask, Mask], float]:
    def f1(p: Mask, r: Mask) -> float:
        predicted, present = ([set(part) for part in parts(mask, corners=True)] for mask in (p, r))
        if not predicted and not present:
            return 1.0
        pairs = [(len(a & b) / len(a | b), i, j) for i, a in enumerate(predicted) for j, b in enumerate(present)]
        hits, used = 0, (set(), set())
        for overlap, i, j in sorted(pairs, key=lambda pair: -pair[0]):
            if overlap >= least and i not in used[0] and j not in used[1]:
                used[0].add(i)
                used[1].add(j)
                hits += 1
        return hits / (hits + (len(predicted) - hits + len(present) - hits) / 2)

    return f1


#: Of each preset by metric: the value of a case, and whether more is better.
VALUES: dict[str, dict[str, tuple[Callable[[Mask, Mask], float], bool]]] = {
    "isles2018": {
        "dice": (dice, True), "hausdorff_mm": (hausdorff, False), "precision": (precision, True),
        "recall": (recall, True), "avd_ml": (volume_difference, False),
    },
    "isles2022": {
        "dice": (dice, True), "avd_ml": (volume_difference, False),
        "lesion_count_difference": (count_difference, False), "lesion_f1": (f1_by_touch, True),
    },
    "isles2024": {
        "dice": (dice, True), "avd_ml": (volume_difference, False),
        "lesion_count_difference": (count_difference, False), "lesion_f1_iou20": (f1_by_match(0.2), True),
    },
    "isles2026": {
        "dice": (dice, True), "avd_ml": (volume_difference, False),
        "lesion_count_difference": (count_difference, False), "lesion_f1_iou25": (f1_by_match(0.25), True),
    },
    "atlas2": {
        "dice": (dice, True), "avd_ml": (volume_difference, False),
        "lesion_count_difference_6": (count_difference_over_faces, False), "lesion_f1": (f1_by_touch, True),
    },
}  # fmt: skip


def ranks(values: Sequence[float], more_is_better: bool) -> list[int]:
    """1 + the number of those that are better."""
    return [1 + sum(o > v if more_is_better else o < v for o in np.round(values, 12)) for v in np.round(values, 12)]


def area(p: Mask, r: Mask) -> float:
    """Under precision over recall by trapezoids, one threshold after the other; an empty reference: is the map flat?"""
    scores = [(float(s), bool(lesion)) for s, lesion in zip(np.ravel(p), np.ravel(r), strict=True)]
    present = sum(lesion for _, lesion in scores)
    if not present:
        return float(len({s for s, _ in scores}) == 1)
    curve, total = [(0.0, 1.0)], 0.0
    for threshold in sorted({s for s, _ in scores}, reverse=True):
        taken = [lesion for s, lesion in scores if s >= threshold]
        curve.append((sum(taken) / present, sum(taken) / len(taken)))
    for (x, y), (further, height) in pairwise(curve):
        total += (further - x) * (y + height) / 2
    return total


def map_of(mask: Mask, seed: int) -> np.ndarray:
    """A coarse probability map above 0.5 where the mask is; constant for an empty one."""
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    steps = np.random.default_rng(seed).integers(0, 6, mask.shape)
    return ((steps + 5 * mask) / 10).astype(np.float32)


def random_pairs() -> dict[tuple[str, int], tuple[Mask | None, Mask]]:
    """Prediction, if any, and reference by method and case: three qualities, some empty, some missing."""
    random = np.random.default_rng(11)
    pairs: dict[tuple[str, int], tuple[Mask | None, Mask]] = {}
    for case in range(CASES):
        reference = random.random(SHAPE) < random.choice([0, 0.03, 0.15, 0.3], p=[0.1, 0.3, 0.3, 0.3])
        for method, noise in zip(METHODS, (0.02, 0.1, 0.3), strict=True):
            prediction = reference ^ (random.random(SHAPE) < noise)
            kind = random.random()
            pairs[method, case] = (None if kind < 0.05 else prediction & (kind > 0.12), reference)
    return pairs


def hand_made_pairs() -> dict[tuple[str, int], tuple[Mask | None, Mask]]:
    """Each case for three methods: with the reference, with another mask, and with one that is empty or missing."""

    def mask(*places: Voxel) -> Mask:
        result = np.zeros(SHAPE, bool)
        for place in places:
            result[place] = True
        return result

    nothing, one, whole = mask(), mask((2, 2, 1)), np.ones(SHAPE, bool)
    touching = mask((1, 1, 1), (2, 2, 2), (4, 4, 0), (4, 4, 1))  # the first two by a corner
    bar, fifth = mask(*((x, 0, 0) for x in range(5))), mask((0, 0, 0))  # an overlap of exactly 0.2
    quarter = mask(*((x, 0, 0) for x in range(1, 5)))
    cases = [
        (nothing, [nothing, one, None]), (one, [one, nothing, None]), (one, [one, mask((2, 2, 2)), whole]),
        (touching, [touching, mask((1, 1, 1), (4, 4, 0)), nothing]), (bar, [bar, fifth, None]),
        (quarter, [fifth, mask((1, 0, 0)), nothing]), (whole, [whole, one, nothing]), (nothing, [nothing] * 3),
        (bar, [mask((0, 0, 0), (2, 0, 0), (4, 0, 0)), bar, whole]),
    ]  # fmt: skip
    return {
        (method, number): (prediction, reference)
        for number, (reference, predictions) in enumerate(cases)
        for method, prediction in zip(METHODS, predictions, strict=True)
    }


PAIRS = {"random": random_pairs, "hand-made": hand_made_pairs}


def scored(pairs: dict[tuple[str, int], tuple[Mask | None, Mask]]) -> pd.DataFrame:
    """The rows of cases.csv."""
    rows: list[dict[str, object]] = []
    for (method, case), (prediction, reference) in pairs.items():
        probabilities = None if prediction is None else map_of(prediction, case)
        measures = score_case(prediction, reference, SPACING, probabilities)
        rows.append({"method": method, "case": f"case_{case}", **measures})
    return cases_frame(rows)


def expected(preset: str, pairs: dict[tuple[str, int], tuple[Mask | None, Mask]]) -> dict[str, np.ndarray]:
    """By metric, the value of each method in each case; a missing one is 0 or the difference from an empty mask."""
    values: dict[str, np.ndarray] = {}
    measures = VALUES[preset] | ({"pr_auc": (area, True)} if preset == "isles2026" else {})
    for name, (measure, more_is_better) in measures.items():
        values[name] = np.zeros((len(METHODS), len(pairs) // len(METHODS)))
        for (method, case), (prediction, reference) in pairs.items():
            if prediction is None and more_is_better:
                value = 0.0
            elif prediction is None:
                value = 1e8 if name == "hausdorff_mm" else measure(np.zeros_like(reference), reference)
            else:
                value = measure(map_of(prediction, case) if name == "pr_auc" else prediction, reference)
            values[name][METHODS.index(method), case] = value
    return values


def score_of(preset: str, pairs: dict[tuple[str, int], tuple[Mask | None, Mask]]) -> list[float]:
    """What the challenge orders the methods by."""
    values = expected(preset, pairs)
    better = {name: more for name, (_, more) in VALUES[preset].items()} | {"pr_auc": True}
    if preset == "isles2018":
        return [sum(row) / len(row) for row in values["dice"]]
    if preset == "atlas2":
        by_metric = [ranks([sum(row) / len(row) for row in matrix], better[name]) for name, matrix in values.items()]
        return [sum(column) / len(column) for column in zip(*by_metric, strict=True)]
    found = np.zeros(len(METHODS))
    cases = len(pairs) // len(METHODS)
    for case in range(cases):
        absent = [pairs[method, case][0] is None for method in METHODS]
        for name, matrix in values.items():
            worst = -math.inf if better[name] else math.inf
            column = [worst if gone else value for gone, value in zip(absent, matrix[:, case], strict=True)]
            places = ranks(column, better[name])
            found += [len(METHODS) if gone else place for gone, place in zip(absent, places, strict=True)]
    return (found / len(values) / cases).tolist()


@pytest.fixture(scope="module", params=PAIRS)
def challenge(request: pytest.FixtureRequest):
    pairs = PAIRS[request.param]()
    return pairs, scored(pairs)


@pytest.mark.parametrize("preset", PRESETS)
def test_values_and_order_are_those_of_the_rules_written_out_again(preset: str, challenge) -> None:
    pairs, cases = challenge
    options = RankingOptions.of_preset(preset, resamples=0)
    _, matrices = read_matrices(cases, options)
    values = expected(preset, pairs)
    assert list(values) == list(PRESETS[preset].metrics)
    for name, value in values.items():
        assert matrices.values[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    table = rank_methods(cases, options).sort_values("method")
    assert table["score"].tolist() == pytest.approx(score_of(preset, pairs), abs=1e-6)
    assert table["rank"].tolist() == ranks(score_of(preset, pairs), PRESETS[preset].scheme == "dice")
    assert set(table["preset"]) == {preset}


def test_what_presets_name_exists() -> None:
    for preset in PRESETS.values():
        assert set(preset.metrics) <= set(METRICS)
        assert preset.scheme in SCHEMES
        assert preset.policy in POLICIES
        assert all((preset.empty, preset.missing, preset.sources))


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean isles2022"):
        find_preset("isles222")


def test_options_that_are_not_the_presets_are_refused() -> None:
    with pytest.raises(InputError, match="not those of the preset isles2022"):
        RankingOptions(preset="isles2022")


def test_ranking_by_maps_without_maps_says_how_to_get_them(challenge) -> None:
    _, cases = challenge
    with pytest.raises(InputError, match="--probabilities"):
        rank_methods(cases.drop(columns=["pr_auc"]), RankingOptions.of_preset("isles2026", resamples=0))


def test_parts_are_ranked_one_by_one_and_weighed(build) -> None:
    """Three methods by Dice and AVD; in the hidden part, which weighs four times, b is ahead of a."""
    public = build(
        {"a": [{"dice": 0.9, "avd_ml": 1}], "b": [{"dice": 0.5, "avd_ml": 2}], "c": [{"dice": 0.5, "avd_ml": 9}]}
    )
    hidden = build(
        {"a": [{"dice": 0.4, "avd_ml": 3}], "b": [{"dice": 0.6, "avd_ml": 3}], "c": [{"dice": 0.1, "avd_ml": 8}]}
    )
    options = RankingOptions(scheme="mean-then-rank", metrics=("dice", "avd_ml"), resamples=0)
    table = rank_parts({"public": public, "hidden": hidden}, PRESETS["atlas2"].weights, options)
    # public: a 1 and 1, b 2 and 2, c 2 and 3; hidden: a 2 and 1, b 1 and 1, c 3 and 3
    assert table.to_dict("list") == {
        "rank": [1, 2, 3], "method": ["b", "a", "c"], "score": [(2 + 4) / 5, (1 + 6) / 5, (2.5 + 12) / 5],
        "public": [2, 1, 2.5], "hidden": [1, 1.5, 3],
    }  # fmt: skip


def test_parts_without_weights_and_methods_in_one_part_are_refused(build) -> None:
    one, two = build({"a": [{}]}), build({"a": [{}], "b": [{}]})
    options = RankingOptions(resamples=0)
    with pytest.raises(InputError, match="need weights"):
        rank_parts({"public": one}, {"hidden": 1}, options)
    with pytest.raises(InputError, match="the part public: has no rows of b"):
        rank_parts({"public": one, "hidden": two}, {"public": 1, "hidden": 4}, options)


def test_every_output_of_a_preset_with_weights_says_that_commands_do_not_weigh() -> None:
    words = "ranked as one part, not weighted; rank_parts in Python weighs"
    assert {name for name, preset in PRESETS.items() if words in " ".join(preset.rules.values())} == {
        name for name, preset in PRESETS.items() if preset.weights
    }
