"""What a platform is to `evaluation`: where it puts things, how a submission looks there, what it reads back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leaderboard.cohort.case import Case, Partition
from leaderboard.io import GridRule
from leaderboard.platforms.summary import Summary
from leaderboard.scoring.submission import Submission

#: Whether results hold a row a case: none, under invented names, or under the cases' own.
PerCase = Literal["none", "anonymous", "named"]
PER_CASE: tuple[PerCase, ...] = ("none", "anonymous", "named")
#: A row a case, as in cases.csv, without what is undefined.
Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is evaluated, and how.

    Attributes:
        submission: what the platform hands over: a folder, or for EvalAI the submitted zip.
        references: a cohort, or a folder or zip of reference masks.
        preset: the challenge whose rules count; empty: the leaderboard's defaults.
        grid: how the grids of masks and references are compared.
        partition: of a cohort that has both.
        format: of the cohort; None recognises it.
        complete: a case without a prediction is a fault.
        lenient: a mask that cannot be scored counts as missing.
        per_case: whether results hold a row a case, which tells something of each hidden case.
        case_pattern: a regular expression whose group finds the case's name in a file's; empty: names and subjects.
        mask_socket: the slug of the masks on Grand Challenge.
        map_socket: the slug of the probability maps there.
        split: the codename of EvalAI's dataset split.
        jobs: processes; None uses all cores as soon as that pays.
    """

    submission: Path
    references: Path
    preset: str = ""
    grid: GridRule = "blank"
    partition: Partition | None = None
    format: str | None = None
    complete: bool = False
    lenient: bool = False
    per_case: PerCase = "none"
    case_pattern: str = ""
    mask_socket: str = "stroke-lesion-segmentation"
    map_socket: str = "lesion-probability-map"
    split: str = "test_split"
    jobs: int | None = None


@dataclass(frozen=True)
class Handed:
    """A submission, each mask (and map) with the case that it belongs to."""

    masks: Submission
    maps: Submission | None = None


@dataclass(frozen=True)
class Platform:
    """A platform."""

    name: str  #: one of `platforms.NAMES`
    #: the masks, open until the stack is closed; maps too where the last argument says that they are needed
    hand_over: Callable[[ExitStack, Settings, Sequence[Case], bool], Handed]
    #: what its result files hold, by name; the first is the one that it ranks by
    results: Callable[[Summary, Rows | None, Settings], dict[str, object]]
    submission: Path | None = None  #: where a submission lies in its container; None: nowhere in particular
    references: tuple[Path, ...] = ()  #: where the references may lie
    out: Path | None = None  #: the folder of its results
    files: tuple[str, ...] = ()  #: all that `results` may name
    #: the environment variable that bounds the number of processes
    workers: str = ""
