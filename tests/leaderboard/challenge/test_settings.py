"""challenge.yaml: what it may hold, and what is told of what it may not."""

from datetime import UTC, datetime

import pytest

from leaderboard.challenge import references
from leaderboard.challenge.settings import read_challenge
from leaderboard.challenge.times import read_time
from leaderboard.errors import InputError
from leaderboard.ranking.options import RankingOptions

#: Each level is nine times the one before.
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
FAULTS = {
    "": "is no list of settings",
    "- a\n": "is no list of settings",
    "title: x\n": "references is missing",
    "references: r\ntitel: x\n": "the setting titel is unknown: did you mean title?",
    "references: 3\n": "references is '3': it must be a path",
    "references: r\ncounts: first\n": "counts is 'first': it must be latest or best",
    "references: r\ncomplete: 1\n": "complete is '1': it must be true or false",
    "references: r\ndeadline: soon\n": "deadline is 'soon' and no time",
    "references: r\npreset: isles2023\n": "preset is 'isles2023': it must be one of",
    "references: r\npreset: isles2022\nscheme: dice\n": "scheme cannot stand beside preset",
    "references: r\nmetrics: [avd_ml]\n": "metrics would be ignored: the default scheme, dice, ranks by dice alone",
    "references: r\nscheme: dice\nmetrics: [dice, recall]\n": "ignored: scheme dice ranks by dice alone; leave",
    "references: r\npreset: isles2018\nmetrics: [dice]\n": "metrics cannot stand beside preset",
    "references: r\nscheme: luck\n": "the scheme luck is unknown",
    "references: r\nresamples: -1\n": "resamples is '-1': it must be a whole number",
    "references: r\nresamples: 100000000\n": "more than the 1000000",
    "references: r\nmetrics: dice\n": "metrics is 'dice': it must be a list",
    'references: r\ntitle: "a\\nb"\n': "title is 'a\\nb': it must be one line",
    "references: r\n? [a]\n: 1\n": "YAML",
    LAUGHS: "aliases",
    "\udcff": "UTF-8",
}


@pytest.mark.parametrize("text", FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_a_line_that_names_the_file(tmp_path, text):
    (tmp_path / "challenge.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(InputError) as refused:
        read_challenge(tmp_path)
    [problem] = refused.value.problems
    assert problem.startswith(f"{tmp_path / 'challenge.yaml'}: ")
    assert FAULTS[text].replace("\n", "\\n") in problem


def test_all_faults_are_told_at_once(tmp_path):
    (tmp_path / "challenge.yaml").write_text("counts: first\nresamples: x\nspeed: 3\n")
    with pytest.raises(InputError) as refused:
        read_challenge(tmp_path)
    assert len(refused.value.problems) == 4


@pytest.mark.parametrize("folder", ["none", ""])
def test_a_folder_without_a_challenge_is_a_line(tmp_path, folder):
    with pytest.raises(InputError, match=r"is no folder|holds no challenge\.yaml"):
        read_challenge(tmp_path / folder)


def test_every_setting_arrives(tmp_path):
    (tmp_path / "challenge.yaml").write_text(
        "title: Ours\nreferences: ../r\npreset: isles2022\nunit: case\nresamples: 7\nseed: 3\ncounts: best\n"
        "deadline: 2026-09-01\ncomplete: true\ngrid: index\npartition: testing\nformat: isles2018\npatients: p.csv\n"
    )
    found = read_challenge(tmp_path)
    assert found.options == RankingOptions.of_preset("isles2022", unit="case", resamples=7, seed=3)
    assert (found.title, found.counts, found.complete, found.grid) == ("Ours", "best", True, "index")
    assert (found.partition, found.format) == ("testing", "isles2018")
    assert (found.references, found.patients) == (tmp_path / "../r", tmp_path / "p.csv")
    assert found.deadline == datetime(2026, 9, 1, 23, 59, 59, tzinfo=UTC)
    (tmp_path / "challenge.yaml").write_text("references: r\nscheme: mean-then-rank\nmetrics: [dice, avd_ml]\n")
    assert read_challenge(tmp_path).options == RankingOptions(scheme="mean-then-rank", metrics=["dice", "avd_ml"])
    assert read_challenge(tmp_path).title == tmp_path.name
    (tmp_path / "challenge.yaml").write_text("references: r\nmetrics: [dice]\n")
    assert read_challenge(tmp_path).options == RankingOptions(metrics=["dice"])


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2026-09-01 12:00", 12), ("2026-09-01T12:00:00Z", 12), ("2026-09-01T12:00:00+02:00", 10), ("2026-09-01", 0)],
)
def test_times_without_a_zone_are_utc(text, hour):
    assert read_time(text) == datetime(2026, 9, 1, hour, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, 3, [], "", "1.9.2026", "2026-13-01", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match="no time"):
        read_time(value)


def test_of_a_tree_with_two_partitions_both_are_offered(tmp_path, monkeypatch):
    (tmp_path / "r").mkdir()
    (tmp_path / "challenge.yaml").write_text("references: r\n")
    monkeypatch.setattr(references, "partitions_in", lambda root, format_name: ["testing", "training"])
    with pytest.raises(InputError, match="add the line partition: testing or partition: training to"):
        references.read_references(read_challenge(tmp_path))
