"""What the twin of a cohort format says of itself: its patients, its files, and how they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from benchmark.cohort.twin.layout import PartitionKey, Patient, Slab


class Tree(Protocol):
    """The tree that a twin is written in. Another format is another module with an object of these (see `TREES`)."""

    @property
    def name(self) -> str:
        """Of the format, as ``--format`` takes it."""

    @property
    def most(self) -> Mapping[PartitionKey, int]:
        """How many cases of each partition there can be: as many as the release has."""

    def patients(self, partition: PartitionKey, cases: int, size: int) -> Sequence[Patient]:
        """The patients who own the first `cases` cases, whole; a patient does not depend on `cases`.

        Args:
            partition: one that has cases.
            cases: 1 to `most`.
            size: pixels along a slice's side, as ``--size`` takes it.
        """

    def files(self, patient: Patient, slab: Slab, with_4d: bool) -> Sequence[str]:
        """Every file of a case, relative to the twin's folder."""

    def render(self, patient: Patient, seed: int, with_4d: bool) -> Iterable[tuple[Slab, Mapping[str, bytes]]]:
        """The content of `files` of each case of a patient."""

    def tables(self, patients: Sequence[Patient], seed: int) -> Mapping[str, bytes]:
        """Files of the whole cohort, relative to the twin's folder."""
