"""Whatever a platform or a participant hands over, an evaluation ends in one line, status 1 and no result file."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import platform_trees as trees
import pytest

from leaderboard.cli import main
from leaderboard.errors import MachineError
from leaderboard.platforms.evaluation import PLATFORMS, evaluate
from leaderboard.platforms.interface import Settings

PREDICTIONS = "predictions.json"
Fault = Callable[[Path], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``references``, ``jobs`` (Grand Challenge) and ``masks`` (CodaBench, EvalAI)."""
    root = tmp_path_factory.mktemp("sound")
    trees.write_references(root / "references")
    trees.write_jobs(root / "jobs")
    trees.write_predictions(root / "masks")
    return root


def jobs(root: Path) -> list[dict]:
    return json.loads((root / PREDICTIONS).read_text())


def save(root: Path, content: object) -> None:
    (root / PREDICTIONS).write_text(json.dumps(content))


def raw(content: bytes) -> Fault:
    return lambda root: (root / PREDICTIONS).write_bytes(content)


def changed(change: Callable[[dict], object]) -> Fault:
    """The last job, which is that of the first case, changed."""

    def fault(root: Path) -> None:
        found = jobs(root)
        change(found[-1])
        save(root, found)

    return fault


def mask_of(root: Path) -> Path:
    return root / trees.pk_of("job", trees.SUBJECTS[0]) / "output" / "images" / trees.MASKS / "output.mha"


def replaced(content: bytes) -> Fault:
    return lambda root: mask_of(root).write_bytes(content)


def link_out(root: Path) -> None:
    mask_of(root).unlink()
    mask_of(root).symlink_to(trees.write_bare(root.parent / "elsewhere.mha", trees.prediction(1)))


def link_in_circle(root: Path) -> None:
    mask_of(root).unlink()
    mask_of(root).symlink_to(mask_of(root))


def pipe(root: Path) -> None:
    mask_of(root).unlink()
    os.mkfifo(mask_of(root))


def only_tiff(root: Path) -> None:
    mask_of(root).rename(mask_of(root).with_suffix(".tiff"))


def folder_for_list(root: Path) -> None:
    (root / PREDICTIONS).unlink()
    (root / PREDICTIONS).mkdir()


def of_two_cases(job: dict) -> None:
    job["inputs"][1]["image"]["name"] = f"{trees.SUBJECTS[1]}_ses-0001_adc.nii.gz"


def twice(root: Path) -> None:
    found = jobs(root)
    copy = json.loads(json.dumps(found[-1]))
    copy["pk"] = "again"
    trees.write_bare(root / "again" / "output" / "images" / trees.MASKS / "output.mha", trees.prediction(1))
    save(root, [*found, copy])


def truncated(root: Path) -> None:
    content = mask_of(root).read_bytes()
    mask_of(root).write_bytes(content[: len(content) // 2])


IN_JOBS: dict[str, tuple[Fault, str]] = {
    "no list": (raw(b"{}"), "is no list of jobs"),
    "an empty list": (raw(b"[]"), "lists no job"),
    "a list of words": (raw(b'["a", 1]'), "is no list of jobs"),
    "no JSON": (raw(b"[{,"), "is no JSON"),
    "an empty file": (raw(b""), "is no JSON"),
    "UTF-16": (raw("[]".encode("utf-16")), "is no JSON in UTF-8"),
    "nested deeply": (raw(b"[" * 200_000), "nested too deeply"),
    "a folder for the list": (folder_for_list, "is no regular file"),
    "a link to nothing for the list": (
        lambda root: ((root / PREDICTIONS).unlink(), (root / PREDICTIONS).symlink_to("nowhere")), "is no regular file"
    ),
    "inputs that are no list": (changed(lambda job: job.update(inputs="dwi")), "no list of inputs"),
    "no outputs": (changed(lambda job: job.pop("outputs")), "no list of outputs"),
    "another slug twice": (
        changed(lambda job: [v["socket"].update(slug="x") for v in job["outputs"]]), "no output stroke-lesion"
    ),
    "a socket that is a word": (changed(lambda job: [v.update(socket="x") for v in job["outputs"]]), "no output"),
    "an unknown case": (
        changed(lambda job: [v["image"].update(name="sub-other_dwi.mha") for v in job["inputs"]]), "name no case"
    ),
    "images without a name": (changed(lambda job: [v.update(image=None) for v in job["inputs"]]), "no image"),
    "inputs of two cases": (changed(of_two_cases), "inputs"),
    "a case twice": (twice, "predicted again"),
    "a key that leads out": (changed(lambda job: job.update(pk="../../etc")), "leads out"),
    "a place that leads out": (
        changed(lambda job: [v["socket"].update(relative_path="../..") for v in job["outputs"]]), "leads out"
    ),
    "an absolute place": (
        changed(lambda job: [v["socket"].update(relative_path="/etc") for v in job["outputs"]]), "leads out"
    ),
    "a place with a null byte": (changed(lambda job: job.update(pk="a\0b")), "leads out"),
    "a place of 5000 letters": (changed(lambda job: job.update(pk="a" * 5000)), "cannot be read"),
    "a key that is a list": (changed(lambda job: job.update(pk=[1])), "has no pk"),
    "no file": (lambda root: mask_of(root).unlink(), "has nothing in"),
    "no folder": (lambda root: shutil.rmtree(mask_of(root).parents[2]), "has no file"),
    "two images": (lambda root: shutil.copy(mask_of(root), mask_of(root).with_name("b.mha")), "write one image there"),
    "a TIFF": (only_tiff, "write one image there"),
    "a link out": (link_out, "a link out of"),
    "a link in a circle": (link_in_circle, "is no regular file"),
    "a pipe": (pipe, "is no regular file"),
    "an empty image": (replaced(b""), "is not a MetaImage"),
    "no image": (replaced(b"\xff" * 4000), "is not a MetaImage"),
    "half an image": (truncated, "damaged"),
    "another shape": (lambda root: trees.write_bare(mask_of(root), trees.prediction(1)[:-1]), "has the shape"),
    "labels beyond 1": (lambda root: trees.write_bare(mask_of(root), 3 * trees.prediction(1)), "holds the values"),
    "NaN": (
        lambda root: trees.write_bare(mask_of(root), np.full(trees.SHAPE, np.nan, np.float32)), "holds NaN"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", IN_JOBS)
def test_a_hostile_list_of_jobs_ends_in_one_line(
    kind: str, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault, words = IN_JOBS[kind]
    root = shutil.copytree(sound / "jobs", tmp_path / "jobs")
    fault(root)
    assert words in one_line("grand-challenge", root, sound, tmp_path / "out", capsys)


def one_line(platform: str, given: Path, sound: Path, out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """What an evaluation that fails prints: one line, and no result of an earlier one is left."""
    out.mkdir()
    for name in ("metrics.json", "scores.json", "result.json"):
        (out / name).write_text("{}")
    words = ["evaluate", "--platform", platform, "--preset", "isles2022", "--input", given]
    words += ["--cohort", sound / "references", "--out", out, *more]
    capsys.readouterr()
    assert main(list(map(str, words))) == 1
    stderr = capsys.readouterr().err
    (line,) = stderr.splitlines()
    assert "Traceback" not in line
    left = {"grand-challenge": "metrics.json", "codabench": "scores.json", "evalai": "result.json"}[platform]
    assert not (out / left).exists()
    return line


def zipped(write: Callable[[zipfile.ZipFile], object]) -> Callable[[Path, Path], Path]:
    def make(folder: Path, masks: Path) -> Path:
        archive = folder / "submission.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(masks.iterdir()):
                file.write(path, f"top/{path.name}")
            write(file)
        return archive

    return make


def link(file: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("case.nii.gz")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    file.writestr(member, "/etc/passwd")


def cut(folder: Path, masks: Path) -> Path:
    archive = zipped(lambda file: None)(folder, masks)
    archive.write_bytes(archive.read_bytes()[:-100])
    return archive


def many(folder: Path, masks: Path) -> Path:
    return zipped(lambda file: [file.writestr(f"n/{n}.nii", b"") for n in range(10_001)])(folder, masks)


def claims_much(folder: Path, masks: Path) -> Path:
    """A member that claims 2 GB when unpacked."""
    archive = zipped(lambda file: file.writestr("big.nii", b"0" * 100))(folder, masks)
    content = bytearray(archive.read_bytes())
    entry = content.rfind(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 2_000_000_000)
    archive.write_bytes(content)
    return archive


ZIPS: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "a path that leads out": (zipped(lambda file: file.writestr("../case.nii.gz", b"")), "leads out of the archive"),
    "an absolute path": (zipped(lambda file: file.writestr("/etc/case.nii.gz", b"")), "leads out of the archive"),
    "a link": (zipped(link), "is a link"),
    "an archive within": (zipped(lambda file: file.writestr("more.zip", b"PK")), "an archive within"),
    "a case of no one": (zipped(lambda file: file.writestr("nobody.nii.gz", b"x")), "belongs to no case"),
    "a case twice": (
        zipped(lambda file: file.writestr(f"b/{trees.case_of(trees.SUBJECTS[0])}.nii.gz", b"x")), "predicted again"
    ),
    "cut short": (cut, "is no zip archive"),
    "too many files": (many, "where 10000 are allowed"),
    "a bomb": (claims_much, "no mask is that large"),
    "no masks": (lambda folder, masks: zip_of_text(folder), "holds no .nii"),
    "no zip": (lambda folder, masks: text(folder), "is no zip archive"),
}  # fmt: skip


def zip_of_text(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "submission.zip", "w") as file:
        file.writestr("readme.txt", "masks will follow")
    return folder / "submission.zip"


def text(folder: Path) -> Path:
    (folder / "submission.zip").write_text("masks will follow")
    return folder / "submission.zip"


@pytest.mark.parametrize("kind", ZIPS)
def test_a_hostile_zip_ends_in_one_line(
    kind: str, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = ZIPS[kind]
    given = make(tmp_path, sound / "masks")
    assert words in one_line("evalai", given, sound, tmp_path / "out", capsys)


def test_a_participant_is_told_of_no_option_of_the_organisers(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(sound / "masks", tmp_path / "res")
    mask = next(root.rglob("*.nii.gz"))
    image = nib.load(mask)
    affine = image.affine + np.array([[0, 0, 0, 40], *[[0] * 4] * 3])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), mask)
    line = one_line("codabench", root, sound, tmp_path / "out", capsys)
    assert "lies elsewhere than its case" in line
    assert "--" not in line


def test_an_empty_folder_ends_in_one_line(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "res").mkdir()
    assert "holds no .nii" in one_line("codabench", tmp_path / "res", sound, tmp_path / "out", capsys)


def test_a_link_to_a_reference_is_no_prediction(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(sound / "masks", tmp_path / "res")
    mask = next(root.iterdir())
    mask.unlink()
    mask.symlink_to(sound / "references" / mask.name)
    assert "is a link out of" in one_line("codabench", root, sound, tmp_path / "out", capsys)


@pytest.mark.parametrize("platform", ["codabench", "grand-challenge"])
@pytest.mark.parametrize("within", [False, True])
def test_a_link_to_a_zip_elsewhere_is_no_submission(
    platform: str, within: bool, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "res" / "inner"
    root.mkdir(parents=True)
    hidden = (root / ".masks.zip") if within else (tmp_path / "hidden.zip")
    trees.pack(sound / "masks", hidden)
    (root / "mine.zip").symlink_to(hidden)
    if not within:
        assert "is a link out of" in one_line(platform, root.parent, sound, tmp_path / "out", capsys)
        return
    words = ["evaluate", "--platform", platform, "--input", root.parent, "--cohort", sound / "references"]
    assert main([*map(str, words), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("damaged", [1, 3])
def test_a_reference_that_cannot_be_read_is_no_fault_of_the_submission(damaged: int, tmp_path: Path) -> None:
    references = trees.write_references(tmp_path / "references")
    for path in sorted(references.iterdir())[:damaged]:
        path.write_bytes(path.read_bytes()[:50])
    masks = trees.write_predictions(tmp_path / "masks")
    settings = Settings(submission=masks, references=references, jobs=1)
    with pytest.raises(MachineError) as refused:
        evaluate(PLATFORMS["codabench"], settings)
    [problem] = refused.value.problems
    assert "references" in problem


def test_many_problems_are_told_in_one_line_and_all_in_the_log(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(sound / "masks", tmp_path / "res")
    for number in range(5):
        (root / f"nobody{number}.nii.gz").write_bytes(b"")
    words = ["evaluate", "--platform", "codabench", "--input", root, "--cohort", sound / "references"]
    assert main([*map(str, words), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    assert "5 problems" in printed.err
    assert "and 2 more" in printed.err
    assert [f"nobody{number}.nii.gz" in printed.out for number in range(5)] == [True] * 5


def test_a_case_without_a_prediction_counts_as_missing_or_is_refused(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(sound / "jobs", tmp_path / "jobs")
    found = jobs(root)
    found[-1]["status"] = "Failed"
    save(root, found)
    words = ["evaluate", "--platform", "grand-challenge", "--preset", "isles2022", "--input", root]
    words += ["--cohort", sound / "references", "--out", tmp_path / "missing"]
    assert main(list(map(str, words))) == 0
    printed = capsys.readouterr().out
    assert "has the status 'Failed'" in printed
    assert "1 without a prediction" in printed
    content = json.loads((tmp_path / "missing" / "metrics.json").read_text())
    assert content["cases"] == {
        "count": 3, "ok": 2, "empty_prediction": 0, "empty_reference": 0, "both_empty": 0, "missing": 1
    }  # fmt: skip
    assert content["aggregates"]["dice"]["min"] == 0
    assert content["aggregates"]["dice"]["undefined"] == 1
    assert "no prediction" in one_line("grand-challenge", root, sound, tmp_path / "out", capsys, "--complete")


def by_url(job: dict) -> None:
    for value in job["inputs"]:
        value.update(image=None, file="https://host/media/1/" + value["image"]["name"] + "?signature=a/b.nii.gz")


def one_output_of_another_name(job: dict) -> None:
    job["outputs"] = job["outputs"][1:]
    job["outputs"][0]["socket"]["slug"] = "lesions"


ACCEPTED: dict[str, tuple[Fault, list[str]]] = {
    "a case that a file's URL names": (changed(by_url), []),
    "a byte-order mark": (
        lambda root: (root / PREDICTIONS).write_text((root / PREDICTIONS).read_text(), encoding="utf-8-sig"), []
    ),
    "the only image under another slug": (changed(one_output_of_another_name), []),
    "another slug for all": (
        lambda root: (root / PREDICTIONS).write_text((root / PREDICTIONS).read_text().replace(trees.MASKS, "lesions"))
        and [path.rename(path.with_name("lesions")) for path in root.glob(f"*/output/images/{trees.MASKS}")],
        ["--mask-socket", "lesions"],
    ),
    "files that no job names": (lambda root: (root / "additional-input.json").write_text("3"), []),
    "hidden files beside an image": (lambda root: mask_of(root).with_name("._output.mha").write_bytes(b"x"), []),
}  # fmt: skip


@pytest.mark.parametrize("kind", ACCEPTED)
def test_harmless_differences_change_no_number(kind: str, sound: Path, tmp_path: Path) -> None:
    change, more = ACCEPTED[kind]
    root = shutil.copytree(sound / "jobs", tmp_path / "jobs")
    words = ["evaluate", "--platform", "grand-challenge", "--input", root, "--cohort", sound / "references"]
    assert main([*map(str, words), "--out", str(tmp_path / "before")]) == 0
    change(root)
    assert main([*map(str, words), "--out", str(tmp_path / "after"), *more]) == 0
    assert (tmp_path / "after" / "metrics.json").read_bytes() == (tmp_path / "before" / "metrics.json").read_bytes()


@pytest.mark.parametrize("pattern", ["(", "a" * 300])
def test_a_pattern_that_is_none_is_refused(
    pattern: str, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = one_line("codabench", sound / "masks", sound, tmp_path / "out", capsys, "--case-pattern", pattern)
    assert "--case-pattern" in line


def test_a_pattern_finds_cases_that_other_names_hide(sound: Path, tmp_path: Path) -> None:
    root = trees.write_predictions(tmp_path / "res", name=lambda subject: f"team7-{subject[-4:]}-final")
    words = [
        "evaluate",
        "--platform",
        "codabench",
        "--input",
        root,
        "--cohort",
        sound / "references",
        "--out",
        tmp_path,
    ]
    assert main(list(map(str, words))) == 1
    names = tmp_path / "names"
    names.mkdir()
    for number in (1, 2, 3):
        trees.write_nifti(names / f"{number:04d}.nii.gz", trees.reference(number))
    words[words.index("--cohort") + 1] = names
    assert main([*map(str, words), "--case-pattern", r"team7-(\d{4})"]) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["missing"] == 0
