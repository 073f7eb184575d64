"""Slabs have the geometry of the real cohort's."""

import pytest

from benchmark.cohort.twin.layout import patients_of
from leaderboard.cohort.formats.isles2018 import case_table


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
