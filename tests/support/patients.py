"""Cases of made-up patients, to be dealt out to folds."""

import random
from collections import Counter

from hypothesis import strategies as st

from benchmark.cohort.folds import FoldCase


@st.composite
def cohorts(draw):
    """Cases of 5 to 30 patients with 1 to 3 slabs each, and a number of folds that they suffice for."""
    slabs = draw(st.lists(st.integers(1, 3), min_size=5, max_size=30))
    known = draw(st.booleans())
    cases = []
    for patient, count in enumerate(slabs):
        for _ in range(count):
            volume = draw(st.floats(0, 300)) if known else None
            slices = draw(st.sampled_from([2, 4, 8, 16]))
            cases.append(FoldCase(f"case_{len(cases) + 1}", f"P{patient}", volume, slices))
    return cases, draw(st.integers(2, 5)), draw(st.integers(0, 99))


def stroke_cohort(seed):
    """As many cases and patients as ISLES 2018, with volumes as skewed."""
    rng, cases = random.Random(seed), []
    for patient in range(63):
        volume = min(rng.lognormvariate(2.8, 1.2), 260)
        for _ in range(2 if patient % 2 == 0 and patient < 62 else 1):
            cases.append((f"case_{len(cases) + 1}", f"P{patient}", volume * rng.uniform(0.3, 1)))
    return cases


def spread(weight_of, fold_of):
    """Largest less smallest fold total."""
    totals = Counter()
    for case, weight in weight_of.items():
        totals[fold_of[case]] += weight
    return max(totals.values()) - min(totals.values())
