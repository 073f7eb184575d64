"""YAML from strangers: plain values, with limits on nesting and on how often aliases repeat them."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

#: A suite's config has a few hundred values and a few thousand bytes.
MOST_VALUES = 100_000
MOST_BYTES = 1 << 18
MOST_BRACKETS = 100
_MOST_BITS = 1000
_LONGEST_REASON = 500


class _Loader(yaml.SafeLoader):
    """Stops early where PyYAML would take minutes or gigabytes: merge keys that repeat each other, many brackets.

    Refuses a key that is there twice, of which PyYAML drops the first in silence.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = Counter((key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [name for (_, name), count in keys.items() if count > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"has {twice[0]} twice", node.start_mark)
        return node

    def fetch_flow_collection_start(self, TokenClass: type) -> None:
        if self.flow_level >= MOST_BRACKETS:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise yaml.constructor.ConstructorError(None, None, "merges far too much", node.start_mark)


def load_yaml(path: Path) -> Any:
    """The value of a YAML file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not YAML, or far larger than a config; the message says which in one line.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"is longer than any config ({MOST_BYTES} bytes are read)")
    try:
        return parse_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"is no UTF-8 text ({error})") from None


def parse_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: as for `load_yaml`.
    """
    try:
        content = yaml.load(text, _Loader)
    # PyYAML does not catch errors of the constructors: a date with month 13, an empty integer.
    except (yaml.YAMLError, ValueError, IndexError, AttributeError, TypeError) as error:
        raise ValueError(f"is not valid YAML ({textwrap.shorten(str(error), _LONGEST_REASON)})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    _refuse_large(content)
    return content


def _refuse_large(content: Any) -> None:
    """Refuse more than `MOST_VALUES` values (each repetition by an alias counts) and huge numbers."""
    values, waiting = 0, [content]
    while waiting and values + len(waiting) <= MOST_VALUES:
        value = waiting.pop()
        values += 1
        if isinstance(value, Mapping):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
        elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise ValueError("holds a number of too many digits")
    if waiting:
        raise ValueError("repeats far too much by its aliases (*name)")
