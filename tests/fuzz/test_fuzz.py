"""Files from strangers: whatever is in them, a reader takes them or says in an InputError what is wrong.

Thousands of inputs for each format: sound files that were damaged, cut, repeated and spliced, and texts whose values
were replaced by what has broken readers elsewhere. Seeded, so that a finding can be had again by its number.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from leaderboard.cases import cases_frame, read_cases, write_cases
from leaderboard.errors import InputError
from leaderboard.io.images import read_geometry, read_volume
from leaderboard.io.masks import binary_mask
from leaderboard.ranking.options import RankingOptions
from leaderboard.ranking.ranks import rank_methods
from leaderboard.report.origin import Origin, origin_json, read_origin
from leaderboard.scoring.submission import open_submission

pytestmark = pytest.mark.slow

#: Inputs for each format; at least 5,000 in all.
INPUTS = 1000
#: What a single input may take.
SECONDS, WAITING, BYTES = 10, 60, 2**30

#: Lists of lists by YAML's aliases, 8^12 values in all.
LAUGHS = "[&b0 [x], " + ", ".join(f"&b{n} [{', '.join([f'*b{n - 1}'] * 8)}]" for n in range(1, 13)) + "]"
#: Values in place of others in a text.
HOSTILE = (
    "", "nan", "inf", "-1", "1e308", "1e19", "-0", "0x10", "9" * 5000, "1" + "0" * 400, "\x00", "\ufeff", "\u202e", "'",
    '"', "[]", "{}", "null", "true", "~", "a,b", "a\nb", "=cmd|' /C calc'!A0", "../../x", "/dev/zero", "2026-13-45",
    "!!int ''", "0x" + "f" * 5000, "!!python/object/apply:os.system [id]", "&a [*a, *a]",
    LAUGHS, "[" * 3000, "{a: " * 3000, "x" * 200_000,
    "[/b]",
    r'"\UFFFFFFFF"', r'"\U00110000"', "%YAML 1." + "9" * 5000 + "\n---\n", "a: 1\n---\nb: 2\n",
)  # fmt: skip


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four times: bits flipped, bytes set, a piece left out, repeated, moved or cut off, or numbers put in."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
        match rng.integers(8):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + length] = rng.bytes(length)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length] * int(rng.integers(1, 50))
            case 4:
                del data[at:]
            case 5:
                data[at : at + 8] = rng.choice([0, 1, 2**15, 2**31 - 1, 2**63 - 1]).astype("<i8").tobytes()
            case 6:
                data[at : at + 4] = np.float32(rng.choice([np.nan, np.inf, 0, -1, 1e38, 1e-38])).tobytes()
            case _:
                data[at:at] = rng.choice(np.array(HOSTILE[:12])).encode()
    return bytes(data)


def rewritten(text: str, rng: np.random.Generator) -> bytes:
    """A text with some of its values, lines and separators replaced; sometimes damaged as bytes too."""
    separator = "," if "," in text and rng.random() < 0.7 else rng.choice([":", " ", "\n"])
    parts = text.split(str(separator))
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(parts)))
        match rng.integers(4):
            case 0 | 1:
                parts[place] = HOSTILE[int(rng.integers(len(HOSTILE)))]
            case 2:
                parts.insert(place, parts[int(rng.integers(len(parts)))])
            case _:
                del parts[place]
        if not parts:
            break
    content = str(separator).join(parts).encode("utf-8", "surrogatepass")
    return damaged(content, rng) if rng.random() < 0.2 else content


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    """An input that takes too long or too much memory ends as something else than an InputError."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took more than {SECONDS} s of the processor, or waited for {WAITING}")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = {number: signal.signal(number, late) for number in (signal.SIGPROF, signal.SIGALRM)}
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    for number, handler in before.items():
        signal.signal(number, handler)


def hold(
    folder: Path,
    name: str,
    make: Callable[[np.random.Generator], bytes],
    read: Callable[[Path], Any],
    refused: bool = True,
) -> None:
    """Read many inputs; afterwards tell every one that ended in anything but a result or an InputError."""
    path, accepted, faults = folder / name, 0, []
    for number in range(INPUTS):
        path.write_bytes(make(np.random.default_rng([0, number])))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: a busy machine is no fault of an input
        signal.alarm(WAITING)
        try:
            read(path)
            accepted += 1
        except InputError as error:
            if not all(problem.strip() for problem in error.problems):
                faults.append(f"{number}: an empty message")
        except Exception as error:
            faults.append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
    assert not faults, f"{len(faults)} of {INPUTS}:\n" + "\n".join(faults[:20])
    assert accepted < INPUTS or not refused


def look(path: Path) -> None:
    read_geometry(path)
    volume = read_volume(path)
    binary_mask(volume.data, path)


def nifti() -> bytes:
    image = nib.Nifti1Image((np.indices((9, 8, 5)).sum(0) % 2).astype(np.uint8), np.diag([0.9, 0.9, 5, 1]))
    return image.to_bytes()


def by_itk(path: Path) -> bytes:
    sitk.WriteImage(sitk.GetImageFromArray((np.indices((5, 8, 9)).sum(0) % 2).astype(np.uint8)), str(path))
    return path.read_bytes()


def table(folder: Path) -> str:
    rows = [
        {"method": method, "case": f"case_{number}", "patient": f"P{number}", "fold": number % 2, "status": "ok",
         "dice": 0.5, "hausdorff_mm": 10.0, "precision": 0.5, "recall": 0.5, "avd_ml": 1.0, "reference_ml": 10.0,
         "predicted_ml": 11.0}
        for method in "ab" for number in range(1, 5)
    ]  # fmt: skip
    write_cases(folder / "sound.csv", cases_frame(rows))
    return (folder / "sound.csv").read_text()


def archive(content: bytes) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as written:
        for number in range(1, 4):
            written.writestr(f"masks/case_{number}.nii.gz", content)
        written.writestr("readme.txt", "masks")
    return memory.getvalue()


def test_nifti(tmp_path: Path) -> None:
    hold(tmp_path, "case_1.nii", lambda rng: damaged(nifti(), rng), look)


def test_compressed_nifti(tmp_path: Path) -> None:
    def make(rng: np.random.Generator) -> bytes:
        inside = rng.random() < 0.5
        return gzip.compress(damaged(nifti(), rng)) if inside else damaged(gzip.compress(nifti(), mtime=0), rng)

    hold(tmp_path, "case_1.nii.gz", make, look)


@pytest.mark.parametrize(("ending", "mark"), [("mha", b"LOCAL\n"), ("nrrd", b"\n\n")])
def test_images_that_itk_reads(tmp_path: Path, ending: str, mark: bytes) -> None:
    sound = by_itk(tmp_path / f"sound.{ending}")
    head, mark, voxels = sound.partition(mark)

    def make(rng: np.random.Generator) -> bytes:
        return rewritten(head.decode(), rng) + mark + voxels if rng.random() < 0.5 else damaged(sound, rng)

    hold(tmp_path, f"case_1.{ending}", make, look)


def test_zip(tmp_path: Path) -> None:
    sound = archive(gzip.compress(nifti(), mtime=0))

    def read(path: Path) -> None:
        with open_submission(path) as submission:
            for mask in submission.files.values():
                look(mask)

    hold(tmp_path, "masks.zip", lambda rng: damaged(sound, rng), read)


def test_cases_csv(tmp_path: Path) -> None:
    sound = table(tmp_path)

    def read(path: Path) -> None:
        cases = read_cases(path)
        for scheme in ("dice", "rank-then-mean"):
            rank_methods(cases, RankingOptions(scheme=scheme))

    hold(tmp_path, "cases.csv", lambda rng: rewritten(sound, rng), read)


def test_settings_of_a_committed_result(tmp_path: Path) -> None:
    sound = origin_json(Origin(RankingOptions(metrics=("dice", "avd_ml"), resamples=100), notes={"suite": "a"}))
    hold(tmp_path, "leaderboard.json", lambda rng: rewritten(sound, rng), read_origin)


def test_suites_yaml(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from benchmark.suite.config import read_suite
    from benchmark.suite.config_files import find_config

    sound = find_config("twin").read_text()
    hold(tmp_path, "suite.yaml", lambda rng: rewritten(sound, rng), read_suite)


def test_provenance_and_state(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from benchmark.rundir.digests import damaged_results, write_provenance
    from benchmark.rundir.state import State, read_state, write_state

    (tmp_path / "metrics.csv").write_text("epoch\n1\n")
    write_provenance(tmp_path, {"outputs": {"metrics.csv": "0" * 64}, "costs": {"fit_seconds": 1.5}})
    sound = (tmp_path / "provenance.json").read_text()
    hold(
        tmp_path,
        "provenance.json",
        lambda rng: rewritten(sound, rng),
        lambda path: damaged_results(path.parent),
        refused=False,
    )
    write_state(tmp_path, State(inputs="x"))
    sound = json.dumps(json.loads((tmp_path / "state.json").read_text()))
    hold(tmp_path, "state.json", lambda rng: rewritten(sound, rng), lambda path: read_state(path.parent), refused=False)


def test_sealed_provenance_of_a_stranger(tmp_path: Path) -> None:
    """Whoever writes a run folder can seal what is in it."""
    pytest.importorskip("torch")
    from benchmark.commands.verify import _remarks
    from benchmark.pipeline.cache import changed_cases
    from benchmark.rundir.digests import damaged_results, read_provenance
    from benchmark.rundir.sealed import write_sealed

    sound = json.dumps({
        "outputs": {"metrics.csv": "0" * 64}, "ablations": ["without_crf"], "costs": {"fit_seconds": 1.5},
        "cohort": {"format": "isles2018", "partition": "training", "cases": {"case_1": {"sha256": "0", "ids": {}}}},
        "folds": None, "packages": {"torch": "2"}, "hardware": {"cores": 2}, "git": {"commit": "abc", "clean": True},
    })  # fmt: skip

    def make(rng: np.random.Generator) -> bytes:
        content = rewritten(sound, rng)
        try:
            value = json.loads(content)
            if isinstance(value, dict):
                write_sealed(tmp_path / "sealed.json", value)
                return (tmp_path / "sealed.json").read_bytes()
        except (ValueError, RecursionError):
            pass
        return content

    def read(path: Path) -> None:
        damaged = damaged_results(path.parent)
        needed = ("outputs", "ablations", "packages", "hardware", "git", "folds", "cohort.cases", "cohort.format")
        provenance = read_provenance(path.parent, *needed)
        changed_cases({"case_1": "0"}, provenance)
        _remarks(damaged, provenance)

    hold(tmp_path, "provenance.json", make, read)


def test_config_of_a_run_folder(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import yaml

    from benchmark.rundir.trust import require_harmless
    from benchmark.suite.config_files import read_yaml

    sound = yaml.safe_dump({
        "seed_everything": 0, "model": {"class_path": "benchmark.methods.strokenet.StrokeNet", "init_args": {"a": [1]}},
        "data": {"cohort": "c", "fold": 0, "batch_size": 4}, "trainer": {"accelerator": "cpu", "max_epochs": 2},
        "suite": {"method": "strokenet", "inputs": "0"}, "predictions": {"folder": "p", "submission": "s"},
        "requires": {"torch": "pip install torch"},
    })  # fmt: skip
    hold(
        tmp_path,
        "config.yaml",
        lambda rng: rewritten(sound, rng),
        lambda path: require_harmless(path.parent, read_yaml(path)),
    )


def test_folds_csv(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from benchmark.cohort.folds import read_fold_file
    from benchmark.suite.config_files import find_config

    sound = (find_config("twin").parent / "folds" / "isles2018.csv").read_text()
    hold(tmp_path, "folds.csv", lambda rng: rewritten(sound, rng), read_fold_file)
