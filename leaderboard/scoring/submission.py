"""Predictions as files, in a folder or a zip: which file is whose, and would each be accepted?

A prediction is named like its case (``case_<k>.nii``), ``SMIR.<free name>.<id of the case's CT_MTT>.nii``, or like a
reference or image whose name no other case's has; it ends in ``.nii``, ``.nii.gz``, ``.mha`` or ``.nrrd``. In a folder
the masks lie side by side or in a folder per case; in a zip they may lie in any folders. A folder that is named like a
case says whose masks with other names are. What else lies there, such as the files that nnU-Net writes beside its
masks, is told and left aside. Problems are collected, never raised one by one.

Probability maps are named like the masks that were made of them. They lie in a folder ``probabilities`` (or
``NAME.probabilities``) within the folder or zip of the masks, or in a folder or zip of their own.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from leaderboard.cohort.case import Case
from leaderboard.cohort.names import (
    bare_stem,
    is_mask_file,
    mask_stem,
    natural_key,
    number_of_folder,
    of_one_case,
    prediction_file,
    submitted_file,
    submitted_id,
)
from leaderboard.errors import InputError, MachineError, is_of_machine, listed, printable
from leaderboard.io import GridRule
from leaderboard.io.archive import Limits, list_members, path_within, unpack
from leaderboard.io.grids import read_grid, voxel_fault
from leaderboard.io.masks import Noun, read_mask, read_probabilities
from leaderboard.parallel import run_tasks

#: The folder of the probability maps in a submission.
MAPS = "probabilities"
_BESIDE = f".{MAPS}"
#: What a place that holds them is called.
_PLACES: dict[Noun, str] = {"mask": "predictions", "map": "probability maps"}
#: What a team says about its method; it is not told among the files beside the masks.
FACTS_FILE = "submission.yaml"
_OTHER_IMAGE = re.compile(
    r"(?P<stem>.+)\.(?:img|hdr|mhd|nhdr|mgz|mgh|npy|npz|dcm|h5|nii\.(?:bz2|zst|xz))", re.IGNORECASE | re.DOTALL
)


@dataclass
class Matches:
    """Which files are whose.

    Attributes:
        files: the prediction of each case that has exactly one, by case name.
        doubled: the predictions of each case that has several.
        problems: a line for each file that is nobody's, or one too many.
    """

    files: dict[str, Path] = field(default_factory=dict)
    doubled: dict[str, list[Path]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def absent(self, cases: Sequence[Case]) -> list[str]:
        """Names of the cases for which there is no file at all."""
        return [case.name for case in cases if case.name not in self.files and case.name not in self.doubled]


@dataclass
class Submission:
    """The masks of a folder or an unpacked zip, or those that a challenge platform hands over.

    Attributes:
        place: the folder or zip, for messages.
        files: where each mask lies on disk, by the path that its owner knows (``masks.zip/case_1.nii``).
        problems: a line for each entry that should be one and is not.
        notes: a line on the files that are left aside, if there are any.
        owners: the case of each mask, by the same path, where something else than its name tells it.
        maps: the probability maps that lie in a folder of theirs within; None: there are none.
    """

    place: Path
    files: dict[Path, Path]
    problems: list[str]
    notes: list[str] = field(default_factory=list)
    owners: Mapping[Path, str] = field(default_factory=dict)
    maps: Submission | None = None

    def with_shown_path(self, problems: Sequence[str], shown: Path | None) -> list[str]:
        """Problems with a file on disk, told with the path that its owner knows (None: there is no file)."""
        return [] if shown is None else [problem.replace(str(self.files[shown]), str(shown), 1) for problem in problems]


@dataclass(frozen=True)
class MapWords:
    """What is said of probability maps; it depends on who can do what about them."""

    elsewhere: str  #: what else helps where the masks' own place holds none, such as "give another"; empty: nothing
    unused: str  #: why maps are left aside, or how they are asked for


#: Of the commands and functions that are given the maps.
ASKED_FOR = MapWords("give their own folder or zip with --probabilities DIR", "give maps with --probabilities DIR")
#: Where the rules of a challenge decide whether maps are needed.
BY_RULES = MapWords("", "no metric uses maps")


@dataclass(frozen=True)
class Checked:
    """What is wrong with a prediction, and whether its axes are stored in another order than its case's."""

    problems: list[str]
    was_turned: bool = False


@contextmanager
def open_submission(predictions: Path, *, deep: bool = False, noun: Noun = "mask") -> Iterator[Submission]:
    """The masks of a folder as they lie, those of a zip in a temporary folder that goes away afterwards.

    Args:
        predictions: the folder or the zip.
        deep: the masks of a folder may lie in any folders, as in a zip, and no link leads out of it.
        noun: what the place is said to hold, in messages.

    Raises:
        InputError: there is no such folder or zip, it holds no mask and no probability map, or the zip is damaged or
            goes beyond a limit.
    """
    if predictions.is_dir():
        masks, problems, notes = _deep_folder(predictions) if deep else _folder(predictions, noun=noun)
        yield _without_maps(Submission(predictions, {path: path for path in masks}, problems, notes))
        return
    _refuse_unless_zip(predictions, noun)
    with tempfile.TemporaryDirectory(prefix="leaderboard-", ignore_cleanup_errors=True) as folder:
        unpacked, problems, others = unpack(predictions, Path(folder), _is_ours)
        masks, unreadable, notes = _sorted_out(predictions, unpacked, others, noun)
        problems += unreadable
        if not masks:
            raise InputError(problems or [_nothing(predictions, noun=noun)])
        yield _without_maps(Submission(predictions, {shown: unpacked[shown] for shown in masks}, problems, notes))


@contextmanager
def open_maps(probabilities: Path | Submission, masks: Submission, words: MapWords = ASKED_FOR) -> Iterator[Submission]:
    """The probability maps of a folder or zip: those in its folder for maps if it has one, else all its files.

    Args:
        probabilities: the place; that of the masks themselves means the maps within it. Maps that are handed over
            already are given back.
        masks: whose maps they are.
        words: what a message advises.

    Raises:
        InputError: as for `open_submission`; or it is the place of the masks and holds no map.
    """
    if isinstance(probabilities, Submission):
        yield probabilities
    elif os.path.realpath(probabilities) != os.path.realpath(masks.place):
        with open_submission(probabilities, noun="map") as found:
            yield found.maps or found
    elif masks.maps:
        yield masks.maps
    else:
        otherwise = f", or {words.elsewhere}" if words.elsewhere else ""
        raise InputError(
            f"{masks.place}: holds no probability maps: put one for each mask into a folder {MAPS} within it{otherwise}"
        )


def places_of_maps(predictions: Path) -> tuple[Path, Path]:
    """Where maps may lie beside a folder or zip: ``v2.probabilities.zip`` or ``v2.probabilities`` beside ``v2.zip``."""
    name = _without_zip(predictions)
    return predictions.with_name(f"{name}{_BESIDE}.zip"), predictions.with_name(f"{name}{_BESIDE}")


def is_place_of_maps(path: Path) -> bool:
    """Whether a folder or zip is named like one of `places_of_maps`."""
    return _without_zip(path).lower().endswith(_BESIDE)


def _without_zip(path: Path) -> str:
    return path.stem if path.suffix.lower() == ".zip" else path.name


def words_on_maps_beside(predictions: Path) -> MapWords:
    """Those of rules under which maps may lie beside a submission."""
    return replace(BY_RULES, elsewhere=f"put them into {places_of_maps(predictions)[0].name}")


def is_maps_name(name: str) -> bool:
    """Whether a folder of that name holds probability maps, not masks."""
    return name.lower() == MAPS or name.lower().endswith(_BESIDE)


def _is_map(path: Path, place: Path) -> bool:
    return any(map(is_maps_name, path.relative_to(place).parts[:-1]))


def _without_maps(found: Submission) -> Submission:
    """A submission whose probability maps are apart from its masks."""
    maps = {path: disk for path, disk in found.files.items() if _is_map(path, found.place)}
    if not maps:
        return found
    masks = {path: disk for path, disk in found.files.items() if path not in maps}
    return replace(found, files=masks, maps=Submission(found.place, maps, []))


def unused_maps_note(masks: Submission, words: MapWords = ASKED_FOR) -> list[str]:
    """A line on maps that nobody asked for, if there are any."""
    if not masks.maps:
        return []
    count = len(masks.maps.files)
    what = "1 probability map is" if count == 1 else f"{count} probability maps are"
    return [printable(f"{masks.place}: {what} left aside: {words.unused}")]


def mask_files(predictions: Path, *, nested: bool = True) -> list[Path]:
    """Paths of the masks of a folder or a zip, in natural order; nothing is unpacked.

    Hidden files and probability maps are left out.

    Args:
        predictions: the folder or the zip.
        nested: whether a folder may have a folder for each case.

    Raises:
        InputError: there is no such folder or zip, or it holds none.
    """
    if predictions.is_dir():
        files = _folder(predictions, nested)[0]
    else:
        _refuse_unless_zip(predictions)
        listing = list_members(predictions, _is_ours)
        if not listing.members:
            raise InputError(listing.problems or [_nothing(predictions)])
        files = _sorted_out(predictions, (predictions / path_within(member) for member in listing.members))[0]
    return [path for path in files if not _is_map(path, predictions)]


def _order(path: Path) -> tuple[tuple[tuple[int, str], ...], str]:
    """Sort key: natural, and the same every time where that leaves a tie."""
    return natural_key(str(path)), str(path)


def _sorted_out(
    predictions: Path, masks: Iterable[Path], others: Iterable[Path] = (), noun: Noun = "mask"
) -> tuple[list[Path], list[str], list[str]]:
    """Masks in natural order, a problem for each image that is not read, a note on what is left aside.

    A mask or another image beside a NIfTI file of the same name is the same mask once more.
    """
    masks = sorted(masks, key=_order)
    nifti = {(path.parent, mask_stem(path.name)) for path in masks if _is_nifti(path)}
    kept, aside, problems = list[Path](), list[Path](), list[str]()
    for path in masks:
        double = not _is_nifti(path) and (path.parent, mask_stem(path.name)) in nifti
        (aside if double else kept).append(path)
    stems = {(path.parent, mask_stem(path.name)) for path in kept}
    for path in sorted(others, key=_order):
        image = _OTHER_IMAGE.fullmatch(path.name)
        if image and (path.parent, mask_stem(f"{image['stem']}.nii")) not in stems:
            problems.append(_unreadable(path))
        elif path.name != FACTS_FILE:
            aside.append(path)
    if not aside:
        return kept, problems, []
    names = listed([str(path.relative_to(predictions)) for path in sorted(aside, key=_order)])
    are = f"1 file beside the {noun}s is" if len(aside) == 1 else f"{len(aside)} files beside the {noun}s are"
    return kept, problems, [printable(f"{predictions}: {are} left aside: {names}")]


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _folder(folder: Path, nested: bool = True, noun: Noun = "mask") -> tuple[list[Path], list[str], list[str]]:
    """Masks and maps of a folder in natural order, what is wrong with other entries, and what is left aside."""
    try:
        masks, others, problems = _entries(folder)
        further = [_entries(path) for path in _folders_with_masks(folder, of_maps=True)] if nested else []
        if not masks:
            deeper = _folders_with_masks(folder)
            found = [_entries(path) for path in deeper]
            is_one_per_case = len(deeper) > 1 and all(len(inside) == 1 for inside, _, _ in found)
            if not nested or not (is_one_per_case or (further and len(deeper) < 2)):
                unreadable = _sorted_out(folder, (), others)[1]
                hint = deeper[0] if deeper else None
                raise InputError([*problems, *unreadable] or [_nothing(folder, hint, noun)])
            further += found
        for inside, beside, faults in further:
            masks, others, problems = masks + inside, others + beside, problems + faults
        kept, unreadable, notes = _sorted_out(folder, masks, others, noun)
    except OSError as error:
        kind = MachineError if is_of_machine(error) else InputError
        raise kind(f"{folder}: cannot be read ({error.strerror or error}): change its permissions") from None
    return kept, problems + unreadable, notes


def _deep_folder(folder: Path) -> tuple[list[Path], list[str], list[str]]:
    """As `_folder`, of all files however deep they lie; links to folders are not followed."""
    masks, others, problems = list[Path](), list[Path](), list[str]()
    files = 0
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        files += len(names)
        if files > Limits.members:
            raise InputError(
                f"{folder}: holds more than the {Limits.members} files that are allowed: hand in masks alone"
            )
        if any(is_mask_file(name) or _OTHER_IMAGE.fullmatch(name) for name in names):
            found, beside, faults = _entries(Path(top))
            masks, others, problems = masks + found, others + beside, problems + faults
    # a submission must not lead to references that lie elsewhere in the same container
    outside = [path for path in masks if not path.resolve().is_relative_to(folder.resolve())]
    problems += [f"{path}: is a link out of {folder}: put the mask there" for path in outside]
    kept, unreadable, notes = _sorted_out(folder, (path for path in masks if path not in outside), others)
    if not kept:
        raise InputError(problems + unreadable or [_nothing(folder)])
    return kept, problems + unreadable, notes


def _entries(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """The masks of a folder, its other files, and a problem for each entry that only has the name of a mask."""
    masks, others, problems = list[Path](), list[Path](), list[str]()
    with os.scandir(folder) as found:
        names = sorted(entry.name for entry in found if not entry.name.startswith("."))
    for path in (folder / name for name in names):
        if path.is_dir():
            continue
        ours = is_mask_file(path.name)
        if path.is_file():
            (masks if ours else others).append(path)
        elif ours or _OTHER_IMAGE.fullmatch(path.name):
            problems.append(f"{path}: is no regular file, or a link to none: put the file there")
    return masks, others, problems


def _folders_with_masks(folder: Path, *, of_maps: bool = False) -> list[Path]:
    """The folders within that hold what `folder` should, or probability maps."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    inner = [path for path in inner if is_maps_name(path.name) == of_maps]
    return [path for path in inner if os.access(path, os.R_OK) and any(is_mask_file(e.name) for e in path.iterdir())]


def _is_ours(name: str) -> bool:
    """Whether a file of that name claims to be a mask; hidden files are macOS resource forks and the like."""
    return not name.startswith(".") and is_mask_file(name)


def _unreadable(path: Path) -> str:
    if path.suffix.lower() in (".mhd", ".nhdr"):
        return f"{path}: keeps its voxels in another file: write one .mha or .nrrd with the voxels in it"
    return f"{path}: is of a format that is not read: write .nii, .nii.gz, .mha or .nrrd"


def _nothing(predictions: Path, hint: Path | None = None, noun: Noun = "mask") -> str:
    remedy = (
        f"give {hint}, which does" if hint else f"put a {noun} for each case into it, or give another folder or zip"
    )
    return f"{predictions}: holds no .nii, .nii.gz, .mha or .nrrd file: {remedy}"


def _refuse_unless_zip(path: Path, noun: Noun = "mask") -> None:
    if not path.is_file():
        fault = "is no regular file" if path.exists() else "does not exist"
        raise InputError(f"{path}: {fault}: give the folder or the zip of the {_PLACES[noun]}")
    if path.suffix.lower() != ".zip":
        raise InputError(f"{path}: is not a folder, nor does its name end in .zip: give the folder or the zip")


def match_predictions(
    files: Sequence[Path], cases: Sequence[Case], owners: Mapping[Path, str] | None = None
) -> Matches:
    """Find the case of each file by its name.

    Args:
        files: the predictions.
        cases: the cases that are scored.
        owners: the case of a file where that is known otherwise.
    """
    own, aliases = names_of_cases(cases)
    ids, foreign = _ids(cases)
    found: dict[str, list[Path]] = {}
    matches = Matches()
    for path in files:
        stem = mask_stem(path.name)
        image_id = submitted_id(stem)
        case = (owners or {}).get(path) or own.get(bare_stem(path.name)) or own.get(stem)
        case = case or (ids.get(image_id) if image_id else None)
        if case is None and image_id is None and number_of_folder(stem) is None:
            case = own.get(path.parent.name) or own.get(mask_stem(path.parent.name))  # case_1/mask.nii.gz
        case = case or aliases.get(stem)
        if case:
            found.setdefault(case, []).append(path)
        elif image_id in foreign:
            owner, kind, right = foreign[image_id]
            matches.problems.append(
                f"{path}: carries the id of the {kind} of {owner}: name it {submitted_file('<name>', right)}"
            )
        else:
            matches.problems.append(f"{path}: belongs to no case of the cohort: remove it, or {_remedy(cases)}")
    for case, paths in found.items():
        if len(paths) > 1:
            # whole paths where names alone would not tell them apart
            distinct = len({path.name for path in paths}) == len(paths)
            others = ", ".join(other.name if distinct else str(other) for other in paths[1:])
            matches.problems.append(f"{paths[0]}: {case} is predicted again by {others}: keep one of them")
            matches.doubled[case] = paths
        else:
            matches.files[case] = paths[0]
    return matches


def names_of_cases(cases: Sequence[Case]) -> tuple[dict[str, str], dict[str, str]]:
    """The case of each name of its own, and of each other name that is accepted; none that several cases have."""
    exact = {case.name: case.name for case in cases}
    own = of_one_case((mask_stem(case.name), case.name) for case in cases) | exact
    aliases = of_one_case(
        (mask_stem(name), case.name)
        for case in cases
        for name in (*([case.reference.name] if case.reference else []), *case.other_names)
    )
    return own, aliases


def _ids(cases: Sequence[Case]) -> tuple[dict[str, str], dict[str, tuple[str, str, int]]]:
    """Accepted ids -> case; ids of other images -> (case, kind, the id that is right)."""
    ids: dict[str, str] = {}
    foreign: dict[str, tuple[str, str, int]] = {}
    for case in cases:
        right = case.ids.get(case.grid)
        for kind, number in case.ids.items():
            if kind == case.grid:
                ids[str(number)] = case.name
            elif right is not None:
                foreign[str(number)] = (case.name, kind, right)
    return ids, foreign


def _remedy(cases: Sequence[Case]) -> str:
    """How a mask is to be named."""
    if not cases:
        return "give a cohort with cases"
    first = cases[0]
    remedy = f"name it like its case, such as {prediction_file(first.name)}"
    return f"{remedy} or SMIR.<name>.<id of the case's {first.grid}>.nii" if first.grid in first.ids else remedy


def check_predictions(
    cases: Sequence[Case],
    predictions: Path,
    *,
    probabilities: Path | None = None,
    grid: GridRule = "auto",
    jobs: int | None = None,
    complete: bool = False,
    progress: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[str]:
    """Would these predictions be scored as they are? Needs no reference.

    Args:
        cases: the cases to predict; the grid of each is that of its reference or else of one of its images.
        predictions: folder or zip of predictions.
        probabilities: folder or zip of the maps behind the masks (see `open_maps`); None: there are none.
        grid: how the grids of predictions and cases are compared.
        jobs: processes; None takes all cores as soon as that pays.
        complete: a case without a prediction is a problem as well.
        progress: called with (done, total).
        on_note: called with a line on masks that are turned, and one on files that are left aside.

    Returns:
        The names of the cases that have no prediction (they would count as missing).

    Raises:
        InputError: with every problem of every file.
    """
    by_name: Mapping[str, Case] = {case.name: case for case in cases}
    with ExitStack() as stack:
        submission = stack.enter_context(open_submission(predictions))
        masks = match_predictions(list(submission.files), cases)
        problems = submission.problems + ([] if submission.files else [_nothing(predictions)]) + masks.problems
        shown = _shown(submission, masks, is_map=False)
        if probabilities:
            maps = stack.enter_context(open_maps(probabilities, submission))
            of_maps = match_predictions(list(maps.files), cases)
            problems += maps.problems + of_maps.problems + unpaired(maps.place, masks, of_maps)
            shown += _shown(maps, of_maps, is_map=True)
            further_notes = [] if maps is submission.maps else maps.notes
        else:
            further_notes = unused_maps_note(submission)
        tasks = [(by_name[file.case].grid_file, file.place.files[file.path], file.is_map) for file in shown]
        found = dict(run_tasks(functools.partial(check_file, rule=grid), tasks, jobs=jobs, progress=progress))
        for number, file in enumerate(shown):
            problems += file.place.with_shown_path(found[number].problems, file.path)
        turned = [file.case for number, file in enumerate(shown) if found[number].was_turned]
        notes = submission.notes + turning_note(predictions, list(dict.fromkeys(turned))) + further_notes
    problems = list(dict.fromkeys(problems))  # a case's own damaged image is met by each of its predictions
    absent = masks.absent(cases)
    if complete and absent:
        problems.append(absence_fault(predictions, absent))
    if problems:
        raise InputError(problems)
    for note in notes:
        if on_note:
            on_note(note)
    return absent


@dataclass(frozen=True)
class _Shown:
    """A mask or a map that is somebody's."""

    place: Submission
    path: Path
    case: str
    is_map: bool


def _shown(place: Submission, matches: Matches, *, is_map: bool) -> list[_Shown]:
    """All files that belong to a case, also where a case has several."""
    by_case = {case: [path] for case, path in matches.files.items()} | matches.doubled
    return [_Shown(place, path, case, is_map) for case, paths in by_case.items() for path in paths]


def unpaired(probabilities: Path, masks: Matches, maps: Matches) -> list[str]:
    """A line for masks without a map, and for maps without a mask."""
    found, mapped = ({*matches.files, *matches.doubled} for matches in (masks, maps))
    lines = []
    if lacking := sorted(found - mapped, key=natural_key):
        lines.append(f"{probabilities}: holds no probability map of {listed(lacking, 10)}: add one for each mask")
    if beyond := sorted(mapped - found, key=natural_key):
        lines.append(f"{probabilities}: {listed(beyond, 10)} has a probability map and no mask: add the mask")
    return lines


def turning_note(predictions: Path, turned: Sequence[str]) -> list[str]:
    """A line on the cases whose masks are turned, if there are any."""
    if not turned:
        return []
    masks = "1 mask is stored" if len(turned) == 1 else f"{len(turned)} masks are stored"
    return [
        printable(
            f"{predictions}: {masks} in another order of axes than the case's and turned to that order: "
            f"{listed(turned)}"
        )
    ]


def absence_fault(predictions: Path, absent: Sequence[str]) -> str:
    """The problem that some cases have no prediction."""
    verb, noun = ("has", "it") if len(absent) == 1 else ("have", "them")
    return f"{predictions}: {len(absent)} of the cases {verb} no prediction ({listed(absent, 10)}): add {noun}"


def check_file(task: tuple[Path, Path, bool], rule: GridRule = "auto") -> Checked:
    """What is wrong with a mask, or a map where the third says so, the second file, on the grid of the first."""
    grid_file, prediction, is_map = task
    try:
        grid = read_grid(grid_file)
        if fault := voxel_fault(grid.spacing_mm):
            raise InputError(f"{grid_file}: {fault}")
        if is_map:
            return Checked([], read_probabilities(prediction, grid, rule)[1])
        return Checked([], read_mask(prediction, grid, rule).was_turned)
    except MachineError:
        raise
    except InputError as error:
        return Checked(error.problems)
