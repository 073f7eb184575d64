"""Whatever a team hands in, it is refused in a line that can be read, and the other teams are ranked."""

import io
import os
import struct
import zipfile

import pytest

from leaderboard.challenge import entries, verdicts
from leaderboard.errors import InputError
from leaderboard.io.tables import name_fault

pytestmark = pytest.mark.usefixtures("without_page")


def zipped(files, **settings):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **settings) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def link_member(name, target):
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o120777 << 16
    return {member: target}


def bomb():
    """A zip whose only member claims to unpack to 3 GB."""
    content = zipped({"case_1.nii": b"\0" * 12345}, compression=zipfile.ZIP_DEFLATED)
    return content.replace(struct.pack("<I", 12345), struct.pack("<I", 3 << 30))


#: Each level is nine times the one before.
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def folder_of(small, team):
    folder = small.folder / "submissions" / team / "v1"
    folder.mkdir(parents=True)
    for name, content in small.masks(1).items():
        write(folder / name, content)
    return folder


def linked_mask(small, team):
    folder = folder_of(small, team)
    (folder / "case_1.nii.gz").unlink()
    (folder / "case_1.nii.gz").symlink_to(small.folder / "references" / "case_1.nii.gz")


def looped_folder(small, team):
    (folder_of(small, team) / "again").symlink_to("..")


def deep_folder(small, team):
    (folder_of(small, team) / "a" / "b" / "c" / "d" / "e" / "f").mkdir(parents=True)


def pipe_in_folder(small, team):
    folder = folder_of(small, team)
    os.mkfifo(folder / "case_9.nii.gz")


def sparse_file(small, team):
    with (folder_of(small, team) / "case_9.nii").open("wb") as file:
        file.truncate(entries.MOST_BYTES + 1)


def sparse_zip(small, team):
    folder = small.folder / "submissions" / team
    folder.mkdir(parents=True)
    with (folder / "v1.zip").open("wb") as file:
        file.truncate(entries.MOST_BYTES + 1)


def pipe_as_zip(small, team):
    (small.folder / "submissions" / team).mkdir(parents=True)
    os.mkfifo(small.folder / "submissions" / team / "v1.zip")


def linked_zip(small, team):
    (small.folder / "submissions" / team).mkdir(parents=True)
    (small.folder / "submissions" / team / "v1.zip").symlink_to(small.folder / "submissions" / "sound" / "v1.zip")


def looped_zip(small, team):
    (small.folder / "submissions" / team).mkdir(parents=True)
    (small.folder / "submissions" / team / "v1.zip").symlink_to("v1.zip")


def linked_facts(small, team):
    folder = folder_of(small, team)
    (folder / "submission.yaml").symlink_to("/etc/hostname")


def empty_folder(small, team):
    (small.folder / "submissions" / team / "v1").mkdir(parents=True)


def as_zip(make):
    return lambda small, team: write(small.folder / "submissions" / team / "v1.zip", make(small))


def with_facts(text):
    return as_zip(lambda small: zipped({**small.masks(1), "submission.yaml": text}))


#: What a team hands in, and a word of the line that refuses it.
HOSTILE = {
    "no zip": (as_zip(lambda small: b"PK\x03\x04 nothing"), "no zip archive"),
    "an empty file": (as_zip(lambda small: b""), "is no zip archive but an empty file: pack the masks as a zip"),
    "a RAR archive": (as_zip(lambda small: b"Rar!\x1a\x07\x01\0"), "but a RAR archive: pack the masks as a zip"),
    "a 7z archive": (as_zip(lambda small: b"7z\xbc\xaf\x27\x1c"), "but a 7z archive: pack the masks as a zip"),
    "an empty zip": (as_zip(lambda small: zipped({})), "put a mask for each case into it"),
    "an empty folder": (empty_folder, "put a mask for each case into it"),
    "a zip of other files": (as_zip(lambda small: zipped({"a.txt": b"x"})), "put a mask for each case into it"),
    "a bomb": (as_zip(lambda small: bomb()), "would unpack to 3 GB"),
    "a member that leads out": (as_zip(lambda small: zipped({"../case_1.nii.gz": b"x"})), "leads out"),
    "an absolute member": (as_zip(lambda small: zipped({"/etc/case_1.nii.gz": b"x"})), "leads out"),
    "a link as a member": (as_zip(lambda small: zipped(link_member("case_1.nii.gz", "/etc/passwd"))), "is a link"),
    "a zip in a zip": (as_zip(lambda small: zipped({"masks.zip": zipped(small.masks(1))})), "archive within"),
    "a line break in a member": (as_zip(lambda small: zipped({"case_1\n.nii.gz": b"x"})), "\\n"),
    "many members": (as_zip(lambda small: zipped({f"{n}.nii": b"" for n in range(10_001)})), "10001"),
    "a case twice": (as_zip(lambda small: zipped({**small.masks(1), "a/case_1.nii.gz": b"x"})), "again"),
    "no mask of the cohort": (as_zip(lambda small: zipped({"case_77.nii.gz": b"x"})), "no case"),
    "a cut mask": (as_zip(lambda small: zipped({"case_1.nii.gz": small.masks(1)["case_1.nii.gz"][:60]})), "case_1"),
    "facts that are no YAML": (with_facts("a: [1"), "v1.zip/submission.yaml: is not valid YAML in line 1, column 4"),
    "facts that repeat": (with_facts(LAUGHS), "aliases"),
    "facts that run code": (with_facts("!!python/object/apply:os.system [id]"), "YAML"),
    "facts that are a list": (with_facts("[1, 2]"), "no list of settings"),
    "an unknown fact": (with_facts("metod: x"), "did you mean method?"),
    "a method that is a formula": (with_facts("method: '=HYPERLINK(1)'"), "formula"),
    "a method of two lines": (with_facts('method: "a\\nb"'), "cannot be seen"),
    "a method of 1000 letters": (with_facts(f"method: {'x' * 1000}"), "more than 100"),
    "a method that is a number": (with_facts("method: 3"), "no text"),
    "a time that is none": (with_facts("submitted: yesterday"), "no time"),
    "a time beyond all calendars": (with_facts("submitted: 0001-01-01T00:00:00+14:00"), "no time"),
    "facts of facts": (with_facts("facts: {a: {b: c}}"), "not one line"),
    "facts as a link": (linked_facts, "is a link"),
    "a mask that is a link to its reference": (linked_mask, "is a link"),
    "a folder in a loop": (looped_folder, "is a link"),
    "folders without end": (deep_folder, "too deep"),
    "a pipe among the masks": (pipe_in_folder, "no regular file"),
    "a file of terabytes": (sparse_file, "GB"),
    "a zip of terabytes": (sparse_zip, "GB"),
    "a pipe as a zip": (pipe_as_zip, "no regular file"),
    "a link as a zip": (linked_zip, "is a link"),
    "a loop as a zip": (looped_zip, "is a link"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_submission_is_a_line_and_the_others_are_ranked(small, capsys, kind):
    small.submit("sound", "v1.zip", 0)
    make, word = HOSTILE[kind]
    make(small, "evil")
    assert small.run() == 0
    out, err = capsys.readouterr()
    assert "1 of 2 teams ranked; 2 submissions" in out
    [line] = err.splitlines()
    assert line.startswith("leaderboard: evil: v1")
    assert word in line
    assert str(small.folder) not in line
    assert list(small.rows()) == ["sound"]
    assert "REFUSED" in small.answer("evil")
    assert " --" not in small.answer("evil")
    assert all(text.isprintable() for text in small.answer("evil").splitlines())


@pytest.mark.parametrize(
    "name",
    ["=cmd|'C calc'!A0", "+1", "-1", "@x", "a\nb", "a\u00a0b", "a\u202eb", " x", "x" * 101, os.fsdecode(b"\xff")],
)
def test_a_team_or_file_whose_name_cannot_stand_in_a_table_is_a_line(small, capsys, name):
    small.submit("sound", "v1.zip", 0)
    small.submit(name, "v1.zip", 1)
    small.submit("other", f"{name}.zip", 1)
    assert small.run() == 0
    out, err = capsys.readouterr()
    assert "1 of 3 teams ranked" in out
    team, other = sorted(err.splitlines(), key=lambda line: line.startswith("leaderboard: other: "))
    assert team.startswith("leaderboard: the team ")
    assert other.startswith("leaderboard: other: ")
    assert {path.name for path in (small.board / "teams").iterdir()} == {"sound.txt", "other.txt"}
    assert name_fault(name) or len(name) > 100


@pytest.mark.parametrize(
    "name", ["a|b & c", "<b>x<br>", "50 % of $_{x}^2", "{{ 7 * 7 }}", "\\input{x}", "héron 🧠", "a;b", "v 1.0"]
)
def test_any_other_name_is_ranked_and_escaped(small, name):
    small.submit(name, "v1.zip", 0)
    small.submit("other", "v1.zip", 1)
    assert small.run() == 0
    assert name in (small.board / "cases.csv").read_text()
    assert small.answer(name).startswith(f"Challenge: Small\nTeam: {name}\n")
    markdown, latex = ((small.board / f"leaderboard.{kind}").read_text() for kind in ("md", "tex"))
    assert "<b>" not in markdown.replace("\\<b", "")
    assert all(
        len(line.split(" & ")) in (1, 10) for line in latex.replace("\\& ", "").splitlines() if line.endswith("\\\\")
    )


def test_what_lies_beside_teams_and_submissions_is_told(small, capsys):
    small.submit("anna", "v1.zip", 0)
    write(small.folder / "submissions" / "anna" / "case_1.nii.gz", b"x")
    write(small.folder / "submissions" / "anna" / "v2.tar", b"x")
    write(small.folder / "submissions" / "anna" / ".hidden", b"x")
    write(small.folder / "submissions" / ".team" / "v1.zip", b"x")  # nor is a hidden folder a team
    write(small.folder / "submissions" / "stray.zip", b"x")
    (small.folder / "submissions" / "linked").symlink_to("anna")
    assert small.run() == 0
    assert capsys.readouterr().err.splitlines() == [
        f"leaderboard: note: {small.folder}/submissions/linked: is no folder of a team, and is left aside",
        f"leaderboard: note: {small.folder}/submissions/stray.zip: is no folder of a team, and is left aside",
        "leaderboard: anna: case_1.nii.gz: lies beside the submissions: put it into a zip or a folder, with the others",
        "leaderboard: anna: v2.tar: is no zip and no folder, and is left aside: hand in a zip or a folder with a mask "
        "for each case",
    ]
    assert "v2.tar: is no zip and no folder" in small.answer("anna")


def test_a_submission_that_ends_its_process_stops_no_other(small, monkeypatch, capsys):
    for shift, team in enumerate(("anna", "bert", "cleo")):
        small.submit(team, "v1.zip", shift)
    run_tasks = verdicts.run_tasks

    def dying(work, tasks, **settings):
        for number, task in enumerate(tasks):
            if isinstance(task, tuple) and task[0].team == "bert":
                raise InputError("a process died")
            yield number, work(task)

    monkeypatch.setattr(verdicts, "run_tasks", dying)
    assert small.run() == 1
    assert list(small.rows()) == ["anna", "cleo"]
    line = "bert: v1.zip was not judged: v1.zip: cannot be scored (a process died): try it on a larger machine"
    assert capsys.readouterr().err.splitlines()[0] == f"leaderboard: {line}"
    monkeypatch.setattr(verdicts, "run_tasks", run_tasks)
    assert small.run() == 0
    assert list(small.rows()) == ["anna", "bert", "cleo"]
