"""Patients of the twin: geometry, anatomy that slabs share, strokes of the size and on the side drawn."""

import dataclasses

import numpy as np
import pytest

from benchmark.cohort.twin import anatomy as anatomy_module
from benchmark.cohort.twin.anatomy import crop, cut_slab, draw_head, head_box
from benchmark.cohort.twin.fields import Grid
from benchmark.cohort.twin.layout import Patient, patients_of
from benchmark.cohort.twin.lesion import HYPOPERFUSED, draw_reference, strike, tidy
from benchmark.cohort.twin.patient import simulate, strata_of
from benchmark.cohort.twin.stroke import draw_stroke
from leaderboard.cohort.trees import case_table


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


@pytest.mark.parametrize("size", [32, 100, 256])
def test_every_size_has_the_field_of_view_of_the_real_case(size):
    rows = case_table().query("partition == 'train'").set_index("case")
    for patient in patients_of("train", 94, size):
        for slab in patient.slabs:
            row = rows.loc[slab.case]
            assert slab.size * slab.spacing_mm[0] == pytest.approx(256 * row["dx_mm"])
            assert slab.size * slab.spacing_mm[1] == pytest.approx(256 * row["dy_mm"])
            assert slab.spacing_mm[2] == row["dz_mm"]
            assert (slab.slices, slab.frames) == (row["slices"], row["frames"])


def test_patients_have_the_real_number_of_slabs():
    training, testing = patients_of("train", 94, 256), patients_of("test", 62, 256)
    assert (len(training), sum(len(patient.slabs) == 2 for patient in training)) == (63, 31)
    assert (len(testing), sum(len(patient.slabs) == 2 for patient in testing)) == (40, 22)


def test_a_test_case_has_the_spacing_of_a_training_case_of_its_shape():
    training = {slab.spacing_mm: slab.slices for patient in patients_of("train", 94, 256) for slab in patient.slabs}
    for patient in patients_of("test", 62, 256):
        for slab in patient.slabs:
            assert training[slab.spacing_mm] == slab.slices


def test_frames_are_a_second_apart_unless_the_scan_would_miss_the_bolus():
    for patient in [*patients_of("train", 94, 64), *patients_of("test", 62, 64)]:
        for slab in patient.slabs:
            assert slab.frames * slab.frame_s >= 43
            assert (slab.frame_s == 1) == (slab.frames >= 43)


def test_slabs_of_a_patient_touch_and_do_not_overlap():
    for patient in patients_of("train", 94, 64):
        centres = patient.centres_mm(7.0)
        edges = [(c - s.height_mm / 2, c + s.height_mm / 2) for c, s in zip(centres, patient.slabs, strict=True)]
        assert edges[0][0] == pytest.approx(7.0 - patient.height_mm / 2)
        assert edges[-1][1] == pytest.approx(7.0 + patient.height_mm / 2)
        if len(edges) == 2:
            assert edges[0][1] == pytest.approx(edges[1][0])
            low, high = (s.z_mm(c) for s, c in zip(patient.slabs, centres, strict=True))
            gap = (patient.slabs[0].spacing_mm[2] + patient.slabs[1].spacing_mm[2]) / 2
            assert high[0] - low[-1] == pytest.approx(gap)


def test_two_slabs_are_cut_from_one_head():
    patient = patient_of_case(35, size=48)
    lower, upper = patient.slabs
    tall = dataclasses.replace(lower, slices=lower.slices + upper.slices)
    head = draw_head(np.random.default_rng(5))
    parts = [cut_slab(head, slab, z) for slab, z in zip(patient.slabs, patient.centres_mm(9.0), strict=True)]
    whole = cut_slab(head, tall, 9.0)
    for name in ("grey", "white", "fluid", "depth_mm", "outer_hu"):
        stacked = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(stacked, getattr(whole, name), atol=1e-4)


def test_tissue_fractions_fill_the_brain_and_the_head_is_of_human_size():
    slab = patient_of_case(85).slabs[0]
    for seed in range(3):
        cut = cut_slab(draw_head(np.random.default_rng(seed)), slab, 10.0)
        total = cut.grey + cut.white + cut.fluid
        assert total.max() <= 1 + 1e-3
        assert 1000 < cut.brain.sum() * slab.voxel_ml < 2300
        assert 0.05 < cut.fluid.sum() / total.sum() < 0.3
        assert cut.outer_hu[cut.depth_mm > 8].max() == 0


def test_an_image_of_fewer_pixels_shows_the_same_head():
    fine, coarse = (patient_of_case(10, size).slabs[0] for size in (128, 32))
    head = draw_head(np.random.default_rng(6))
    expected = cut_slab(head, fine, 5.0).white.reshape(fine.slices, 32, 4, 32, 4).mean(axis=(2, 4))
    found = cut_slab(head, coarse, 5.0).white
    assert np.abs(found - expected).mean() < 0.01
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_the_larger_ventricles_of_a_head_hold_more_fluid():
    slab = patient_of_case(85).slabs[0]
    head = draw_head(np.random.default_rng(7))
    small, large = (cut_slab(dataclasses.replace(head, ventricle_scale=scale), slab, 10.0) for scale in (0.9, 1.7))
    small_ml, large_ml = (float(cut.fluid[cut.depth_mm > 25].sum()) * slab.voxel_ml for cut in (small, large))
    assert 10 < 1.3 * small_ml < large_ml < 150


def test_both_ct_backgrounds_occur():
    found = {draw_head(np.random.default_rng(seed)).background_hu for seed in range(12)}
    assert found == {-23.0, 0.0}
    assert anatomy_module.draw_head(np.random.default_rng(0)).atrophy > 0


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


def test_lesion_volumes_of_a_cohort_cover_the_distribution_evenly():
    for seed in range(5):
        for partition, count in (("train", 63), ("test", 40)):
            drawn = np.array([strata_of(Patient(partition, number, ()), seed) for number in range(1, count + 1)])
            for axis in range(3):
                fifths = np.histogram(drawn[:, axis], bins=5, range=(0, 1))[0]
                assert np.abs(fifths - count / 5).max() <= 4


def test_the_lesion_is_darker_in_flow_and_later_than_the_other_side():
    """A large stroke without reperfusion shows in the written maps."""
    found = []
    for patient in patients_of("train", 34, 48):
        for slab, images in zip(patient.slabs, simulate(patient, seed=1), strict=True):
            lesion = images.reference > 0
            if lesion.sum() * slab.voxel_ml > 15:
                tissue = (images.by_kind["CT_CBF"] > 0) & ~lesion
                flow, late = images.by_kind["CT_CBF"], images.by_kind["CT_Tmax"]
                found.append([np.median(each[lesion]) / np.median(each[tissue]) for each in (flow, late)])
    ratios = np.array(found)
    assert len(ratios) >= 10
    assert np.median(ratios[:, 0]) < 0.6
    assert np.median(ratios[:, 1]) > 1.5


@pytest.mark.parametrize("change", [{"partition": "test"}, {"number": 2}])
def test_a_patient_of_another_partition_or_number_has_another_head_and_another_lesion(change):
    patient = patient_of_case(20, size=32)
    (images,), (others,) = simulate(patient, seed=0), simulate(dataclasses.replace(patient, **change), seed=0)
    assert not np.array_equal(images.by_kind["CT"] > 100, others.by_kind["CT"] > 100)
    assert not np.array_equal(images.reference, others.reference)
    assert (strata_of(patient, 0) != strata_of(dataclasses.replace(patient, **change), 0)).all()
