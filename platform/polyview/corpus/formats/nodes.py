"""The tree of nodes of a VRML 2.0 file: of each, the few fields that a mesh is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.numbers import read_numbers
from polyview.corpus.mesh import MeshError

_WORD = re.compile(rb'"([^"]*)"|#[^\r\n]*|[{}\[\]]|[^\s,{}\[\]"#]+')
_LISTS = {
    b"Coordinate": (b"point",),
    b"TextureCoordinate": (b"point",),
    b"Color": (b"color",),
    b"Normal": (b"vector",),
    b"IndexedFaceSet": (b"coordIndex", b"texCoordIndex", b"colorIndex", b"normalIndex"),
}
_NUMBERS = {
    b"Transform": {b"center": 3, b"rotation": 4, b"scale": 3, b"scaleOrientation": 4, b"translation": 3},
    b"TextureTransform": {b"center": 2, b"rotation": 1, b"scale": 2, b"translation": 2},
    b"Material": {b"diffuseColor": 3, b"transparency": 1},
    b"Switch": {b"whichChoice": 1},
}
"""Fields of a few numbers, and how many each has."""
_WORDS = {b"IndexedFaceSet": (b"ccw", b"colorPerVertex"), b"ImageTexture": (b"url",)}
_MOST_WORDS = 100_000
"""Outside of the arrays that are read: a face's file has a few dozen for each of its materials."""


@dataclass(eq=False)
class Node:
    """A node of a scene: its kind, the name that DEF gives it, its fields, the nodes in it.

    numbers: the fields of numbers; words: those of one word, or the first of several; nodes: as often as they are used.
    """

    kind: bytes = b""
    name: bytes = b""
    numbers: dict[bytes, NDArray[np.float64]] = field(default_factory=dict)
    words: dict[bytes, bytes] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def child(self, kind: bytes) -> Node | None:
        """The first node of a kind in this node."""
        return next((node for node in self.nodes if node.kind == kind), None)

    def array(self, name: bytes) -> NDArray[np.float64] | None:
        """The numbers of a field that has any."""
        numbers = self.numbers.get(name)
        return None if numbers is None or not numbers.size else numbers


def parse(data: bytes) -> list[Node]:
    """All nodes in the order of the file, after one without a kind that holds the outermost; raises `MeshError`."""
    text = np.frombuffer(data, dtype=np.uint8)
    found = [Node()]
    opened, named = [found[0]], dict[bytes, Node]()
    before, name, place = b"", b"", 0
    for _ in range(_MOST_WORDS):
        match = _WORD.search(data, place)
        if match is None:
            if len(opened) > 1:
                raise MeshError(f"ends within its {opened[-1].kind.decode('latin-1')[:40]}: the file is cut")
            return found
        word, place, node = match[0], match.end(), opened[-1]
        if word.startswith(b"#"):
            continue
        if word == b"{":
            found.append(Node(before, name))
            node.nodes.append(found[-1])
            opened.append(found[-1])
            name = b""
        elif word == b"}" and len(opened) > 1:
            named[node.name] = opened.pop()  # not before it ends, so that no node is within itself
        elif word == b"[" and before in _LISTS.get(node.kind, ()):
            node.numbers[before], place = read_numbers(text, place)
        elif word in _NUMBERS.get(node.kind, {}):
            node.numbers[word], place = _few_numbers(data, place, node.kind, _NUMBERS[node.kind][word])
        elif word != b"[" and before in _WORDS.get(node.kind, ()):
            node.words[before] = word if match[1] is None else match[1]
        elif before == b"DEF":
            name = word
        elif before == b"USE" and word in named:
            node.nodes.append(named[word])
        # A bracket leaves the field's name standing: url may be a list.
        before = before if word == b"[" else word
    raise MeshError(f"more than {_MOST_WORDS} words outside of its arrays: not a face's mesh")


def _few_numbers(data: bytes, place: int, kind: bytes, count: int) -> tuple[NDArray[np.float64], int]:
    """The next `count` numbers, and the place after them."""
    match = re.compile(rb"(?:[\s,]*[-+.\deE]+){%d}" % count).match(data, place)
    if match is None:
        raise MeshError(f"a {kind.decode('latin-1')} at byte {place} does not have {count} numbers where it needs them")
    return read_numbers(np.frombuffer(match[0], np.uint8))[0], match.end()
