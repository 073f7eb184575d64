"""Where the public releases of cohorts are: facts, in one table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """A public release of a cohort.

    Attributes:
        title: for messages.
        record: its number at Zenodo; a version of a release keeps its number and its files.
        licence: under which its authors give it.
        files: patterns of the names of the files that are needed. Archives among them are unpacked; the others are put
            beside what was in them.
    """

    title: str
    record: int
    licence: str
    files: tuple[str, ...]

    @property
    def doi(self) -> str:
        """The record's lasting address."""
        return f"https://doi.org/10.5281/zenodo.{self.record}"


#: By the name of their format.
RELEASES = {
    # The record holds the editions of 2015 to 2018; those files are taken that have the year in their names.
    "isles2018": Release("ISLES 2018", 17736412, "CC BY 4.0", (r"(?i)[^/]*2018[^/]*\.(zip|7z)",)),
    # The table says the centre of each case (leaderboard/cohort/formats/isles2022.py).
    "isles2022": Release("ISLES 2022", 7960856, "CC BY 4.0", (r"ISLES-2022\.zip", r"center_ids\.xlsx")),
    # About 99 GB. The record's other file only describes tables that are in the archive.
    "isles2024": Release("ISLES 2024", 17652035, "CC BY-NC-SA 4.0", (r"train\.7z",)),
}
