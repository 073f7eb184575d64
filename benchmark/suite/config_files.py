"""Where configs are: the one that the user names, those beside it, and those that ship with the package.

An installed package contains the project's ``configs/``; in a checkout they are the folder beside the package.
So ``--config configs/twin.yaml`` and ``--config twin`` work from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaderboard.errors import InputError, nearest
from leaderboard.io.plain_yaml import load_yaml


def shipped_configs() -> Path:
    """The folder of the configs that come with this package."""
    package = Path(__file__).parents[1]
    inside = package / "_configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find_config(name: str) -> Path:
    """A suite's config: the given path if it exists, else a shipped one by path or name.

    Raises:
        InputError: there is none; the shipped ones are named.
    """
    given = Path(name)
    if given.is_file():
        return given
    parts = given.parts[1:] if given.parts[:1] == ("configs",) else given.parts
    if parts and not given.is_absolute():
        for candidate in (
            shipped_configs().joinpath(*parts),
            shipped_configs().joinpath(*parts[:-1], parts[-1] + ".yaml"),
        ):
            if candidate.is_file():
                return candidate
    known = sorted(path.stem for path in shipped_configs().glob("*.yaml"))
    what = "is a folder, not a config" if given.is_dir() else "no such config"
    raise InputError(f"{name}: {what}: {nearest(given.stem, known)}give a path, or one of {', '.join(known)}")


def find_method(name: str, suite_config: Path) -> Path:
    """A method's config: ``methods/<name>.yaml`` beside the suite's config, else the shipped one.

    Raises:
        InputError: there is none; the known ones are named.
    """
    folders = [suite_config.parent / "methods", shipped_configs() / "methods"]
    for folder in folders:
        if (path := folder / f"{name}.yaml").is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise InputError(
        f"{name}: unknown method: {nearest(name, known)}choose among {', '.join(known)}, or write "
        f"{folders[0] / name}.yaml"
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises:
        InputError: it cannot be read, is not YAML, or is not a mapping.
    """
    try:
        content = load_yaml(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}): check the file") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}: correct it") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no settings: start from one of the shipped configs")
    return content


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings merged; later layers win, and anything but a mapping is replaced as a whole."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = merge(merged[key], value) if both else value
    return merged
