"""Why the libraries' values differ: arrays of a few voxels, with what each library says of them, worked out by hand.

    python tools/peers/definitions.py        # in the environment of scoring.py

Exit status 1 where a library says something else than is written here.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scoring import NEEDED, Monai, Pair, Panoptica, Scores, by_our_names, medpy_loop, missing

from leaderboard.scoring.metrics import measure

NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Example:
    """A pair of masks and what is expected of it."""

    name: str  #: what it shows
    pair: Pair  #: the masks
    #: values by library and metric, by hand; a library or metric that is not named is not looked at
    expected: Mapping[str, Scores]


def line(length: int, *voxels: int) -> np.ndarray:
    """A mask of one row of voxels, shape (length, 1, 1)."""
    mask = np.zeros((length, 1, 1), dtype=bool)
    mask[list(voxels)] = True
    return mask


def block(side: int, *voxels: tuple[int, int, int]) -> np.ndarray:
    """A cubic mask with the given voxels; with all of them, where none is given."""
    mask = np.full((side,) * 3, not voxels)
    for voxel in voxels:
        mask[voxel] = True
    return mask


ONE_MM = (1.0, 1.0, 1.0)
#: Voxels 0 to 9 of a row; and the same with an island ten voxels further.
TEN, ISLAND = line(20, *range(10)), line(20, *range(10), 19)
LIBRARIES = ("ours", "medpy", "MONAI", "panoptica, one instance", "panoptica, global", "panoptica, instances")


def same(**values: float) -> dict[str, Scores]:
    """The same values of every library that measures whole masks."""
    return dict.fromkeys(LIBRARIES[:-1], values)


EXAMPLES = (
    Example(
        "no prediction",
        Pair(line(4), line(4, 1), ONE_MM),
        {
            "ours": {"dice": 0, "precision": NAN, "recall": 0, "hausdorff_mm": NAN, "assd_mm": NAN},
            "medpy": {"dice": 0, "precision": 0, "recall": 0, "hausdorff_mm": NAN},  # hd raises
            "MONAI": {"dice": 0, "precision": NAN, "recall": 0, "hausdorff_mm": INF, "assd_mm": INF},
            "panoptica, global": {"dice": 0, "hausdorff_mm": INF, "assd_mm": INF},
        },
    ),
    Example(
        "no reference",
        Pair(line(4, 1), line(4), ONE_MM),
        {
            "ours": {"dice": 0, "precision": 0, "recall": NAN, "hausdorff_mm": NAN},
            "medpy": {"dice": 0, "precision": 0, "recall": 0, "hausdorff_mm": NAN},
            "MONAI": {"dice": NAN, "precision": 0, "recall": NAN, "hausdorff_mm": INF},
            "panoptica, global": {"dice": 0, "hausdorff_mm": INF},
        },
    ),
    Example(
        "neither",
        Pair(line(4), line(4), ONE_MM),
        {
            "ours": {"dice": NAN, "precision": NAN, "recall": NAN, "hausdorff_mm": NAN},
            "medpy": {"dice": 1, "precision": 0, "recall": 0, "hausdorff_mm": NAN},
            "MONAI": {"dice": NAN, "precision": NAN, "recall": NAN, "hausdorff_mm": NAN},
            "panoptica, global": {"dice": NAN, "hausdorff_mm": NAN},
        },
    ),
    # Ten of eleven predicted voxels are right. Distances to the reference: ten times 0 and once 10; to the prediction:
    # ten times 0. All 21 in one list have the 95th percentile 0 and the mean 10/21. One direction at a time it is 5
    # (between the last two of eleven) and 0, and the means are 10/11 and 0.
    Example(
        "an island",
        Pair(ISLAND, TEN, ONE_MM),
        {
            "ours": {
                "dice": 20 / 21,
                "precision": 10 / 11,
                "recall": 1,
                "hausdorff_mm": 10,
                "hd95_mm": 0,
                "assd_mm": 10 / 21,
            },
            "medpy": {"dice": 20 / 21, "hausdorff_mm": 10, "hd95_mm": 0, "assd_mm": 10 / 21},
            "MONAI": {"dice": 20 / 21, "hausdorff_mm": 10, "hd95_mm": 5, "assd_mm": 10 / 21},
            "panoptica, one instance": {"dice": 20 / 21, "hausdorff_mm": 10, "hd95_mm": 0, "assd_mm": 5 / 11},
            "panoptica, global": {"dice": 20 / 21, "hausdorff_mm": 10, "hd95_mm": 0, "assd_mm": 5 / 11},
            # the island is an instance without a partner: it costs precision, and has no part in the others
            "panoptica, instances": {"dice": 1, "precision": 1 / 2, "recall": 1, "hausdorff_mm": 0, "assd_mm": 0},
        },
    ),
    # The island is 30 mm away; panoptica's metrics of whole masks do not get the voxel size.
    Example(
        "voxels of 3 mm",
        Pair(ISLAND, TEN, (3.0, 1.0, 1.0)),
        {**same(hausdorff_mm=30), "panoptica, global": {"hausdorff_mm": 10}},
    ),
    # No voxel in common: panoptica's metrics of whole masks take this for its case of no match.
    Example(
        "apart",
        Pair(line(8, 5, 6), line(8, 0, 1), ONE_MM),
        {**same(dice=0, hausdorff_mm=5, assd_mm=4.5), "panoptica, global": {"dice": 0, "hausdorff_mm": INF}},
    ),
    # Three of ten voxels: an IoU of 0.3, below panoptica's 0.5, so no match. We count one voxel as found.
    Example(
        "a third of a lesion",
        Pair(line(20, 0, 1, 2), TEN, ONE_MM),
        {"ours": {"lesion_f1": 1}, "panoptica, instances": {"precision": 0, "recall": 0, "dice": 0}},
    ),
    Example(
        "two voxels with a common corner are one lesion",
        Pair(block(3, (0, 0, 0), (1, 1, 1)), block(3, (0, 0, 0), (1, 1, 1)), ONE_MM),
        {"ours": {"reference_lesions": 1}, "panoptica, instances": {"n_ref_instances": 1}},
    ),
    # The border of the full block is its shell, since background lies outside; a corner is 2 * sqrt(3) from the centre.
    Example(
        "a mask as large as its array",
        Pair(block(5, (2, 2, 2)), block(5), ONE_MM),
        same(hausdorff_mm=math.sqrt(12)),
    ),
)


def libraries() -> dict[str, Callable[[Pair], Scores]]:
    """Every library's values of a pair."""
    instances = Panoptica(instances=True)

    def counted(pair: Pair) -> Scores:
        result = instances.evaluate(pair)
        return by_our_names(result, "sq_") | {"n_ref_instances": float(result.get("n_ref_instances", NAN))}

    ways = (
        lambda pair: measure(*pair),
        medpy_loop,
        Monai(),
        Panoptica(instances=False),
        lambda pair: by_our_names(instances.evaluate(pair), "global_bin_"),
        counted,
    )
    return dict(zip(LIBRARIES, ways, strict=True))


def main() -> int:
    """Print what each library says; exit status 1 where that is not what is expected."""
    if lacking := missing(NEEDED):
        print(f"definitions.py: needs {', '.join(lacking)}: see scoring.py", file=sys.stderr)
        return 1
    ways, wrong = libraries(), 0
    print("| masks | library | values |\n|---|---|---|")
    for example in EXAMPLES:
        for name, expected in example.expected.items():
            found = ways[name](example.pair)
            values = [f"{metric} {found[metric]:.4g}" for metric in expected]
            print(f"| {example.name} | {name} | {', '.join(values)} |")
            for metric, value in expected.items():
                if not np.isclose(found[metric], value, rtol=1e-6, atol=1e-9, equal_nan=True):
                    print(f"{example.name}: {name} gives {metric} {found[metric]}, not {value}", file=sys.stderr)
                    wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
