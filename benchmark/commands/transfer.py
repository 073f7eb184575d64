"""Files of a public record, fetched so that a break loses nothing.

pooch's downloader asks for a file, and its hashes say whether it is whole. What pooch does not do is to continue: its
own `retrieve` writes to a temporary file that goes when anything fails, the last of a hundred gigabytes too. So the
downloader is told to ask for what is missing (HTTP's ``Range``), and what arrives is added to ``<name>.part``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from leaderboard.errors import InputError

if TYPE_CHECKING:
    import requests

#: Seconds without a byte after which a connection counts as lost.
_TIMEOUT_S = 30
#: So often in a row a transfer may break without having gone further; the pause before each is that much longer.
_TRIES = 4
_PAUSE_S = 2.0
#: What is read at once, which is what a break loses at most.
_CHUNK_BYTES = 1 << 16
#: From this size on, a digest takes so long that a word is due.
_LONG_BYTES = 1 << 30
_HASHES = ("md5", "sha256")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record.

    Attributes:
        name: in the record.
        url: where its content is.
        size: in bytes.
        algorithm: of its digest, ``md5`` or ``sha256``.
        digest: of its content, in hexadecimal.
    """

    name: str
    url: str
    size: int
    algorithm: str
    digest: str


@dataclass(frozen=True)
class Record:
    """What a record offers.

    Attributes:
        licence: its identifier, such as ``cc-by-4.0``; None where the record does not say.
        files: by name.
    """

    licence: str | None
    files: Mapping[str, RemoteFile]


def read_record(api: str, number: int) -> Record:
    """What the API of Zenodo (InvenioRDM) says of a record.

    Args:
        api: address of the API's records, ``https://zenodo.org/api/records``.
        number: of the record.

    Raises:
        InputError: it cannot be reached, there is no such record, or the answer is not understood.
    """
    import requests

    url = f"{api}/{number}"
    try:
        answer = requests.get(url, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        content = answer.json()
    except requests.RequestException as error:
        raise InputError(f"{url}: {_fault(error)}") from None
    try:
        licence = (content.get("metadata") or {}).get("license") or {}
        files = [_remote_file(entry) for entry in content["files"]]
        return Record(licence.get("id"), {file.name: file for file in files})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{url}: answers otherwise than the API of records does: try again later, or download by hand"
        ) from None


def fetch_file(
    file: RemoteFile,
    target: Path,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
    pause_s: float = _PAUSE_S,
) -> None:
    """Fetch a file, continuing what an earlier call began; it has its name only once its digest is right.

    Args:
        file: what to fetch.
        target: where it goes; what has arrived lies beside it, ``<name>.part``. It is not fetched again if it is there.
        progress: called with the bytes that are there and the bytes of all.
        tell: called with a line on what the user should know.
        pause_s: before a broken transfer is taken up again, and longer each time that nothing arrives.

    Raises:
        InputError: it cannot be had; what has arrived stays for the next call.
    """
    import pooch

    part = target.with_name(target.name + ".part")
    if target.is_file():
        return
    for last in (False, True):
        _complete(file, part, progress, tell, pause_s)
        if file.size > _LONG_BYTES:
            tell(f"{file.name}: all of it has arrived; its {file.algorithm} is computed")
        if pooch.file_hash(part, alg=file.algorithm) == file.digest:
            part.replace(target)
            return
        part.unlink()
        if not last:
            tell(f"{file.name}: arrived damaged (its {file.algorithm} is wrong): fetched once more")
    raise InputError(
        f"{file.url}: arrived damaged twice (its {file.algorithm} is not {file.digest}): try again later, or "
        "download it by hand"
    )


def _complete(
    file: RemoteFile,
    part: Path,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
    pause_s: float,
) -> None:
    """Bring a part to the file's size, over as many connections as it takes; see `fetch_file`."""
    import requests

    part.touch()
    furthest = part.stat().st_size
    in_vain = 0
    progress(furthest, file.size)
    while part.stat().st_size < file.size:
        fault = "the connection ended"
        try:
            _continue(file, part, progress, tell)
        except requests.RequestException as error:
            fault = _fault(error)
            if isinstance(error, requests.HTTPError) and not _passes(error):
                raise InputError(f"{file.url}: {fault}") from None
        except OSError as error:
            raise InputError(
                f"{part}: cannot be written ({error.strerror or error}): make room and give the same command again"
            ) from None
        reached = part.stat().st_size
        in_vain = 0 if reached > furthest else in_vain + 1
        furthest = max(furthest, reached)
        if in_vain == _TRIES:
            raise InputError(
                f"{file.url}: broke off after {reached} of {file.size} bytes ({fault}); {part} is kept: give the same "
                "command again to continue"
            )
        if reached < file.size:
            time.sleep(pause_s * (1 + in_vain))


def _continue(file: RemoteFile, part: Path, progress: Callable[[int, int], None], tell: Callable[[str], None]) -> None:
    """Ask for what a part lacks, and add what arrives.

    Raises:
        requests.RequestException: the transfer broke.
        OSError: the part cannot be written.
    """
    import pooch
    import requests

    with part.open("ab") as opened:
        start = opened.tell()

        def placed(answer: requests.Response, **_: Any) -> None:
            """Before anything is read: does the answer begin where it should?"""
            if answer.status_code == requests.codes.ok and start:
                tell(f"{file.name}: the server cannot continue a file: fetched from its beginning")
                opened.truncate(0)
                opened.seek(0)
            place = answer.headers.get("Content-Range", "")
            if answer.status_code == requests.codes.partial_content and not place.startswith(f"bytes {start}-"):
                raise requests.RequestException("another part of the file was sent")

        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        fetched = pooch.HTTPDownloader(
            chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_S, headers=headers, hooks={"response": placed}
        )
        fetched(file.url, _Sink(opened, file.size, progress), None)


class _Sink:
    """Where pooch writes: a file that tells how far it is, and takes no more than was promised."""

    def __init__(self, opened: BinaryIO, size: int, progress: Callable[[int, int], None]) -> None:
        self.opened = opened
        self.size = size
        self.progress = progress

    def write(self, chunk: bytes) -> None:
        """Add what arrived.

        Raises:
            requests.RequestException: it is more than the file has.
        """
        import requests

        left = self.size - self.opened.tell()
        self.opened.write(chunk[:left])
        self.progress(self.opened.tell(), self.size)
        if len(chunk) > left:
            raise requests.RequestException("more was sent than the file has")

    def flush(self) -> None:
        """What has arrived is on disk whatever happens to this process."""
        self.opened.flush()


def _remote_file(entry: Mapping[str, Any]) -> RemoteFile:
    """A file as the API lists it; older answers called some fields otherwise."""
    links = entry["links"]
    algorithm, _, digest = entry["checksum"].rpartition(":")
    if algorithm not in ("", *_HASHES):
        raise ValueError(algorithm)
    return RemoteFile(
        name=entry.get("key") or entry["filename"],
        url=links.get("self") or links["download"],
        size=int(entry.get("size", entry.get("filesize"))),
        algorithm=algorithm or "md5",
        digest=digest.lower(),
    )


def _passes(error: requests.HTTPError) -> bool:
    """Whether the same question may be answered a little later: the server is busy, or has nothing after a part."""
    status = _status(error)
    return status >= 500 or status in (408, 416, 429)


def _status(error: requests.HTTPError) -> int:
    return error.response.status_code if error.response is not None else 0


def _fault(error: requests.RequestException) -> str:
    """What went wrong, and the remedy, on one short line; what requests says holds whole addresses and classes."""
    import requests

    if isinstance(error, requests.HTTPError):
        status = _status(error)
        if status in (404, 410):
            return f"is not there ({status}): look for a newer version of the record, and download it by hand"
        return "the server has no more of it" if status == 416 else f"the server answers {status}: try again later"
    if isinstance(error, (requests.exceptions.ProxyError, requests.exceptions.InvalidProxyURL)):
        return "the proxy cannot be reached: correct HTTPS_PROXY and HTTP_PROXY"
    if isinstance(error, requests.exceptions.SSLError):
        return "the connection is not trusted (certificate): set REQUESTS_CA_BUNDLE where a proxy has its own"
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)):
        return "the connection broke"
    if isinstance(error, requests.Timeout):
        return f"no answer within {_TIMEOUT_S} s: check the network, and HTTPS_PROXY where there is a proxy"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached: check the network, and HTTPS_PROXY where there is a proxy"
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return "answers no JSON: check whether a proxy or a login page answers in its place"
    return str(error)
