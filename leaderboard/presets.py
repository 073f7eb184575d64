"""The rules of the challenges that masks of stroke lesions were ranked by: what is measured, what counts, who wins.

A preset is one `Preset` in `PRESETS`, and nothing else knows a challenge by name. Metrics, schemes and policies have
the names that they have everywhere (`leaderboard.columns`, `leaderboard.ranking`). What the presets do alike, and the
challenges leave open: equal values share the smallest rank (1, 2, 2, 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from leaderboard.columns import METRICS, OF_PROBABILITIES
from leaderboard.errors import InputError, cut, nearest

#: What commands do with a test set in parts that the challenge weighs.
_NOT_WEIGHTED = "ranked as one part, not weighted; rank_parts in Python weighs"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The rules of a challenge."""

    name: str  #: as ``--preset`` takes it
    challenge: str  #: whose rules these are
    metrics: tuple[str, ...]  #: the columns of cases.csv that the challenge reports and, by its scheme, ranks by
    scheme: str  #: one of `ranking.schemes.SCHEMES`
    policy: str  #: one of `ranking.policies.POLICIES`: what a distance that is undefined counts
    empty: str  #: what a case counts whose reference or prediction is empty, in words
    missing: str  #: what a case without a prediction gets, in words
    sources: str  #: where the rules stand
    remarks: str = ""  #: where we deviate, and where the challenge's own texts do not agree
    #: of the parts of the test set, where each was ranked by itself (`ranking.parts.rank_parts`); empty: one part
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def needs_probabilities(self) -> bool:
        """Whether it ranks by what only probability maps tell."""
        return any(name in OF_PROBABILITIES for name in self.metrics)

    @property
    def rules(self) -> dict[str, str]:
        """What a reader of a ranking must know of it, by heading."""
        rules = {
            "Preset": self.words.removeprefix("preset "),
            "Empty masks": self.empty,
            "No result": self.missing,
            "Parts": f"{' and '.join(self.weights)}: {_NOT_WEIGHTED}" if self.weights else "",
            "Remarks": self.remarks,
        }
        return {key: text for key, text in (rules | {"Sources": self.sources}).items() if text}

    @property
    def words(self) -> str:
        """What it is, in a line: ``preset isles2022, the rules of ISLES 2022: Dice, AVD, ...; scheme ...``."""
        titles = ", ".join(METRICS[name].title for name in self.metrics)
        return (
            f"preset {self.name}, the rules of {self.challenge}: {titles}; scheme {self.scheme}, policy {self.policy}"
        )


_BY_CASE = (
    "a missing result takes the last rank of its case in every metric, behind all that have one; in means, overlaps, "
    "F1 and areas count 0, differences those of an empty mask"
)
_EMPTY = (
    "both masks empty: Dice and lesion F1 are 1, differences 0; one mask empty: Dice and lesion F1 are 0, "
    "differences are those to nothing"
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="isles2018",
            challenge="ISLES 2018, as its published table is ordered",
            metrics=("dice", "hausdorff_mm", "precision", "recall", "avd_ml"),
            scheme="dice",
            policy="isles2018",
            empty="both masks empty: Dice, precision and recall are 1, distance and difference 0; one mask empty: "
            "Dice, precision and recall are 0, the Hausdorff distance 1e8 mm",
            missing="Dice, precision and recall are 0, all else as for an empty prediction",
            sources="Table 1 of L. Liu et al. (MS-DCNN, BrainLes at MICCAI 2018), which --published isles2018 shows: "
            "its digits are those of means over all cases that count 1e8 mm where a mask is empty, with standard "
            "deviations of the population",
            remarks="the challenge's own order of teams is not documented; the table is in the order of mean Dice",
        ),
        Preset(
            name="isles2022",
            challenge="ISLES 2022",
            metrics=("dice", "avd_ml", "lesion_count_difference", "lesion_f1"),
            scheme="rank-then-mean",
            policy="diagonal",
            empty=_EMPTY,
            missing=_BY_CASE,
            sources="eval_metrics_isles.py of the organisers' container (ezequieldlrosa/isles22_docker_evaluation, "
            "8930df9); ranked by case and metric, then averaged (de la Rosa et al., arXiv 2403.19425)",
            remarks="lesions are connected over 26 neighbours, as the code does (its comment says 18). One shared "
            "voxel finds a lesion, so a prediction of the whole volume has a lesion F1 of 1. Volumes use the "
            "reference's voxel size; the code takes the prediction's",
        ),
        Preset(
            name="isles2024",
            challenge="ISLES 2024",
            metrics=("dice", "avd_ml", "lesion_count_difference", "lesion_f1_iou20"),
            scheme="rank-then-mean",
            policy="diagonal",
            empty=_EMPTY,
            missing=_BY_CASE,
            sources="utils/eval_utils.py of the organisers (ezequieldlrosa/isles24, 94b3486 of December 2025), which "
            "calls panoptica: lesions over 26 neighbours, matched one to one at an IoU of 0.2 or more; ranked by "
            "case and metric, then averaged (the design document, doi 10.5281/zenodo.10991145)",
            remarks="the code of August 2024 (34c6637) matched at panoptica's default IoU of 0.5, and published "
            "figures under the name of lesion F1 exist in the definition of 2022, too",
        ),
        Preset(
            name="isles2026",
            challenge="ISLES 2026",
            metrics=("dice", "avd_ml", "lesion_count_difference", "lesion_f1_iou25", "pr_auc"),
            scheme="rank-then-mean",
            policy="diagonal",
            empty=f"{_EMPTY}; an empty reference: PR-AUC is 1 where the probability map is constant, else 0",
            missing=_BY_CASE,
            sources="utils/eval_utils.py of the organisers (ezequieldlrosa/isles26, 91965d0 of July 2026, as copied "
            "in OrenGurevitch/isles26-ranking-aware-selection), which calls panoptica and scikit-learn: lesions over "
            "26 neighbours, matched one to one at an IoU of 0.25 or more; the area under precision over recall by "
            "trapezoids, maps in 32-bit floats; the design document: ranked by case and metric, then averaged, a "
            "missing result takes the worst rank",
            remarks="the design document speaks of average precision, undefined where the reference is empty: the "
            "column average_precision has that reading, and the code's is ranked by. Maps beyond 0 to 1 are refused "
            "(the code takes any numbers)",
        ),
        Preset(
            name="atlas2",
            challenge="the ATLAS v2.0 challenge",
            metrics=("dice", "avd_ml", "lesion_count_difference_6", "lesion_f1"),
            scheme="mean-then-rank",
            policy="diagonal",
            empty=_EMPTY,
            missing="Dice and lesion F1 are 0, differences those of an empty mask",
            sources="settings.py and isles/scoring.py of the organisers' container (npnl/atlas2_grand_challenge, "
            "55b9524): lesions of the count over 6 neighbours, of F1 over 26, where one shared voxel finds a lesion; "
            "atlas.grand-challenge.org/Evaluation: the mean of the ranks of the metrics' means, the hidden test set "
            "weighted 4 times as the public one",
            remarks="volumes are in mL, not in voxels: the same order on the one grid of the challenge. Dice of two "
            "empty masks counts 1; the code divides 0 by 0 and leaves the case out of the mean",
            weights={"public": 1.0, "hidden": 4.0},
        ),
    )
}


def find_preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        InputError: there is none.
    """
    name = str(name)  # programs give whatever they have
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise InputError(f"the preset {cut(name)} is unknown: {nearest(name, PRESETS)}choose {known}")
    return PRESETS[name]
