"""What a cohort's banner says of it."""

import pytest

from leaderboard.cohort.banner import SYNTHETIC, is_synthetic, read_banners
from leaderboard.errors import InputError


@pytest.mark.parametrize("place", ["", "TRAINING"])
def test_a_cohort_is_synthetic_where_its_banner_says_so(tmp_path, place):
    (tmp_path / "TRAINING").mkdir()
    assert not is_synthetic(tmp_path / place)
    (tmp_path / "banner.txt").write_text("Preliminary.")
    assert not is_synthetic(tmp_path / place)
    (tmp_path / "banner.txt").write_text(SYNTHETIC)
    assert is_synthetic(tmp_path / place)


def test_equal_banners_are_said_once(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "banner.txt").write_text("Draft.\n")
    assert read_banners([tmp_path / "a", tmp_path / "b", tmp_path]) == ["Draft."]


def test_a_banner_that_is_no_text_is_named(tmp_path):
    (tmp_path / "banner.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"banner\.txt: cannot be read as text"):
        is_synthetic(tmp_path)
