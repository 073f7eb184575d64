"""ISLES 2018: CT perfusion, 94 training and 62 test cases of two to 22 thick slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaderboard.cohort.case import CT_WINDOW, ImageKind
from leaderboard.cohort.formats.smir import SmirFormat
from leaderboard.cohort.patients import known_patient, open_case_table

if TYPE_CHECKING:
    import pandas as pd

FORMAT = SmirFormat(
    name="isles2018",
    title="ISLES 2018",
    images=(
        # Not skull stripped: its background is 0 HU in some cases and -23 HU in others.
        ImageKind("CT", "CT", "HU", tissue=False, window=CT_WINDOW, shown=(0.0, 80.0)),
        ImageKind("CT_CBF", "CBF"),  # scaled integers: only ratios mean something
        ImageKind("CT_CBV", "CBV"),
        ImageKind("CT_MTT", "MTT", "s", shown=(0.0, 20.0)),
        ImageKind("CT_Tmax", "Tmax", "s", shown=(0.0, 12.0)),
    ),
    grid="CT_MTT",
    background="CT_Tmax",
    time_series="CT_4DPWI",
    # Its first release, of which cases 18 and 19 keep names, used those of 2017.
    old_names={"MR_MTT": "CT_MTT", "MR_Tmax": "CT_Tmax", "MR_4DPWI": "CT_4DPWI"},
    released={"training": 94, "testing": 62},
    patient=known_patient,
)


def case_table() -> pd.DataFrame:
    """Geometry, image ids and patient of each ISLES 2018 case (156 rows; shipped with the package).

    Returns:
        Columns ``partition`` (``train`` or ``test``), ``case``, ``patient``, ``slab`` (A or B), ``slices``,
        ``frames``, ``dx_mm``, ``dy_mm``, ``dz_mm`` (nan for test cases) and one ``id_<kind>`` for each kind.
    """
    import pandas as pd

    with open_case_table() as file:
        return pd.read_csv(file)
