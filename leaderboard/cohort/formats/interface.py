"""What a cohort format says of itself, and a cohort that was read in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from leaderboard.cohort.case import Case, ImageKind, Partition, Problem
from leaderboard.errors import InputError


class Format(Protocol):
    """A tree that cohorts come in. Another format is another module with an object of these (see `FORMATS`)."""

    @property
    def name(self) -> str:
        """As ``--format`` takes it, such as ``isles2018``."""

    @property
    def title(self) -> str:
        """For messages and pages, such as ``ISLES 2018``."""

    @property
    def tree(self) -> str:
        """What its tree is recognised by, for messages, such as ``TRAINING/case_<k>``."""

    @property
    def lesion_in_every_case(self) -> bool:
        """Whether every reference holds lesion, so that an empty one is a fault."""

    @property
    def released(self) -> Mapping[Partition, int]:
        """How many cases the release has, by partition; a smaller set is told. Empty where there is no release."""

    def find(self, root: Path) -> dict[Partition, Path]:
        """The folder of each partition under `root`; empty where `root` holds no cohort of this format.

        Raises:
            InputError: it does, and leaves open which folder is meant.
        """

    def scan(self, root: Path, partition: Partition) -> Cohort:
        """Read the tree's names, no image, and collect what is wrong with single cases.

        Args:
            root: as for `find`.
            partition: one of those that `find` found.
        """

    def submitted_file(self, case: Case, free_name: str) -> str:
        """The file name under which the challenge takes the prediction of a case."""

    def known_faults(self, case: Case) -> Sequence[str]:
        """What is known to be wrong with this case in the release, a line each."""


@dataclass(frozen=True)
class Cohort:
    """One partition of a cohort on disk, cases in natural order.

    Attributes:
        root: the folder that was given.
        format: what it came in.
        partition: which partition this is.
        images: the kinds of image that every case has, in the order in which every method sees them.
        cases: its cases.
        problems: what is wrong with the tree (empty for a cohort from `read_cohort`).
        background: the kind of image that pictures show below the outlines.
        strangers: what ``patients.csv`` names beside these cases.
    """

    root: Path
    format: Format
    partition: Partition
    images: tuple[ImageKind, ...]
    cases: tuple[Case, ...]
    problems: tuple[Problem, ...] = field(default=())
    background: str = ""
    strangers: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of `images`."""
        return tuple(kind.name for kind in self.images)

    @property
    def shows(self) -> tuple[str, ...]:
        """What `images` show, see `ImageKind`."""
        return tuple(kind.shows for kind in self.images)

    def places(self, shown: Sequence[str]) -> tuple[int, ...]:
        """Where the images that show certain things are among `images`; of several that show one thing the first.

        Raises:
            InputError: there is none.
        """
        if missing := [name for name in shown if name not in self.shows]:
            raise InputError(
                f"{self.root}: has no images of {', '.join(missing)} (it has {', '.join(self.shows)}): give a cohort "
                "that has them, or leave the method out"
            )
        return tuple(self.shows.index(name) for name in shown)
