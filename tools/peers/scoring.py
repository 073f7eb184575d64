"""Our scoring beside medpy's, MONAI's and panoptica's, on the same masks: seconds a case, and values.

    pip install torch==2.13.0
    pip install . monai==1.6.1 panoptica==2.1.7        # without -c constraints.txt: panoptica wants pandas 2
    python tools/peers/scoring.py --cohort COHORT --out scoring.json

COHORT is a twin, ``benchmark twin COHORT --cases 94 --size 256``. Its references are scored against predictions that
are the references disturbed, some of them (and some references) emptied. Everything is in memory and runs in one
thread; seconds are processor time, the best of the rounds, in which the libraries take turns. ``docs/peers.md`` has
the result, `definitions` the reasons why values differ.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from medpy.metric import binary
from scipy import ndimage

from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError
from leaderboard.io.images import read_volume, write_text
from leaderboard.scoring.metrics import crop_to_joint_box, measure
from leaderboard.scoring.surface import border
from leaderboard.shell import run_command

NEEDED = ("torch", "monai", "panoptica")
VERSIONS = ("isles-benchmark", "MedPy", "monai", "panoptica", "torch", "numpy", "scipy")
METRICS = ("dice", "precision", "recall", "hausdorff_mm", "hd95_mm", "assd_mm")
#: Lesions matched one to one at an IoU, as the organisers of ISLES 2024 and 2026 have panoptica do it.
MATCHED = {"lesion_f1_iou20": 0.2, "lesion_f1_iou25": 0.25}
#: Below this a difference is rounding: MONAI computes in float32.
ROUNDING = 1e-3

Scores = dict[str, float]


class Pair(NamedTuple):
    """Two masks, boolean, shape (X, Y, Z), and the size of a voxel in mm."""

    prediction: np.ndarray
    reference: np.ndarray
    spacing_mm: tuple[float, ...]


# Ways to score a pair


def ours(pair: Pair) -> Scores:
    """`leaderboard.scoring.metrics.measure`: what a peer has, and more."""
    scores = measure(*pair)
    return {metric: scores[metric] for metric in (*METRICS, *MATCHED)}


def medpy_loop(pair: Pair) -> Scores:
    """The body of a plain loop over medpy's functions; NaN where medpy refuses."""
    masks = pair.prediction, pair.reference

    def distance(function: Callable[..., float]) -> float:
        try:
            return float(function(*masks, pair.spacing_mm))
        except RuntimeError:  # a mask is empty
            return math.nan

    overlaps = (binary.dc, binary.precision, binary.recall)
    values = [float(function(*masks)) for function in overlaps]
    values += [distance(function) for function in (binary.hd, binary.hd95, binary.assd)]
    return dict(zip(METRICS, values, strict=True))


class Monai:
    """MONAI's metric classes, as documented: one channel, batches of one, no reduction."""

    def __init__(self) -> None:
        from monai import metrics

        self.dice = metrics.DiceMetric(include_background=True, reduction="none")
        self.confusion = metrics.ConfusionMatrixMetric(
            include_background=True, metric_name=["precision", "sensitivity"], reduction="none"
        )
        self.distances = [
            metrics.HausdorffDistanceMetric(include_background=True, reduction="none"),
            metrics.HausdorffDistanceMetric(include_background=True, percentile=95, reduction="none"),
            metrics.SurfaceDistanceMetric(include_background=True, symmetric=True, reduction="none"),
        ]

    def __call__(self, pair: Pair) -> Scores:
        """Score one pair."""
        import torch

        tensors = [torch.from_numpy(np.ascontiguousarray(mask))[None, None].float() for mask in pair[:2]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a mask is empty, and of what MONAI will change
            self.dice(*tensors)
            self.confusion(*tensors)
            for metric in self.distances:
                metric(*tensors, spacing=pair.spacing_mm)
        results = [self.dice.aggregate(), *self.confusion.aggregate(), *(way.aggregate() for way in self.distances)]
        for metric in (self.dice, self.confusion, *self.distances):
            metric.reset()
        return {name: float(result) for name, result in zip(METRICS, results, strict=True)}


class Panoptica:
    """panoptica's evaluator with the four of our metrics that it has.

    Args:
        instances: True for its own way, connected components that are matched and scored one by one, with metrics of
            the whole masks (``global``) beside; False to give it the whole mask as one matched instance.
    """

    def __init__(self, instances: bool) -> None:
        import panoptica
        from panoptica.metrics import Metric
        from panoptica.utils.edge_case_handling import EdgeCaseHandler, EdgeCaseResult, MetricZeroTPEdgeCaseHandling

        panoptica.disable_citation_reminder()
        metrics = [Metric.DSC, Metric.HD, Metric.HD95, Metric.ASSD]
        # its defaults for masks without a match; the Hausdorff distances have none (it raises), so they get ASSD's
        rules = {metric: EdgeCaseResult.ZERO if metric == Metric.DSC else EdgeCaseResult.INF for metric in metrics}
        edges = EdgeCaseHandler(
            {
                metric: MetricZeroTPEdgeCaseHandling(default_result=rule, no_instances_result=EdgeCaseResult.NAN)
                for metric, rule in rules.items()
            }
        )
        if instances:
            self.evaluator = panoptica.Panoptica_Evaluator(
                expected_input=panoptica.InputType.SEMANTIC,
                instance_approximator=panoptica.ConnectedComponentsInstanceApproximator(),
                instance_matcher=panoptica.NaiveThresholdMatching(),
                instance_metrics=metrics,
                global_metrics=metrics,
                edge_case_handler=edges,
            )
        else:
            self.evaluator = panoptica.Panoptica_Evaluator(
                expected_input=panoptica.InputType.MATCHED_INSTANCE,
                instance_metrics=metrics,
                global_metrics=[],
                edge_case_handler=edges,
            )

    def evaluate(self, pair: Pair) -> dict[str, Any]:
        """What panoptica returns, by its own names."""
        prediction, reference = (mask.astype(np.uint8) for mask in pair[:2])
        result = self.evaluator.evaluate(prediction, reference, voxelspacing=pair.spacing_mm)["ungrouped"]
        return dict(result.to_dict())

    def __call__(self, pair: Pair) -> Scores:
        """Score one pair: the instances' means (``sq_``)."""
        return by_our_names(self.evaluate(pair), "sq_")


class MatchedLesions:
    """panoptica's F1 of lesions (`rq`), one evaluator for each IoU."""

    def __init__(self) -> None:
        import panoptica

        self.evaluators = {
            name: panoptica.Panoptica_Evaluator(
                expected_input=panoptica.InputType.SEMANTIC,
                instance_approximator=panoptica.ConnectedComponentsInstanceApproximator(),
                instance_matcher=panoptica.NaiveThresholdMatching(matching_threshold=least),
                instance_metrics=[panoptica.metrics.Metric.DSC],
                global_metrics=[],
            )
            for name, least in MATCHED.items()
        }

    def __call__(self, pair: Pair) -> Scores:
        """Score one pair."""
        prediction, reference = (mask.astype(np.uint8) for mask in pair[:2])
        return {
            name: float(evaluator.evaluate(prediction, reference, verbose=False)["ungrouped"].rq)
            for name, evaluator in self.evaluators.items()
        }


def by_our_names(result: dict[str, Any], prefix: str) -> Scores:
    """Values of panoptica with a prefix under our names; `prec` and `rec` count instances and belong to `sq_` alone."""
    names = {"dice": "dsc", "hausdorff_mm": "hd", "hd95_mm": "hd95", "assd_mm": "assd"}
    scores = {ours: float(result.get(prefix + theirs, math.nan)) for ours, theirs in names.items()}
    counts = {"precision": "prec", "recall": "rec"} if prefix == "sq_" else {}
    return scores | {ours: float(result.get(theirs, math.nan)) for ours, theirs in counts.items()}


# Masks


def disturbed(reference: np.ndarray, spacing_mm: Sequence[float], random: np.random.Generator) -> np.ndarray:
    """A prediction: the reference with its outline moved here and there, and up to three islands elsewhere."""
    shape = reference.shape
    noise = ndimage.gaussian_filter(random.standard_normal(shape), np.divide(5.0, spacing_mm))
    blurred = ndimage.gaussian_filter(reference.astype(float), np.divide(3.0, spacing_mm))
    prediction = blurred + random.uniform(0.1, 0.5) * noise / noise.std() > 0.5
    # noise far from the lesion would make hundreds of islands; these are drawn instead
    prediction &= blurred > 0.02
    for _ in range(random.integers(0, 4)):
        x, y = (int(random.integers(size // 4, 3 * size // 4)) for size in shape[:2])
        width = int(random.integers(2, 8))
        prediction[x : x + width, y : y + width, int(random.integers(shape[2]))] = True
    return prediction


def with_empty(number: int, prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each 16 cases one without a prediction and one without a reference, of each 32 one without either."""
    if number % 32 in (5, 21, 31):
        prediction = np.zeros_like(prediction)
    if number % 32 in (11, 27, 31):
        reference = np.zeros_like(reference)
    return prediction, reference


def make_pairs(cohort: Path) -> list[Pair]:
    """One pair for each training case of the cohort; the same pairs for the same cohort."""
    pairs = []
    for number, case in enumerate(read_cohort(cohort, "training").cases):
        if case.reference is None:
            raise InputError(f"{cohort}: {case.name} has no reference: give a cohort with references")
        volume = read_volume(case.reference)
        reference = volume.data > 0
        prediction = disturbed(reference, volume.spacing_mm, np.random.default_rng([0, case.number]))
        pairs.append(Pair(*with_empty(number, prediction, reference), volume.spacing_mm))
    return pairs


# Their definitions


def directed(pair: Pair, spacing_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the prediction's border voxels to the reference's border, and of the reference's to the other."""
    borders = [border(mask) for mask in crop_to_joint_box(*pair[:2])]
    to = [ndimage.distance_transform_edt(~edge, sampling=spacing_mm) for edge in borders]
    return to[1][borders[0]], to[0][borders[1]]


def as_they_define(pair: Pair) -> dict[tuple[str, str], float]:
    """What a library and metric should give, computed here, where its definition of a distance is not ours."""
    if not (pair.prediction.any() and pair.reference.any()):
        return {}
    mm, voxels = directed(pair, pair.spacing_mm), directed(pair, (1.0, 1.0, 1.0))
    return {
        ("MONAI", "hd95_mm"): max(float(np.percentile(way, 95)) for way in mm),
        ("panoptica, one instance", "assd_mm"): float(np.mean([way.mean() for way in mm])),
        ("panoptica, global", "hausdorff_mm"): float(np.concatenate(voxels).max()),
        ("panoptica, global", "hd95_mm"): float(np.percentile(np.concatenate(voxels), 95)),
        ("panoptica, global", "assd_mm"): float(np.mean([way.mean() for way in voxels])),
    }


#: In words, for the table.
DEFINITIONS = {
    ("MONAI", "hd95_mm"): "the larger of the two directions' percentiles",
    ("panoptica, one instance", "assd_mm"): "the mean of the two directions' means",
    ("panoptica, global", "hausdorff_mm"): "distances in voxels",
    ("panoptica, global", "hd95_mm"): "distances in voxels",
    ("panoptica, global", "assd_mm"): "the mean of the two directions' means, in voxels",
}


def left_over(pairs: Sequence[Pair], found: dict[str, list[Scores]]) -> dict[tuple[str, str], tuple[int, float]]:
    """Cases compared, and the largest difference left once we compute what a library defines."""
    expected = [as_they_define(pair) for pair in pairs]
    left: dict[tuple[str, str], tuple[int, float]] = {}
    for key in DEFINITIONS:
        library, metric = key
        differences = [
            abs(scores[metric] - values[key])
            for values, scores in zip(expected, found[library], strict=True)
            if key in values and math.isfinite(scores[metric])
        ]
        left[key] = len(differences), max(differences, default=math.nan)
    return left


# Comparison


def timed(ways: dict[str, Callable[[Pair], Any]], pairs: Sequence[Pair], rounds: int) -> dict[str, float]:
    """Seconds of processor time a case of each way, the best of the rounds, in which the ways take turns."""
    best = dict.fromkeys(ways, math.inf)
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            for pair in pairs:
                way(pair)
            best[name] = min(best[name], (time.process_time() - started) / len(pairs))
    return best


def compared(expected: Sequence[Scores], found: Sequence[Scores]) -> dict[str, dict[str, float | int]]:
    """For each metric that the other way has: both means over the cases where both are finite, and what differs."""
    summary: dict[str, dict[str, float | int]] = {}
    for metric in (*METRICS, *MATCHED):
        if not any(metric in scores for scores in found):
            continue
        both = np.array([[ours[metric], theirs.get(metric, math.nan)] for ours, theirs in zip(expected, found)])  # noqa: B905
        defined = np.isfinite(both)
        a, b = both[defined.all(axis=1)].T
        summary[metric] = {
            "cases": int(a.size),
            "mean_ours": float(a.mean()),
            "mean_theirs": float(b.mean()),
            "largest_difference": float(np.abs(a - b).max()),
            "differ": int((np.abs(a - b) > ROUNDING).sum()),
            "only_ours_defined": int((defined[:, 0] & ~defined[:, 1]).sum()),
            "only_theirs_defined": int((~defined[:, 0] & defined[:, 1]).sum()),
        }
    return summary


def times_table(seconds: dict[str, float], what: dict[str, str]) -> str:
    """Markdown: seconds a case, and as multiples of ours."""
    lines = ["| scoring | computes | seconds a case | times ours |", "|---|---|---:|---:|"]
    lines += [
        f"| {name} | {what[name]} | {value:.4f} | {value / seconds['ours']:.1f} |" for name, value in seconds.items()
    ]
    return "\n".join(lines)


def values_table(comparison: dict[str, dict[str, dict[str, float | int]]]) -> str:
    """Markdown: one row for each library and metric."""
    lines = [
        "| library | metric | cases | mean, ours | mean, theirs | largest difference | cases that differ "
        "| defined by us alone | by them alone |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, metrics in comparison.items():
        for metric, row in metrics.items():
            means = " | ".join(f"{row[key]:.4f}" for key in ("mean_ours", "mean_theirs"))
            counts = " | ".join(str(row[key]) for key in ("differ", "only_ours_defined", "only_theirs_defined"))
            largest = f"{row['largest_difference']:.1e}" if row["differ"] == 0 else f"{row['largest_difference']:.2f}"
            lines.append(f"| {name} | {metric} | {row['cases']} | {means} | {largest} | {counts} |")
    return "\n".join(lines)


def left_over_table(left: dict[tuple[str, str], tuple[int, float]]) -> str:
    """Markdown: one row for each definition that differs from ours."""
    lines = ["| library | metric | defines it as | cases | largest difference left |", "|---|---|---|---:|---:|"]
    lines += [
        f"| {library} | {metric} | {DEFINITIONS[library, metric]} | {cases} | {largest:.1e} |"
        for (library, metric), (cases, largest) in left.items()
    ]
    return "\n".join(lines)


def missing(names: Sequence[str]) -> list[str]:
    """Those of the modules that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def plain(value: Any) -> Any:
    """The same for JSON, which has no NaN and no infinity: these as text."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def compare(cohort: Path, rounds: int) -> dict[str, Any]:
    """Everything that is printed and written.

    Raises:
        InputError: a library is not installed, or the cohort cannot be read.
    """
    if lacking := missing(NEEDED):
        raise InputError(
            f"needs {', '.join(lacking)}: pip install torch==2.13.0, then "
            "pip install . monai==1.6.1 panoptica==2.1.7 in an environment of its own"
        )
    import torch

    torch.set_num_threads(1)
    pairs = make_pairs(cohort)
    instances, whole = Panoptica(instances=True), Panoptica(instances=False)
    ways: dict[str, Callable[[Pair], Any]] = {
        "ours": ours,
        "medpy": medpy_loop,
        "MONAI": Monai(),
        "panoptica, one instance": whole,
        "panoptica, instances": instances.evaluate,
        "panoptica, lesions matched": MatchedLesions(),
    }
    six, four = "Dice, precision, recall, HD, HD95, ASSD", "Dice, HD, HD95, ASSD"
    more = len(measure(*pairs[0])) - len(METRICS)
    what = {
        "ours": f"{six}, and {more} more columns, lesions matched at both IoUs among them",
        "medpy": six,
        "MONAI": six,
        "panoptica, one instance": four,
        "panoptica, instances": f"{four}, of instances and of the whole masks",
        "panoptica, lesions matched": "F1 of lesions at an IoU of 0.2 and of 0.25",
    }
    expected = [ours(pair) for pair in pairs]
    evaluated = [instances.evaluate(pair) for pair in pairs]
    found = {
        "medpy": [medpy_loop(pair) for pair in pairs],
        "MONAI": [ways["MONAI"](pair) for pair in pairs],
        "panoptica, one instance": [whole(pair) for pair in pairs],
        "panoptica, global": [by_our_names(result, "global_bin_") for result in evaluated],
        "panoptica, instances": [by_our_names(result, "sq_") for result in evaluated],
        "panoptica, lesions matched": [ways["panoptica, lesions matched"](pair) for pair in pairs],
    }
    for scores in found["panoptica, one instance"]:  # of the one instance: 1, or nothing
        scores.pop("precision"), scores.pop("recall")
    return {
        "pairs": {
            "cases": len(pairs),
            "empty_prediction": sum(not pair.prediction.any() and bool(pair.reference.any()) for pair in pairs),
            "empty_reference": sum(bool(pair.prediction.any()) and not pair.reference.any() for pair in pairs),
            "both_empty": sum(not pair.prediction.any() and not pair.reference.any() for pair in pairs),
        },
        "versions": {name: metadata.version(name) for name in VERSIONS} | {"python": platform.python_version()},
        "computes": what,
        "seconds_per_case": timed(ways, pairs, rounds),
        "values": {name: compared(expected, scores) for name, scores in found.items()},
        "by_their_definitions": left_over_table(left_over(pairs, found)),
        "cases": {"ours": expected, **found},
    }


def report(options: argparse.Namespace) -> int:
    """Compare, write the JSON and print the tables."""
    result = compare(options.cohort, options.rounds)
    write_text(options.out, json.dumps(plain(result), indent=1, allow_nan=False) + "\n")
    tables = times_table(result["seconds_per_case"], result["computes"]), values_table(result["values"])
    print(*tables, result["by_their_definitions"], sep="\n\n")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cohort", type=Path, required=True, help="a twin of 256 x 256")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds (default: 3)")
    parser.set_defaults(command=report)
    return run_command("scoring.py", lambda: parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
