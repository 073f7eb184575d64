"""Zip archives from strangers."""

import io
import random
import stat
import struct
import zipfile

import numpy as np
import pytest

from leaderboard.cohort.formats import read_cohort
from leaderboard.errors import InputError
from leaderboard.io.archive import Limits, list_members, unpack
from leaderboard.scoring import submission
from leaderboard.scoring.folder import score_cases
from leaderboard.scoring.submission import check_predictions, mask_files, open_submission

SHAPE = (8, 9, 2)
SPACING = (0.9, 0.9, 6.0)


def wanted(name):
    return name.endswith((".nii", ".nii.gz", ".mha"))


def entry(name, mode=stat.S_IFREG | 0o644, method=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = method
    info.create_system = 3
    return info


@pytest.fixture
def cases(isles_tree):
    return list(read_cohort(isles_tree(range(1, 4))).cases)


@pytest.fixture
def sound(isles_tree):
    """Bytes of a mask that is accepted."""
    return isles_tree.content(isles_tree.values(SHAPE, "OT", 0), SPACING)


def pack(path, members):
    """Write a zip of (ZipInfo or name, bytes)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def patched(path, position_of, data):
    """Overwrite bytes of the first member's central directory entry."""
    content = bytearray(path.read_bytes())
    place = content.find(b"PK\x01\x02") + position_of
    content[place : place + len(data)] = data
    path.write_bytes(content)


# Each hostile or damaged submission: what it does to a zip with a sound case_1.nii, and what is said.
def encrypted(path, sound):
    pack(path, [("case_1.nii", sound), ("case_2.nii", sound)])
    patched(path, 8, struct.pack("<H", 1))


def strange_method(path, sound):
    pack(path, [(entry("case_1.nii", method=zipfile.ZIP_LZMA), sound), ("case_2.nii", sound)])


def bad_checksum(path, sound):
    pack(path, [(entry("case_1.nii", method=zipfile.ZIP_STORED), sound), ("case_2.nii", sound)])
    content = bytearray(path.read_bytes())
    content[content.find(sound) + 400] ^= 1
    path.write_bytes(content)


def lying_size(path, sound):
    pack(path, [("case_1.nii", sound), ("case_2.nii", sound)])
    patched(path, 24, struct.pack("<I", len(sound) * 3))


def bomb(path, sound):
    pack(path, [("case_1.nii", bytes(3_000_000)), ("case_2.nii", sound)])


def nameless(path, sound):
    member = entry("case_1.nii")
    member.filename = ""
    pack(path, [(member, b"x"), ("case_2.nii", sound)])


def nested_bomb(path, sound):
    inner = io.BytesIO()
    pack(inner, [("case_1.nii", bytes(100_000))])
    pack(path, [("deeper.zip", inner.getvalue()), ("case_2.nii", sound)])


HOSTILE = {
    "parent folder": ([("../../escaped.nii", b"x")], "escaped.nii: leads out of the archive"),
    "parent in the middle": ([("a/../../escaped.nii", b"x")], "escaped.nii: leads out of the archive"),
    "absolute path": ([("/tmp/escaped.nii", b"x")], "escaped.nii: leads out of the archive"),
    "backslashes": ([("..\\..\\escaped.nii", b"x")], "escaped.nii: leads out of the archive"),
    "drive": ([("C:/escaped.nii", b"x")], "escaped.nii: leads out of the archive"),
    "link": ([(entry("case_1.nii", stat.S_IFLNK | 0o777), b"/etc/passwd")], "case_1.nii: is a link"),
    "link to a folder": ([(entry("out", stat.S_IFLNK | 0o777), b"/"), ("out/x.nii", b"x")], "out: is a link"),
    "device": ([(entry("case_1.nii", stat.S_IFCHR | 0o666), b"")], "case_1.nii: is no ordinary file"),
    "pipe": ([(entry("case_1.nii", stat.S_IFIFO | 0o666), b"")], "case_1.nii: is no ordinary file"),
    "encrypted": (encrypted, "case_1.nii: is encrypted"),
    "method that may claim memory": (strange_method, "case_1.nii: is compressed in a way"),
    "wrong checksum": (bad_checksum, "case_1.nii: is damaged"),
    "size that lies": (lying_size, "case_1.nii: is damaged"),
    "bomb in a file": (bomb, "case_1.nii: would unpack to"),
    "archive within": (nested_bomb, "deeper.zip: is an archive within the archive"),
    "twice the same path": ([("case_1.nii", b"x"), ("case_1.nii", b"y")], "case_1.nii: is in the archive twice"),
    "twice the same case": ([("a/case_1.nii", b"x"), ("b/case_1.nii", b"y")], "case_1 is predicted again by"),
    "line break in a name": ([("case_9\nleaderboard: all fine.nii", b"x")], r"case_9\nleaderboard: all fine.nii: bel"),
    "name too long for any disk": ([("d/" + "x" * 3000 + ".nii", b"x")], ".nii: belongs to no case"),
    "empty file": ([("case_1.nii", b"")], "case_1.nii: is truncated"),
    "text": ([("case_1.nii", b"hello" * 100)], "case_1.nii: is not a NIfTI"),
    "voxels elsewhere": (
        [("case_1.mha", b"NDims = 3\nDimSize = 8 9 2\nElementType = MET_UCHAR\nElementDataFile = /etc/passwd\n")],
        "case_1.mha: keeps its voxels in another file",
    ),
    "detached nrrd": (
        [("case_1.nrrd", b"NRRD0004\ntype: uchar\ndata file: /etc/passwd\n\n")],
        "case_1.nrrd: keeps its voxels in another file",
    ),
    "no name": (nameless, ".zip/: has no name"),
    "header alone": (
        [("case_1.nhdr", b"NRRD0004")],
        "case_1.nhdr: keeps its voxels in another file: write one .mha or",
    ),
    "other format": ([("case_1.mgz", b"\x1f\x8b")], "case_1.mgz: is of a format that is not read"),
}


def problems_of(function):
    """Problems that a function returns or raises."""
    try:
        return function()
    except InputError as error:
        return error.problems


def everything(folder):
    """Every path under a folder with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def limited(monkeypatch):
    """Limits that a test reaches."""
    monkeypatch.setattr(
        submission, "unpack", lambda *arguments: unpack(*arguments, Limits(members=50, file_bytes=1_000_000))
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_each_fault_is_named_in_a_line_and_nothing_is_written_outside(
    tmp_path, cases, sound, monkeypatch, limited, kind
):
    members, message = HOSTILE[kind]
    path = tmp_path / "masks.zip"
    if callable(members):
        members(path, sound)
    else:
        pack(path, [*members, ("case_2.nii", sound)])
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    before = everything(tmp_path)
    for refuse in (
        lambda: check_predictions(cases, path),
        lambda: score_cases(cases, path, "me", jobs=1),
    ):
        with pytest.raises(InputError) as caught:
            refuse()
        assert any(message in problem for problem in caught.value.problems), caught.value.problems
        assert all("\n" not in problem for problem in caught.value.problems)
        assert all(problem.startswith(f"{path}/") for problem in caught.value.problems)
        assert everything(tmp_path) == before
    told = []
    frame = score_cases(cases, path, "me", jobs=1, lenient=True, on_problem=told.append)
    assert list(frame["status"]) == ["missing", "ok", "missing"]
    assert len(told) == len(caught.value.problems)
    assert everything(tmp_path) == before


def test_there_are_at_least_20_kinds():
    assert len(HOSTILE) >= 20


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_all_faults_are_told_at_once(tmp_path, cases, sound, limited):
    plain = {kind: given for kind, (given, _) in HOSTILE.items() if not callable(given) and "twice" not in kind}
    members = [(f"{number}/{name}" if isinstance(name, str) and name.startswith("case") else name, data)
               for number, given in enumerate(plain.values()) for name, data in given]  # fmt: skip
    path = pack(tmp_path / "masks.zip", members)
    with pytest.raises(InputError) as caught:
        check_predictions(cases, path)
    assert len(caught.value.problems) >= 12


@pytest.mark.parametrize("folder", ["", "my masks/", "a/b/c/"])
def test_a_sound_zip_scores_as_its_folder_does(tmp_path, cases, sound, folder):
    (tmp_path / "masks").mkdir()
    for number in (1, 3):
        (tmp_path / "masks" / f"case_{number}.nii").write_bytes(sound)
    path = pack(
        tmp_path / "masks.zip",
        [
            (f"{folder}case_1.nii", sound),
            (f"{folder}case_3.nii", sound),
            (f"__MACOSX/{folder}._case_1.nii", b"fork"),
            (f"__MACOSX/{folder}case_1.nii", b"fork"),
            (f"{folder}.DS_Store", b"x"),
            (f"{folder}readme.txt", b"x"),
            (entry("empty/", stat.S_IFDIR | 0o755), b""),
        ],
    )
    frames = [score_cases(cases, given, "me") for given in (path, tmp_path / "masks")]
    assert frames[0].equals(frames[1])
    assert check_predictions(cases, path) == ["case_2"]
    assert [name.name for name in mask_files(path)] == ["case_1.nii", "case_3.nii"]


def test_the_temporary_folder_goes_away_whatever_happens(tmp_path, sound, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path = pack(tmp_path / "masks.zip", [("case_1.nii", sound)])

    def use():
        with open_submission(path) as opened:
            assert [file.read_bytes() for file in opened.files.values()] == [sound]
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(members=2), "holds 3 files where 2 are allowed"),
        (Limits(total_bytes=1000), "would unpack to"),
        (Limits(listing_bytes=100), "lists more files"),
    ],
)
def test_an_archive_beyond_a_limit_is_refused_before_anything_is_unpacked(tmp_path, sound, limits, message):
    path = pack(tmp_path / "masks.zip", [(f"case_{number}.nii", sound) for number in (1, 2, 3)])
    (tmp_path / "target").mkdir()
    for refuse in (
        lambda: unpack(path, tmp_path / "target", wanted, limits),
        lambda: list_members(path, wanted, limits),
    ):
        with pytest.raises(InputError, match=message):
            refuse()
    assert not list((tmp_path / "target").iterdir())


def test_a_listing_of_64_bits_is_limited_as_well(tmp_path, sound):
    path = pack(tmp_path / "masks.zip", [("case_1.nii", sound)])
    content = path.read_bytes()
    end = content.rfind(b"PK\x05\x06")
    record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 1, 1, 1 << 24, 0)
    locator = struct.pack("<IIQI", 0x07064B50, 0, end, 1)
    path.write_bytes(content[:end] + bytes(1 << 25) + record + locator + content[end:])
    with pytest.raises(InputError, match="lists more files"):
        list_members(path, wanted)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", b"", "is no zip archive"),
        ("a.zip", b"PK" + bytes(100), "is no zip archive"),
        ("a.zip", None, "does not exist"),
        ("a.tar", b"x", "nor does its name end in .zip"),
    ],
)
def test_what_is_no_zip_is_refused(tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    for refuse in (lambda: mask_files(tmp_path / name), lambda: open_submission(tmp_path / name).__enter__()):
        with pytest.raises(InputError, match=message):
            refuse()


@pytest.mark.parametrize("kind", ["archive within", "encrypted", "bomb in a file"])
def test_a_zip_of_which_nothing_is_left_is_not_called_empty(tmp_path, sound, limited, kind):
    name = "deeper.zip" if kind == "archive within" else "case_1.nii"
    alone = pack(tmp_path / "alone.zip", [(name, bytes(3_000_000) if kind == "bomb in a file" else sound)])
    if kind == "encrypted":
        patched(alone, 8, struct.pack("<H", 1))
    with pytest.raises(InputError) as caught:
        open_submission(alone).__enter__()
    (problem,) = caught.value.problems
    assert HOSTILE[kind][1] in problem


def test_a_zip_without_masks_is_refused(tmp_path):
    path = pack(tmp_path / "masks.zip", [("readme.txt", b"x")])
    for refuse in (lambda: mask_files(path), lambda: open_submission(path).__enter__()):
        with pytest.raises(InputError, match=r"holds no \.nii"):
            refuse()


def test_no_damage_ends_in_anything_but_an_input_error(tmp_path, cases, sound):
    rng = random.Random(0)
    path = pack(tmp_path / "masks.zip", [("case_1.nii", sound), ("b/case_2.nii", np.random.default_rng(0).bytes(500))])
    whole = path.read_bytes()
    places = [
        place
        for mark in (b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04")
        for place in range(whole.find(mark), whole.find(mark) + 60)
    ]
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 2, 5])):
            place = rng.choice([rng.choice(places), rng.randrange(len(whole))])
            damaged[min(place, len(whole) - 1)] = rng.randrange(256)
        path.write_bytes(damaged[: rng.choice([len(damaged), len(damaged), rng.randrange(len(damaged))])])
        (target := tmp_path / "target").mkdir(exist_ok=True)
        assert all(problem.startswith(str(path)) for problem in problems_of(lambda: unpack(path, target, wanted)[1]))
