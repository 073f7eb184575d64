"""Strokes of the size and on the side drawn."""

import dataclasses

import numpy as np
import pytest
from heads import head_and_stroke, patient_of_case, struck

from benchmark.cohort.twin.lesion import HYPOPERFUSED, draw_reference, tidy


@pytest.mark.parametrize("case", [1, 35, 85])
@pytest.mark.parametrize("side", [-1, 1])
def test_lesion_and_deficit_lie_on_the_side_of_the_occlusion(case, side):
    head, stroke = head_and_stroke(11)
    stroke = dataclasses.replace(stroke, side=side, occlusion="M1")
    cuts, _, deficits = struck(patient_of_case(case), head, stroke)
    for cut, deficit in zip(cuts, deficits, strict=True):
        x = cut.head_mm[0]
        assert deficit.lesion.any()
        assert (side * x[deficit.lesion]).min() > 0
        assert (deficit.territory[cut.brain & (side * x < -5)] < 0.1).all()
        assert (deficit.territory[~cut.brain] == 0).all()


@pytest.mark.parametrize("volume_ml", [4.0, 15.0, 40.0])
def test_lesion_and_hypoperfused_volume_are_those_drawn(volume_ml):
    patient = patient_of_case(85, size=128)
    head, stroke = head_and_stroke(12)
    stroke = dataclasses.replace(
        stroke, occlusion="M1", lesion_ml=volume_ml, hypoperfused_ml=2 * volume_ml, emboli=np.zeros((0, 2))
    )
    (cut,), _, (deficit,) = struck(patient, head, stroke)
    voxel_ml = patient.slabs[0].voxel_ml
    assert deficit.lesion.sum() * voxel_ml == pytest.approx(volume_ml, rel=0.1)
    tissue = cut.brain & (cut.fluid < 0.5)
    # The deficit is smoothed after its volume was set.
    assert (deficit.severity[tissue] > HYPOPERFUSED).sum() * voxel_ml == pytest.approx(2 * volume_ml, rel=0.2, abs=2.0)


def test_a_huge_stroke_stays_within_its_territory():
    head, stroke = head_and_stroke(13)
    stroke = dataclasses.replace(stroke, occlusion="M2 superior", lesion_ml=900.0, hypoperfused_ml=2000.0)
    (cut,), _, (deficit,) = struck(patient_of_case(85), head, stroke)
    inside = (deficit.territory > 0.3) & cut.brain & (cut.fluid < 0.5)
    assert 0.4 < deficit.lesion.sum() / inside.sum() < 0.7


def test_every_slab_gets_a_lesion_however_small_the_stroke():
    patient = patient_of_case(1)
    head, stroke = head_and_stroke(14)
    stroke = dataclasses.replace(stroke, lesion_ml=0.1, emboli=np.zeros((0, 2)))
    for slab, deficit in zip(patient.slabs, struck(patient, head, stroke)[2], strict=True):
        assert 0.5 < deficit.reference.sum() * slab.voxel_ml < 2.0


def test_emboli_add_dead_tissue():
    head, stroke = head_and_stroke(15)
    patient = patient_of_case(85, size=128)
    with_emboli = dataclasses.replace(stroke, emboli=np.array([[0.1, 4.0], [0.9, 4.0]]))
    without = dataclasses.replace(stroke, emboli=np.zeros((0, 2)))
    more, less = (struck(patient, head, each)[2][0].lesion for each in (with_emboli, without))
    assert (more & less).sum() == less.sum()
    assert more.sum() > less.sum()


def test_the_reference_is_the_lesion_moved():
    lesion = np.zeros((1, 20, 20), dtype=bool)
    lesion[0, 5:10, 5:10] = True
    np.testing.assert_array_equal(draw_reference(lesion, (1.0, 2.0), (3.0, -4.0)), np.roll(lesion, (3, -2), (1, 2)))


def test_a_reference_that_would_vanish_stays_in_place():
    lesion = np.zeros((1, 9, 9), dtype=bool)
    lesion[0, 4, 4] = True
    np.testing.assert_array_equal(draw_reference(lesion, (1.0, 1.0), (0.5, 0.5)), lesion)


def test_tidying_fills_a_hole_and_drops_a_speck():
    mask = np.zeros((1, 20, 20), dtype=bool)
    mask[0, 4:12, 4:12] = True
    expected = mask.copy()
    mask[0, 8, 8] = False
    mask[0, 17, 17] = True
    tidied = tidy(mask, (1.0, 1.0))
    assert tidied[0, 8, 8]
    assert not tidied[0, 17, 17]
    assert (tidied ^ expected).sum() <= 4
    np.testing.assert_array_equal(tidy(mask, (3.5, 3.5)), mask)
