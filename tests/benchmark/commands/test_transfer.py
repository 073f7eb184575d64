"""A file of a record arrives whole or not at all, and what has arrived is not asked for again."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from records import Records, served

from benchmark.commands import transfer
from benchmark.commands.transfer import RemoteFile, fetch_file, read_record
from leaderboard.errors import InputError

pytestmark = pytest.mark.usefixtures("without_proxy")

CONTENT = random.Random(0).randbytes(3_000_000)
NAME = "release.zip"


@pytest.fixture
def records() -> Iterator[Records]:
    with served(Records({NAME: CONTENT})) as server:
        yield server


def remote(records: Records) -> RemoteFile:
    return read_record(records.api, 1).files[NAME]


def fetch(records: Records, target: Path, told: list[str] | None = None) -> list[tuple[int, int]]:
    """Fetch the file; the progress that was told."""
    steps: list[tuple[int, int]] = []
    lines = [] if told is None else told
    fetch_file(remote(records), target, lambda done, total: steps.append((done, total)), lines.append, pause_s=0)
    return steps


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_a_record_says_name_size_digest_and_licence(records: Records) -> None:
    record = read_record(records.api, 1)
    assert record.licence == "cc-by-4.0"
    assert record.files[NAME].size == len(CONTENT)
    assert record.files[NAME].algorithm == "md5"


def test_a_whole_transfer_is_one_question_and_leaves_no_part(records: Records, tmp_path: Path) -> None:
    fetch(records, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert records.of(NAME) == [(0, len(CONTENT))]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_progress_rises_from_nothing_to_the_files_size(records: Records, tmp_path: Path) -> None:
    steps = fetch(records, tmp_path / NAME)
    assert steps[0] == (0, len(CONTENT))
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert steps == sorted(steps)


def test_a_file_that_is_there_is_not_asked_for(records: Records, tmp_path: Path) -> None:
    fetch(records, tmp_path / NAME)
    fetch(records, tmp_path / NAME)
    assert len(records.of(NAME)) == 1


def test_a_broken_transfer_is_continued_where_it_stopped(records: Records, tmp_path: Path) -> None:
    records.breaks[NAME] = [1_000_000, 500_000]
    fetch(records, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    starts = [start for start, _ in records.of(NAME)]
    assert len(starts) == 3
    lost = 1 << 16  # of a broken answer, what was being read
    assert 1_000_000 - lost <= starts[1] <= 1_000_000
    assert starts[1] + 500_000 - lost <= starts[2] <= starts[1] + 500_000


def test_a_transfer_that_goes_on_is_not_given_up_however_often_it_breaks(records: Records, tmp_path: Path) -> None:
    records.breaks[NAME] = [200_000] * 12
    fetch(records, tmp_path / NAME)
    assert len(records.of(NAME)) == 13
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_an_answer_with_another_part_is_not_taken(records: Records, tmp_path: Path) -> None:
    part_of(tmp_path / NAME).write_bytes(CONTENT[:2_000_000])
    records.elsewhere = 1
    told: list[str] = []
    fetch(records, tmp_path / NAME, told)
    assert [start for start, _ in records.of(NAME)] == [1_000_000, 2_000_000]
    assert told == []
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_part_of_an_earlier_call_is_continued(records: Records, tmp_path: Path) -> None:
    part_of(tmp_path / NAME).write_bytes(CONTENT[:2_000_000])
    fetch(records, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert records.of(NAME) == [(2_000_000, 1_000_000)]


def test_a_part_that_is_whole_is_checked_and_not_asked_for(records: Records, tmp_path: Path) -> None:
    part_of(tmp_path / NAME).write_bytes(CONTENT)
    fetch(records, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert records.of(NAME) == []


@pytest.mark.parametrize("part", [b"x" * 10, b"x" * (len(CONTENT) + 1)])
def test_a_part_of_another_file_is_replaced(records: Records, tmp_path: Path, part: bytes) -> None:
    part_of(tmp_path / NAME).write_bytes(part)
    fetch(records, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_server_that_continues_nothing_is_asked_from_the_beginning(records: Records, tmp_path: Path) -> None:
    records.ranges = False
    records.breaks[NAME] = [1_500_000]
    told: list[str] = []
    fetch(records, tmp_path / NAME, told)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert [start for start, _ in records.of(NAME)] == [0, 0]
    assert told == [f"{NAME}: the server cannot continue a file: fetched from its beginning"]


def test_a_file_that_ends_early_is_refused_and_what_arrived_is_kept(records: Records, tmp_path: Path) -> None:
    records.ends[NAME] = 2_500_000
    with pytest.raises(InputError, match=r"broke off after 2500000 of 3000000 bytes \(the server has no more of it\)"):
        fetch(records, tmp_path / NAME)
    assert part_of(tmp_path / NAME).read_bytes() == CONTENT[:2_500_000]
    assert not (tmp_path / NAME).exists()


def test_a_file_that_ended_early_is_completed_by_the_next_call(records: Records, tmp_path: Path) -> None:
    records.ends[NAME] = 2_500_000
    with pytest.raises(InputError):
        fetch(records, tmp_path / NAME)
    records.ends.clear()
    records.asked.clear()
    fetch(records, tmp_path / NAME)
    assert records.of(NAME) == [(2_500_000, 500_000)]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_connection_that_always_breaks_at_once_is_given_up(records: Records, tmp_path: Path) -> None:
    records.breaks[NAME] = [0] * 20
    with pytest.raises(InputError, match=r"broke off after 0 of 3000000 bytes \(the connection broke\)"):
        fetch(records, tmp_path / NAME)
    assert len(records.of(NAME)) == transfer._TRIES


def test_a_damaged_file_is_told_and_fetched_anew_once(records: Records, tmp_path: Path) -> None:
    records.spoilt[NAME] = 1
    told: list[str] = []
    fetch(records, tmp_path / NAME, told)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert records.of(NAME) == [(0, len(CONTENT))] * 2
    assert told == [f"{NAME}: arrived damaged (its md5 is wrong): fetched once more"]


def test_a_file_that_is_never_the_records_is_refused_after_two_transfers(records: Records, tmp_path: Path) -> None:
    records.digests[NAME] = "md5:" + "0" * 32
    with pytest.raises(InputError, match=r"arrived damaged twice \(its md5 is not 0{32}\)"):
        fetch(records, tmp_path / NAME)
    assert len(records.of(NAME)) == 2
    assert list(tmp_path.iterdir()) == []


def test_where_the_digest_takes_long_it_is_said(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_LONG_BYTES", 1000)
    told: list[str] = []
    fetch(records, tmp_path / NAME, told)
    assert told == [f"{NAME}: all of it has arrived; its md5 is computed"]


def test_a_busy_server_is_asked_again(records: Records, tmp_path: Path) -> None:
    records.statuses[NAME] = [503, 429]
    fetch(records, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_gone_is_refused_at_once(records: Records, tmp_path: Path, status: int) -> None:
    records.statuses[NAME] = [status]
    with pytest.raises(InputError, match=rf"/{NAME}/content: is not there \({status}\): look for a newer version"):
        fetch(records, tmp_path / NAME)
    assert records.of(NAME) == []


def test_no_more_is_written_than_the_record_says(records: Records, tmp_path: Path) -> None:
    file = remote(records)
    records.files[NAME] = CONTENT + b"x" * 5_000_000
    fetch_file(file, tmp_path / NAME, lambda *_: None, lambda _: None, pause_s=0)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_full_disk_keeps_what_arrived(records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = transfer._Sink.write

    def write(self: transfer._Sink, chunk: bytes) -> None:
        if self.opened.tell() > 1_000_000:
            raise OSError(28, "No space left on device")
        written(self, chunk)

    monkeypatch.setattr(transfer._Sink, "write", write)
    with pytest.raises(InputError, match=r"\.part: cannot be written \(No space left on device\): make room"):
        fetch(records, tmp_path / NAME)
    monkeypatch.undo()
    records.asked.clear()
    fetch(records, tmp_path / NAME)
    assert records.of(NAME)[0][0] > 1_000_000
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_an_empty_file_is_one(records: Records, tmp_path: Path) -> None:
    records.files[NAME] = b""
    fetch(records, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == b""


def test_a_record_that_is_not_there_is_refused(records: Records) -> None:
    with pytest.raises(InputError, match=r"is not there \(404\)"):
        read_record(records.api.replace("records", "nothing"), 1)


def test_an_answer_that_is_no_record_is_refused(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    for listing in ([], {}, {"files": [{}]}, {"files": [{"key": "a", "size": 1, "checksum": "crc:1", "links": {}}]}):
        monkeypatch.setattr(records, "listing", lambda number, listing=listing: listing)
        with pytest.raises(InputError, match="answers otherwise than the API of records does"):
            read_record(records.api, 1)


def test_a_page_in_place_of_the_record_is_refused(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("records.json.dumps", lambda _: "<html>log in</html>")
    with pytest.raises(InputError, match="answers no JSON: check whether a proxy or a login page answers"):
        read_record(records.api, 1)


def test_no_network_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError) as refused:
        read_record(f"http://127.0.0.1:{port}/api/records", 1)
    assert refused.value.problems == [
        f"http://127.0.0.1:{port}/api/records/1: cannot be reached: check the network, and HTTPS_PROXY where there is "
        "a proxy"
    ]


def test_a_proxy_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(InputError) as refused:
        read_record("http://records.invalid/api/records", 1)
    assert refused.value.problems == [
        "http://records.invalid/api/records/1: the proxy cannot be reached: correct HTTPS_PROXY and HTTP_PROXY"
    ]
