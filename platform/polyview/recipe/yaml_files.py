"""YAML as people type it: names stay the text that they are, and what is typed behind a key stays whole.

A file that cannot be read is told in one line.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MappingNode, Node, ScalarNode, SequenceNode, YAMLError

from polyview.errors import UserError

MOST_VALUES = 100_000
"""In a recipe with its aliases written out, of which a few lines can make more than any memory holds."""
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
RESOLVER = re.compile(r"\$\{\s*([\w.]+\s*:)")


def read_yaml(path: Path) -> Any:
    """A file's keys and values, references among them resolved; raises `UserError` where it has none."""
    if is_zip(path):
        raise UserError(
            f"{path}: a zip, and no recipe; a bundle is read by polyview report, table and figures, and run again by "
            "polyview rerun"
        )
    if path.is_dir():
        raise UserError(f"{path}: a folder; name one of its files")
    try:
        if not (text := path.read_text(encoding="utf-8-sig")).strip():
            raise UserError(f"{path}: is empty; the repository's recipes are in experiments/ and ablations/")
        config = OmegaConf.create(quote_names(text))
        refuse_resolvers(OmegaConf.to_yaml(config), str(path))
        OmegaConf.resolve(config)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the repository's recipes are in experiments/ and ablations/") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply to be read; a recipe has a few levels") from None
    except AssertionError:  # OmegaConf's, of what is neither keys nor a list
        raise UserError(f"{path}: expected keys and values at the top level") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not OmegaConf.is_dict(config):
        raise UserError(f"{path}: expected keys and values at the top level")
    return config


def names_file(path: Path) -> bool:
    """Whether a file is meant, there or not; what is none may be the name of a study's folder."""
    return path.suffix in (".yaml", ".yml") or path.is_file()


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip does, which a recipe never does and a bundle always."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def refuse_resolvers(text: str, place: str) -> None:
    """Raises `UserError` where a value asks OmegaConf for more than a key: the environment may hold secrets."""
    for found in RESOLVER.findall(text):
        raise UserError(f"{place}: ${{{found}…}} is not read; a recipe refers to its own keys, as in ${{training.lr}}")


def quote_names(text: str) -> str:
    """The same YAML with every key in quotes that it would read as something else: `on`, `no`, `1`, `0.5`, `null`.

    Raises `YAMLError` where it is none, or is of more than `MOST_VALUES` values.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root and _count_values(root, {}) > MOST_VALUES:
        raise YAMLError(f"its aliases repeat without end, or more than {MOST_VALUES:,} values")
    for key in sorted(_misread_names(root), key=lambda key: key.start_mark.index, reverse=True):
        begin, end = key.start_mark.index, key.end_mark.index
        text = f'{text[:begin]}"{text[begin:end]}"{text[end:]}'
    return text


def first_comment(text: str) -> str:
    """The comment that a file begins with, as one line; what is commented below an empty line is not of it."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.lstrip().splitlines())
    return " ".join(" ".join(line.strip("# ") for line in lines).split())


def _misread_names(node: Node | None) -> Iterator[ScalarNode]:
    """The keys, at any depth, that are written without quotes and are no text to YAML."""
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from _misread_names(item)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.style is None and (key.tag not in (TEXT, MERGE) or _is_number(key)):
                yield key
            yield from _misread_names(key)
            yield from _misread_names(value)


def _count_values(node: Node, counted: dict[int, float]) -> float:
    """How many values a node has with its aliases written out; endless for one that is within itself."""
    if id(node) not in counted:
        counted[id(node)] = math.inf  # until it is known
        parts = itertools.chain.from_iterable(node.value) if isinstance(node, MappingNode) else node.value
        within = parts if isinstance(node, MappingNode | SequenceNode) else ()
        counted[id(node)] = 1 + sum(_count_values(part, counted) for part in within)
    return counted[id(node)]


def _is_number(key: ScalarNode) -> bool:
    """Whether OmegaConf reads a number where YAML 1.1 reads text, as in 1e3."""
    try:
        float(key.value)
    except ValueError:
        return False
    return True


def read_value(text: str) -> Any:
    """What is typed behind a key, as YAML reads it; or the text itself, where YAML would leave some of it out.

    So `/data/My faces #2` has no comment, and `{subject}/{expression}.obj` is no mapping. Raises `YAMLError` for a list
    without an end, and OmegaConf's errors for a reference to what there is not.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        left_out = text if node is None else text[node.end_mark.index :]
        if left_out.strip():
            return text
        config = OmegaConf.create(f"value: {quote_names(text)}")
    except YAMLError:
        if text.lstrip().startswith("["):
            raise
        return text
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return found["value"]
