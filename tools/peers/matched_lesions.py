"""What panoptica says of lesions matched one to one, for tests of ours: ``tests/leaderboard/scoring/panoptica.json``.

    pip install panoptica==2.1.7 medpy        # in an environment of its own: it wants pandas 2, we pin 3
    python tools/peers/matched_lesions.py

It is called as the organisers of ISLES 2024 and 2026 call it (utils/eval_utils.py), at their thresholds, and gets the
arrays as SimpleITK gives them, (Z, Y, X). The masks are random, at densities with many lesions and many equal overlaps,
some smoothed to blobs; they are stored beside the values.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[2] / "tests" / "leaderboard" / "scoring" / "panoptica.json"
PAIRS = 300
THRESHOLDS = {"lesion_f1_iou20": 0.2, "lesion_f1_iou25": 0.25}


def main() -> None:
    """Write the file."""
    random = np.random.default_rng(2024)
    entries = []
    for _ in range(PAIRS):
        shape = tuple(int(size) for size in random.integers(4, 13, 3))
        reference, prediction = pair(random, shape)
        entries.append(
            {"shape": shape, "reference": packed(reference), "prediction": packed(prediction)}
            | {name: values(prediction, reference, least) for name, least in THRESHOLDS.items()}
        )
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    TARGET.write_text(f'{{"panoptica": "{version("panoptica")}", "pairs": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{TARGET}: {len(entries)} pairs")


def pair(random: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A reference and a prediction that resembles it."""
    reference = random.random(shape) < random.choice([0, 0.01, 0.03, 0.06, 0.3])
    if random.random() < 0.3:  # blobs: every voxel with its neighbours
        reference = sum(np.roll(reference, step, axis) for axis in range(3) for step in (-1, 0, 1)) > 0
    prediction = reference ^ (random.random(shape) < random.choice([0, 0.01, 0.03, 0.2]))
    return reference, prediction & (random.random() > 0.1)


def packed(mask: np.ndarray) -> str:
    """The bits of a mask (X, Y, Z), in C order, as hexadecimal digits."""
    return np.packbits(mask.ravel()).tobytes().hex()


def values(prediction: np.ndarray, reference: np.ndarray, least: float) -> dict[str, float | int | None]:
    """F1, numbers of lesions and Dice; None where panoptica gives NaN."""
    import panoptica

    panoptica.disable_citation_reminder()
    evaluator = panoptica.Panoptica_Evaluator(
        expected_input=panoptica.InputType.SEMANTIC,
        instance_approximator=panoptica.ConnectedComponentsInstanceApproximator(),
        instance_matcher=panoptica.NaiveThresholdMatching(matching_threshold=least),
    )
    arrays = [np.ascontiguousarray(mask.T).astype(int) for mask in (prediction, reference)]
    result = evaluator.evaluate(*arrays, verbose=False)["ungrouped"]
    found = {
        "f1": float(result.rq),
        "predicted": int(result.n_pred_instances),
        "present": int(result.n_ref_instances),
        "dice": float(result.global_bin_dsc),
    }
    return {name: None if value != value else value for name, value in found.items()}


if __name__ == "__main__":
    main()
