"""Digests of files and of the program against the standard library's, byte by byte."""

import hashlib
from importlib import metadata

import pytest

from leaderboard.io.digests import file_digest, program_digest


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_a_files_digest_is_that_of_its_bytes(tmp_path, size):
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "none")


def test_a_programs_digest_is_of_its_files_in_order_and_of_versions(tmp_path):
    files = [tmp_path / name for name in ("a.py", "b.py")]
    for path in files:
        path.write_text(path.name)
    versions = f"numpy {metadata.version('numpy')}\n"
    assert program_digest(files, ["numpy"]) == hashlib.sha256(f"a.pyb.py{versions}".encode()).hexdigest()
    assert program_digest(files[::-1], ["numpy"]) == hashlib.sha256(f"b.pya.py{versions}".encode()).hexdigest()
