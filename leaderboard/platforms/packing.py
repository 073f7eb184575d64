"""What an organiser uploads to a platform: container, scripts, settings and ground truth, in one folder."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from leaderboard.cohort.banner import BANNER
from leaderboard.cohort.case import Case
from leaderboard.cohort.names import bare_stem
from leaderboard.columns import CORE_METRICS, METRICS
from leaderboard.errors import InputError
from leaderboard.io.digests import file_digest
from leaderboard.io.tables import name_fault
from leaderboard.platforms.interface import Settings
from leaderboard.platforms.writing import write_submission
from leaderboard.presets import PRESETS

_DISTRIBUTION = "isles-benchmark"
_WHEEL = re.compile(r"isles_benchmark-(?P<version>[\w.!+]+)-py3-none-any\.whl")
#: The beginning of a requirement, and what says that only an extra needs it.
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)")
_OF_EXTRA = re.compile(r";.*\bextra\s*==")
_IMAGE = re.compile(r"[a-z0-9][\w./:@-]{0,200}")
#: Settings that stand in the packed program, unless they are as they would be anyway; others have done their part when
#: the ground truth was written.
_KEPT = ("preset", "grid", "complete", "lenient", "per_case", "case_pattern", "mask_socket", "map_socket", "split")
#: The day on which a file in an archive says that it was written.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Pack:
    """What is packed.

    Attributes:
        platform: one of `platforms.NAMES`.
        settings: how submissions are evaluated.
        title: of the challenge.
        image: name of the container's image; CodaBench gets it from a registry by that name.
        wheel: the wheel of this package that the container installs; None: its version from a package index.
        start: day (and time) on which the phase begins.
        end: and ends; empty on CodaBench: never.
    """

    platform: str
    settings: Settings
    title: str
    image: str
    wheel: Path | None = None
    start: str = ""
    end: str = ""


#: Where the references lie in a pack.
GROUND_TRUTH = {
    "grand-challenge": "ground_truth",
    "codabench": "reference_data",
    "evalai": "annotations/references.zip",
}


def write_pack(out: Path, pack: Pack, cases: Sequence[Case], banner: str = "") -> list[str]:
    """Write everything into a new folder.

    Args:
        out: the folder; it may be there if it is empty.
        pack: what is packed.
        cases: the references.
        banner: what must be said of the cohort, above all that it is synthetic; empty: nothing.

    Returns:
        The paths of the files within the folder, in order.

    Raises:
        InputError: the folder holds something, the wheel is none of this package, or a version cannot be told.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: is there already and holds something: give a new folder")
    files = texts(pack)
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name[:100]}.", suffix=".tmp", dir=out.parent))
        temporary.chmod(0o755)
        for name, text in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                (temporary / name).chmod(0o755)
        if pack.wheel:
            shutil.copy(pack.wheel, temporary / _program_folder(pack) / pack.wheel.name)
        _write_ground_truth(temporary, pack, cases, banner)
        if pack.platform != "grand-challenge":
            _write_logo(temporary / "logo.png")
        if out.is_dir():
            out.rmdir()
        temporary.rename(out)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror or error}): check the folder and the disk"
        ) from None
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def texts(pack: Pack) -> dict[str, str]:
    """The text of each file to write, by its path within the pack.

    Raises:
        InputError: as `write_pack`.
    """
    if fault := name_fault(pack.title) if pack.title else "is empty: name the challenge":
        raise InputError(f"--title: {pack.title!r} {fault}")
    if not _IMAGE.fullmatch(pack.image):
        raise InputError(f"--image: {pack.image!r} is no name of an image: give one such as registry/name:1.0")
    version, required = _of_wheel(pack.wheel) if pack.wheel else _installed()
    rules, words = PRESETS.get(pack.settings.preset), command(pack)
    ranked = [
        {"name": name, "title": METRICS[name].heading, "sorting": "desc" if METRICS[name].higher_is_better else "asc"}
        for name in (rules.metrics if rules else CORE_METRICS)
    ]
    known: dict[str, Any] = {
        "pins": pins(required),
        "version": version,
        "wheel": pack.wheel.name if pack.wheel else "",
        "wheel_sha256": file_digest(pack.wheel) if pack.wheel else "",
        "python": ".".join(map(str, sys.version_info[:2])),
        "image": pack.image,
        "title": pack.title,
        "start": pack.start,
        "end": pack.end,
        "preset": pack.settings.preset,
        "rules": _sentence(rules.words if rules else "the leaderboard's own metrics; scheme dice, policy isles2018"),
        "more_rules": {} if rules is None else {key: text for key, text in rules.rules.items() if key != "Preset"},
        "maps": bool(rules and rules.needs_probabilities),
        "per_case": pack.settings.per_case,
        "split": pack.settings.split,
        "ranked": ranked,
        "columns": json.dumps(
            [{"title": m["title"], "path": f"aggregates.{m['name']}.mean", "order": m["sorting"]} for m in ranked[1:]]
        ),
        "entrypoint": words if pack.platform == "grand-challenge" else [],
        "command": shlex.join(words),
        "settings": repr(_kept(pack.settings)),
    }
    environment = Environment(
        loader=PackageLoader("leaderboard.platforms"), undefined=StrictUndefined, trim_blocks=True,
        keep_trailing_newline=True, autoescape=lambda name: bool(name and name.endswith(".html.j2")),
    )  # fmt: skip
    return {
        path: environment.get_template(template).render(**known, **more)
        for path, (template, more) in _TEMPLATES[pack.platform].items()
    }


def command(pack: Pack) -> list[str]:
    """The words of ``leaderboard evaluate`` with all that was decided."""
    words = ["leaderboard", "evaluate", "--platform", pack.platform]
    for name, value in _kept(pack.settings).items():
        words.append(f"--{name.replace('_', '-')}")
        words += [] if value is True else [str(value)]
    return words


def pins(required: Iterable[str]) -> dict[str, str]:
    """The version that is installed here of everything that some requirements need, by name.

    Raises:
        InputError: one of `required` itself is not installed.
    """
    found: dict[str, str] = {}
    pending = list(required)
    while pending:
        text = pending.pop()
        match = _REQUIREMENT.match(text)
        if match is None or _OF_EXTRA.search(text):
            continue
        try:
            package = distribution(match[1])
        except PackageNotFoundError:
            if ";" in text:  # of another system
                continue
            raise InputError(f"{match[1]}: is not installed here, so that its version is unknown: install it") from None
        name = package.metadata["Name"]
        if name not in found:
            found[name] = package.version
            pending += package.requires or []
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _kept(settings: Settings) -> dict[str, Any]:
    """The settings that differ from what `leaderboard evaluate` does unasked."""
    asked = {name: getattr(settings, name) for name in _KEPT}
    unasked = {name: getattr(Settings, name) for name in _KEPT}
    return {name: value for name, value in asked.items() if value != unasked[name]}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of_wheel(wheel: Path) -> tuple[str, list[str]]:
    """Version and requirements of a wheel of this package.

    Raises:
        InputError: it is none.
    """
    match = _WHEEL.fullmatch(wheel.name)
    try:
        with zipfile.ZipFile(wheel) as archive:
            folder = f"isles_benchmark-{match['version']}.dist-info" if match else ""
            lines = archive.read(f"{folder}/METADATA").decode().partition("\n\n")[0].splitlines()
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        match = None
    if match is None:
        raise InputError(f"{wheel}: is no wheel of {_DISTRIBUTION}: build one with pip wheel --no-deps")
    return match["version"], [line.partition(":")[2] for line in lines if line.startswith("Requires-Dist:")]


def _installed() -> tuple[str, list[str]]:
    """Version and requirements of this package as it is installed.

    Raises:
        InputError: it is not.
    """
    try:
        own = distribution(_DISTRIBUTION)
    except PackageNotFoundError:
        raise InputError(f"{_DISTRIBUTION} is not installed, so that no version is known: give a --wheel") from None
    return own.version, list(own.requires or [])


def _program_folder(pack: Pack) -> str:
    """Where the wheel and what pins it lie."""
    return "evaluation_script" if pack.platform == "evalai" else ""


def _write_ground_truth(folder: Path, pack: Pack, cases: Sequence[Case], banner: str) -> None:
    """The references under the names of their cases, and on Grand Challenge a submission of them for a first run."""
    place = folder / GROUND_TRUTH[pack.platform]
    references = place.with_suffix("")
    references.mkdir(parents=True)
    for case in cases:
        if case.reference:
            shutil.copy(
                case.reference, references / (case.name + case.reference.name[len(bare_stem(case.reference.name)) :])
            )
    if patients := [f"{case.name},{case.patient}\n" for case in cases if case.patient]:
        (references / "patients.csv").write_text("case,patient\n" + "".join(patients), encoding="utf-8")
    if banner:
        (references / BANNER).write_text(banner + "\n", encoding="utf-8")
    if pack.platform == "grand-challenge":
        masks = {case.name: case.reference for case in cases if case.reference}
        rules = PRESETS.get(pack.settings.preset)
        with_maps = bool(rules and rules.needs_probabilities)
        write_submission(pack.platform, folder / "test" / "input", masks, pack.settings, with_maps=with_maps)
    if place != references:
        _zip(references, place)
        shutil.rmtree(references)


def _zip(folder: Path, archive: Path) -> None:
    """A zip of a folder's files, the same bytes for the same files."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.iterdir()):
            file.writestr(zipfile.ZipInfo(path.name, _DATE), path.read_bytes(), zipfile.ZIP_DEFLATED)


def _write_logo(path: Path) -> None:
    """A plain picture, which the platforms demand."""
    from PIL import Image

    Image.new("RGB", (256, 256), (38, 84, 124)).save(path)


_HTML = (
    "description",
    "evaluation_details",
    "terms_and_conditions",
    "submission_guidelines",
    "challenge_phase_1_description",
)
_Template = tuple[str, Mapping[str, str]]
_BASE: dict[str, _Template] = {"Dockerfile": ("Dockerfile.j2", {}), "requirements.txt": ("requirements.txt.j2", {})}
#: The template of each file, and what only this file needs.
_TEMPLATES: dict[str, dict[str, _Template]] = {
    "grand-challenge": _BASE | {
        name: (f"grand_challenge/{name}.j2", {})
        for name in ("do_build.sh", "do_test_run.sh", "do_save.sh", "README.md")
    },
    "codabench": _BASE | {
        path: (f"codabench/{Path(path).name}.j2", {})
        for path in (
            "competition.yaml", "pages/overview.md", "pages/evaluation.md", "pages/terms.md",
            "scoring_program/metadata.yaml", "scoring_program/score.sh", "README.md",
        )
    },
    "evalai": {
        "challenge_config.yaml": ("evalai/challenge_config.yaml.j2", {}),
        "evaluation_script/__init__.py": ("evalai/init.py.j2", {}),
        "evaluation_script/main.py": ("evalai/main.py.j2", {}),
        "evaluation_script/requirements.txt": ("requirements.txt.j2", {}),
        "README.md": ("evalai/README.md.j2", {}),
        **{f"templates/{name}.html": ("evalai/text.html.j2", {"text": f"Write the {name.replace('_', ' ')} here."})
           for name in _HTML},
    },
}  # fmt: skip
