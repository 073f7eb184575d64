"""A release is fetched, unpacked and checked by one command, which is given again after whatever ended it."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trees
from records import Records, served
from rich.console import Console

from benchmark.cli import main
from benchmark.commands import fetch as command
from benchmark.commands import unpacking
from benchmark.commands.fetch import fetch
from benchmark.commands.releases import RELEASES
from leaderboard.cohort.formats import FORMATS, scan_cohort
from leaderboard.errors import InputError
from leaderboard.io.archive import leads_out

pytestmark = pytest.mark.usefixtures("without_proxy")

TABLE = b"case,centre\nsub-strokecase0001,Munich\n"
ZIP = "ISLES-2022.zip"


def zipped(folder: Path, *others: tuple[str, bytes]) -> bytes:
    """A folder's files as a zip, and further members."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
        for name, data in others:
            archive.writestr(name, data)
    return content.getvalue()


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    tree = trees.isles2022(tmp_path / "tree")
    clutter = (("__MACOSX/ISLES-2022/._x", b"x"), ("ISLES-2022/.DS_Store", b"x"))
    with served(Records({ZIP: zipped(tree, *clutter), "center_ids.xlsx": TABLE, "readme.txt": b"-"})) as server:
        yield server


def fetched(records: Records, folder: Path, name: str = "isles2022", agree: Callable[[], bool] = lambda: True) -> str:
    """Fetch a release; what was told."""
    told = io.StringIO()
    fetch(name, folder, agree, Console(file=told, width=80), api=records.api, pause_s=0)
    return told.getvalue()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_release_is_there_as_it_was_packed_with_its_table_beside(records: Records, tmp_path: Path) -> None:
    fetched(records, tmp_path / "out")
    found = files_of(tmp_path / "out")
    assert found.pop("center_ids.xlsx") == TABLE
    assert json.loads(found.pop("fetched.json"))["source"] == "https://doi.org/10.5281/zenodo.7960856"
    assert found == files_of(tmp_path / "tree")


def test_what_was_fetched_is_a_cohort_of_its_format(records: Records, tmp_path: Path) -> None:
    fetched(records, tmp_path / "out")
    (tmp_path / "out/center_ids.xlsx").unlink()  # ours is no workbook
    cohort = scan_cohort(tmp_path / "out")
    assert cohort.format.name == "isles2022"
    assert [case.name for case in cohort.cases] == ["sub-strokecase0001", "sub-strokecase0002"]


def test_size_and_licence_are_told_before_the_question(records: Records, tmp_path: Path) -> None:
    told = io.StringIO()
    heard: list[str] = []

    def agree() -> bool:
        heard.append(told.getvalue())
        return True

    fetch("isles2022", tmp_path / "out", agree, Console(file=told, width=80), api=records.api)
    size = len(records.files[ZIP])
    assert "licence: CC BY 4.0" in heard[0]
    assert "zenodo.7960856" in heard[0]
    assert f"{ZIP} ({size / 1000:.1f} kB)" in heard[0]
    assert "are free" in heard[0]


def test_another_licence_in_the_record_is_told(records: Records, tmp_path: Path) -> None:
    records.licence = "cc-by-nc-4.0"
    assert "note: the record itself says cc-by-nc-4.0" in fetched(records, tmp_path / "out")


def test_the_same_licence_is_told_once(records: Records, tmp_path: Path) -> None:
    assert "note:" not in fetched(records, tmp_path / "out")


def test_a_refusal_leaves_nothing_and_asks_for_no_file(records: Records, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing was fetched"):
        fetched(records, tmp_path / "out", agree=lambda: False)
    assert not (tmp_path / "out").exists()
    assert records.asked == []


def test_a_second_call_asks_for_nothing(records: Records, tmp_path: Path) -> None:
    fetched(records, tmp_path / "out")
    records.asked.clear()
    records.api = "http://127.0.0.1:9/nobody"
    assert fetched(records, tmp_path / "out") == f"ISLES 2022 is in {tmp_path / 'out'}\n"
    assert records.asked == []


def test_what_a_kill_left_behind_at_the_very_end_goes_with_the_next_call(records: Records, tmp_path: Path) -> None:
    fetched(records, tmp_path / "out")
    (tmp_path / "out/unfinished-isles2022").mkdir()
    (tmp_path / "out/unfinished-isles2022" / ZIP).write_bytes(records.files[ZIP])
    fetched(records, tmp_path / "out")
    assert not (tmp_path / "out/unfinished-isles2022").exists()


def test_a_call_after_a_broken_one_asks_for_what_is_missing(records: Records, tmp_path: Path) -> None:
    size = len(records.files[ZIP])
    records.ends[ZIP] = size // 2
    with pytest.raises(InputError, match="same command again"):
        fetched(records, tmp_path / "out")
    records.ends.clear()
    records.asked.clear()
    told = fetched(records, tmp_path / "out")
    assert records.of(ZIP) == [(size // 2, size - size // 2)]
    assert "are there already" in told
    assert (tmp_path / "out/ISLES-2022").is_dir()


def test_a_record_without_the_file_is_refused_by_what_it_has(records: Records, tmp_path: Path) -> None:
    del records.files["center_ids.xlsx"]
    with pytest.raises(InputError, match=r"has no file center_ids\\.xlsx \(it has ISLES-2022.zip, readme.txt\)"):
        fetched(records, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_too_small_is_refused_before_anything_is_asked(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "free_bytes", lambda folder: 2 * len(records.files[ZIP]))
    with pytest.raises(InputError, match=r"takes .* kB and .* kB are free: make room"):
        fetched(records, tmp_path / "out", agree=lambda: pytest.fail("asked"))
    assert not (tmp_path / "out").exists()
    assert records.asked == []


def test_what_an_archive_holds_must_fit_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(tmp_path / "none", ("a", b"0" * 100_000)))
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(unpacking, "free_bytes", lambda folder: 99_999)
    with pytest.raises(InputError, match=r"what a\.zip holds takes 100\.0 kB"):
        unpacking.unpack(tmp_path / "a.zip", tmp_path / "out", lambda *_: None)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "..\\out.txt", "C:/out.txt"])
def test_an_archive_that_leads_out_is_refused_as_a_whole(records: Records, tmp_path: Path, name: str) -> None:
    records.files[ZIP] = zipped(tmp_path / "tree", (name, b"x"))
    with pytest.raises(InputError, match=r"out\.txt lead out of the archive: do not use it"):
        fetched(records, tmp_path / "out")
    assert not list(tmp_path.rglob("*out.txt"))
    assert not Path("/tmp/out.txt").exists()
    assert not (tmp_path / "out/ISLES-2022").exists()


@pytest.mark.parametrize("name", ["unfinished-isles2022/case.nii", "Unfinished-ISLES2022/unpacked/x", "fetched.json"])
def test_a_release_that_holds_what_the_command_calls_its_own_is_refused(
    records: Records, tmp_path: Path, name: str
) -> None:
    records.files[ZIP] = zipped(tmp_path / "tree", (name, b"{}"))
    for _ in range(2):
        with pytest.raises(InputError, match=r"the release holds .*: download and unpack it by hand"):
            fetched(records, tmp_path / "out")
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"unfinished-isles2022"}


def test_an_archive_with_a_link_is_refused_as_a_whole(records: Records, tmp_path: Path) -> None:
    content = io.BytesIO(records.files[ZIP])
    with zipfile.ZipFile(content, "a") as archive:
        link = zipfile.ZipInfo("ISLES-2022/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    records.files[ZIP] = content.getvalue()
    with pytest.raises(InputError, match=r"ISLES-2022/link are no ordinary files"):
        fetched(records, tmp_path / "out")
    assert not (tmp_path / "out/ISLES-2022").exists()


def test_an_archive_that_is_none_is_refused(records: Records, tmp_path: Path) -> None:
    records.files[ZIP] = b"no zip"
    with pytest.raises(InputError, match=r"ISLES-2022\.zip: cannot be unpacked"):
        fetched(records, tmp_path / "out")


def test_a_member_with_a_wrong_checksum_is_refused(records: Records, tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.txt", b"aaaa-marker-aaaa")
    records.files[ZIP] = content.getvalue().replace(b"aaaa-marker", b"bbbb-marker", 1)
    with pytest.raises(InputError, match=r"ISLES-2022\.zip: cannot be unpacked \(Bad CRC-32"):
        fetched(records, tmp_path / "out")


def test_an_interrupted_unpacking_is_made_again(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(archive: Path, target: Path, progress: Callable[[int, int], None]) -> None:
        (target / "half").write_text("x")
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "unpack", unpack)
    with pytest.raises(KeyboardInterrupt):
        fetched(records, tmp_path / "out")
    monkeypatch.undo()
    records.asked.clear()
    fetched(records, tmp_path / "out")
    assert records.asked == []
    assert {name.split("/")[0] for name in files_of(tmp_path / "out")} == {
        "ISLES-2022", "center_ids.xlsx", "fetched.json"
    }  # fmt: skip


def test_a_folder_with_other_files_is_refused(records: Records, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"holds other files \(thesis\.tex\): give a new or an empty folder"):
        fetched(records, tmp_path / "out")
    assert files_of(tmp_path / "out") == {"thesis.tex": b"x"}


def test_a_folder_of_another_release_is_refused(records: Records, tmp_path: Path) -> None:
    fetched(records, tmp_path / "out")
    with pytest.raises(InputError, match="holds isles2022: give a folder of its own to isles2024"):
        fetched(records, tmp_path / "out", "isles2024")


def test_two_calls_at_once_are_one_too_many(records: Records, tmp_path: Path) -> None:
    unfinished = tmp_path / "out/unfinished-isles2022"
    unfinished.mkdir(parents=True)
    with command.hold(unfinished, lambda owner: None), pytest.raises(InputError, match="is in use"):
        fetched(records, tmp_path / "out")
    assert records.asked == []


def test_isles_2018_takes_the_files_of_its_year(records: Records, tmp_path: Path, isles_tree: Any) -> None:
    training = isles_tree([1], name="t")
    testing = isles_tree([2], name="s", partition="TESTING")
    records.files = {
        "ISLES2017_Training.zip": b"not asked for",
        "ISLES2018_Testing.zip": zipped(testing),
        "ISLES2018_Training.zip": zipped(training),
    }
    fetched(records, tmp_path / "out", "isles2018")
    assert {name for name, _, _ in records.asked} == {"ISLES2018_Testing.zip", "ISLES2018_Training.zip"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"TRAINING", "TESTING", "fetched.json"}


def test_a_cohort_in_a_folder_of_its_archive_is_found(records: Records, tmp_path: Path, isles_tree: Any) -> None:
    isles_tree([1], name="t/release/ISLES2018")
    records.files = {"isles-2018.zip": zipped(tmp_path / "t")}
    console = Console(file=io.StringIO())
    found = fetch("isles2018", tmp_path / "out", lambda: True, console, api=records.api)
    assert found == tmp_path / "out/release/ISLES2018"


def test_an_archive_without_cases_is_told(records: Records, tmp_path: Path) -> None:
    records.files[ZIP] = zipped(tmp_path / "none", ("readme.txt", b"x"))
    with pytest.raises(InputError, match=r"holds no cases of isles2022 .* benchmark check"):
        fetched(records, tmp_path / "out")


def test_a_7z_without_its_reader_is_told_before_it_is_fetched(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.files = {"train.7z": b"x"}
    monkeypatch.setattr(unpacking, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^train\.7z: is unpacked by py7zr: pip install py7zr"):
        fetched(records, tmp_path / "out", "isles2024")
    assert records.asked == []
    assert not (tmp_path / "out").exists()


def test_isles_2024_is_unpacked_from_its_7z(records: Records, tmp_path: Path) -> None:
    py7zr = pytest.importorskip("py7zr")
    tree = trees.isles2024(tmp_path / "tree24")
    with py7zr.SevenZipFile(tmp_path / "train.7z", "w") as archive:
        archive.writeall(tree / "train", "train")
    records.files = {"train.7z": (tmp_path / "train.7z").read_bytes()}
    records.licence = "cc-by-nc-sa-4.0"
    told = fetched(records, tmp_path / "out", "isles2024")
    found = files_of(tmp_path / "out")
    del found["fetched.json"]
    assert found == files_of(tree)
    assert "CC BY-NC-SA 4.0" in told
    assert "note:" not in told


def test_a_7z_that_leads_out_is_refused_as_a_whole(tmp_path: Path) -> None:
    py7zr = pytest.importorskip("py7zr")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.writestr(b"x", "inside.txt")
        archive.writestr(b"x", "xx/outside.txt")
        for file in archive.files:
            file._file_info["filename"] = file.filename.replace("xx/", "../")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"\.\./outside\.txt lead out of the archive"):
        unpacking.unpack(tmp_path / "a.7z", tmp_path / "out", lambda *_: None)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_7z_that_is_none_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("py7zr")
    (tmp_path / "a.7z").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"a\.7z: cannot be unpacked"):
        unpacking.unpack(tmp_path / "a.7z", tmp_path, lambda *_: None)


@pytest.mark.parametrize(("name", "outside"), [("a/b.nii", False), ("a/..b", False), ("a/../b", True), ("/a", True)])
def test_a_name_leads_out_by_its_parts(name: str, outside: bool) -> None:
    assert leads_out(name) is outside


def test_every_release_is_of_a_known_format() -> None:
    assert RELEASES.keys() <= FORMATS.keys()
    assert [FORMATS[name].title for name in RELEASES] == [release.title for release in RELEASES.values()]


@pytest.fixture
def at_loopback(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command asks the server of the tests."""
    monkeypatch.setattr(command, "fetch", partial(fetch, api=records.api, pause_s=0))
    records.files["center_ids.xlsx"] = workbook()


def workbook() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["case", "center"])
    book.active.append(["sub-strokecase0001", "1"])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


@pytest.mark.usefixtures("at_loopback")
def test_the_command_ends_with_the_check_of_the_cohort(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "isles2022", str(tmp_path / "out"), "--yes"]) in (0, 1)
    said = capsys.readouterr().out
    assert "ISLES-2022.zip: " in said
    assert "sub-strokecase0002" in said
    assert "2 cases" in said.splitlines()[-1]


@pytest.mark.usefixtures("at_loopback")
def test_where_nobody_can_be_asked_yes_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "isles2022", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "benchmark: isles2022: nobody can be asked here: give --yes to fetch it under this licence\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("at_loopback")
@pytest.mark.parametrize(("answer", "agreed"), [("y", True), ("Yes", True), ("", False), ("n", False)])
def test_a_terminal_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    monkeypatch.setattr("sys.stdin", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})(answer + "\n"))
    monkeypatch.setattr("sys.stdout", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    main(["fetch", "isles2022", str(tmp_path / "out")])
    assert (tmp_path / "out/fetched.json").exists() is agreed
    assert (tmp_path / "out").exists() is agreed


@pytest.mark.usefixtures("at_loopback")
@pytest.mark.parametrize(("kind", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_the_part_and_says_how_to_go_on(
    records: Records, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: int, status: int
) -> None:
    records.files[ZIP] = zipped(tmp_path / "tree", ("ISLES-2022/noise", os.urandom(4_000_000)))
    part = tmp_path / "out/unfinished-isles2022" / f"{ZIP}.part"

    def interrupt() -> None:
        deadline = time.monotonic() + 10
        while part.stat().st_size == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), kind)

    records.midway = interrupt
    try:
        ended = main(["fetch", "isles2022", str(tmp_path / "out"), "--yes"])
    except SystemExit as end:
        ended = int(end.code or 0)
    assert ended == status
    assert capsys.readouterr().err == "benchmark: interrupted: run the same command again to continue\n"
    arrived = part.stat().st_size
    assert 0 < arrived < len(records.files[ZIP])
    main(["fetch", "isles2022", str(tmp_path / "out"), "--yes"])
    assert records.of(ZIP)[1] == (arrived, len(records.files[ZIP]) - arrived)
    assert (tmp_path / "out/fetched.json").is_file()
