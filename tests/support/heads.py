"""Patients of the twin and their strokes, before any image is made."""

import numpy as np

from benchmark.cohort.twin.anatomy import crop, cut_slab, draw_head, head_box
from benchmark.cohort.twin.fields import Grid
from benchmark.cohort.twin.layout import patients_of
from benchmark.cohort.twin.lesion import strike
from benchmark.cohort.twin.stroke import draw_stroke


def patient_of_case(case, size=64, partition="train"):
    return next(p for p in patients_of(partition, case, size) if any(slab.case == case for slab in p.slabs))


def head_and_stroke(seed, strata=(0.5, 0.5, 0.9)):
    return draw_head(np.random.default_rng(seed)), draw_stroke(np.random.default_rng(seed + 1), np.array(strata))


def struck(patient, head, stroke, middle_mm=10.0):
    """Anatomy, grid and deficit of each slab."""
    cuts, grids = [], []
    for slab, centre in zip(patient.slabs, patient.centres_mm(middle_mm), strict=True):
        whole = cut_slab(head, slab, centre)
        box = head_box(whole.brain)
        cuts.append(crop(whole, box))
        grids.append(Grid(slab.z_mm(centre), slab.x_mm[box[0]], slab.y_mm[box[1]], slab.spacing_mm[:2]))
    return cuts, grids, strike(stroke, patient.slabs, cuts, grids)
