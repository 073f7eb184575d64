"""The kinds of image that cohorts hold, each known by what it shows; see `ImageKind`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from leaderboard.cohort.case import CT_WINDOW, ImageKind

if TYPE_CHECKING:
    import numpy as np

#: The units in which ADC maps are stored, by the factor that brings them to um2/ms (`adc_factor`).
ADC_UNITS = {1e3: "mm2/s", 1.0: "um2/ms", 1e-3: "um2/s"}
#: um2/ms; the 99th percentile of the ADC in a brain, which lies in cerebrospinal fluid.
_ADC_OF_FLUID = 2.5


def adc_factor(adc: np.ndarray) -> float:
    """What brings an ADC map to um2/ms, which are 1e-3 mm2/s: 1000 (stored in mm2/s), 1 or 1e-3 (in um2/s).

    Cohorts mix these units, ISLES 2022 within itself. The 99th percentile of the positive values decides: a thousand
    times lies between two units, and about two between two brains.
    """
    import numpy as np

    positive = adc[np.isfinite(adc) & (adc > 0)]
    if not positive.size:
        return 1.0
    steps = np.log10(_ADC_OF_FLUID / float(np.percentile(positive, 99))) / 3
    return {1: 1e3, 0: 1.0, -1: 1e-3}[int(np.clip(round(steps), -1, 1))]


#: By what an image shows: the kind, under that name.
KINDS = {
    kind.shows: kind
    for kind in (
        ImageKind("CT", "CT", "HU", tissue=False, window=CT_WINDOW, shown=(0.0, 80.0)),
        ImageKind("CTA", "CTA", "HU", tissue=False, window=(0.0, 400.0), shown=(0.0, 400.0)),
        ImageKind("CBF", "CBF"),
        ImageKind("CBV", "CBV"),
        ImageKind("MTT", "MTT", "s", shown=(0.0, 20.0)),
        ImageKind("Tmax", "Tmax", "s", shown=(0.0, 12.0)),
        ImageKind("TTP", "TTP", "s"),
        ImageKind("DWI", "DWI"),
        ImageKind("ADC", "ADC", "um2/ms", shown=(0.0, 2.0), to_unit=adc_factor),
        ImageKind("FLAIR", "FLAIR"),
        ImageKind("T1w", "T1w"),
        ImageKind("T2w", "T2w"),
    )
}
#: Other words for what an image shows, in lower case.
_WORDS = {kind.lower(): kind for kind in KINDS} | {
    "ncct": "CT", "nect": "CT", "rcbf": "CBF", "rcbv": "CBV", "dw": "DWI", "trace": "DWI", "t1": "T1w", "t2": "T2w",
}  # fmt: skip


def shown_by(name: str) -> str | None:
    """What an image of that name shows, one of `KINDS`, by the last word that tells (``CT_Tmax``: Tmax)."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((_WORDS[word] for word in reversed(words) if word in _WORDS), None)


def kind_named(name: str, **changes: object) -> ImageKind:
    """The kind of an image that a cohort calls `name`, with some of its attributes changed."""
    shows = shown_by(name)
    return replace(KINDS[shows] if shows else ImageKind(name, name), name=name, **changes)  # type: ignore[arg-type]
