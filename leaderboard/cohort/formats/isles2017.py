"""ISLES 2017: MR perfusion and diffusion, in the tree of 2018; every case is a patient of its own."""

from __future__ import annotations

from leaderboard.cohort.case import ImageKind
from leaderboard.cohort.formats.smir import SmirFormat

FORMAT = SmirFormat(
    name="isles2017",
    title="ISLES 2017",
    images=(
        ImageKind("MR_ADC", "ADC"),
        ImageKind("MR_MTT", "MTT"),
        ImageKind("MR_rCBF", "CBF"),
        ImageKind("MR_rCBV", "CBV"),
        ImageKind("MR_Tmax", "Tmax"),
        ImageKind("MR_TTP", "TTP"),
    ),
    grid="MR_MTT",
    background="MR_ADC",
    time_series="MR_4DPWI",
    marks=frozenset({"MR_ADC", "MR_rCBF", "MR_TTP"}),
    patient=lambda partition, number, ids: str(number),
)
