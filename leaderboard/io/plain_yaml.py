"""YAML from strangers: plain values, with limits on nesting and on how often aliases repeat them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from leaderboard.errors import cut

#: A suite's config has a few hundred values and a few thousand bytes.
MOST_VALUES = 100_000
MOST_BYTES = 1 << 18
MOST_BRACKETS = 100
_MOST_BITS = 1000
#: What mends nearly every text that is no YAML.
_REMEDY = "quote a text that holds ': ', ' #' or a bracket, close quotes and brackets, indent with spaces"


#: What a tag stands for, of those whose values PyYAML computes.
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "timestamp": "a date"}


class _RefusedError(yaml.MarkedYAMLError):
    """What YAML allows and this reader does not, in words of ours."""


class _RangeError(yaml.MarkedYAMLError):
    """A character or a version of YAML whose number Python does not take."""


class _Loader(yaml.SafeLoader):
    """Stops early where PyYAML would take minutes or gigabytes: merge keys that repeat each other, many brackets.

    Refuses a key that is there twice, of which PyYAML drops the first in silence.
    """

    def fetch_more_tokens(self) -> None:
        try:
            super().fetch_more_tokens()
        except (ValueError, OverflowError):
            raise _RangeError(problem_mark=self.get_mark()) from None

    def get_single_node(self) -> yaml.Node | None:
        try:
            return super().get_single_node()
        except yaml.composer.ComposerError as error:
            if error.problem != "but found another document":
                raise
            raise _RefusedError(problem="has a second document", problem_mark=error.problem_mark) from None

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys: set[tuple[str, str]] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in keys:
                raise _RefusedError(problem=f"has {cut(key.value)} twice", problem_mark=key.start_mark)
            keys.add((key.tag, key.value))
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        # PyYAML does not catch errors of its constructors: a date with month 13, an empty integer, !!bool x
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):
            value = repr(cut(node.value)) if isinstance(node, yaml.ScalarNode) else "a list"
            problem = f"has {value} for {_KINDS.get(node.tag.rpartition(':')[2], 'a value of another kind')}"
            raise _RefusedError(problem=problem, problem_mark=node.start_mark) from None

    def fetch_flow_collection_start(self, TokenClass: type) -> None:
        if self.flow_level >= MOST_BRACKETS:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise _RefusedError(problem="merges far too much", problem_mark=node.start_mark)


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
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text") from None


def parse_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: as for `load_yaml`.
    """
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(_fault(error, text)) from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    _refuse_large(content)
    return content


def _fault(error: yaml.YAMLError, text: str) -> str:
    """What is wrong with a text and where, in plain words: those of PyYAML are about its parser."""
    mark, begin = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if begin and (mark is None or mark.index >= len(text.rstrip())):  # what is not closed is met at the end
        mark = begin
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    if isinstance(error, _RefusedError):
        return f"{error.problem}{where}"
    if isinstance(error, yaml.constructor.ConstructorError):
        reason = "a tag such as !name, a list as a name, or << before anything but settings is not read"
    elif isinstance(error, yaml.reader.ReaderError):
        reason = f"the character U+{error.character:04X} is not allowed"
    elif isinstance(error, _RangeError):
        reason = "there is no such character, or no such version of YAML"
    else:
        reason = _REMEDY
    return f"is not valid YAML{where} ({reason})"


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
