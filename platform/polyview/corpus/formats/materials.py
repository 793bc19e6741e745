"""Wavefront MTL: the picture or the colour of each material, in all the spellings that programs write."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from polyview.corpus.formats.limits import Companions, read_bytes

CLEAR = 0.1
"""The opacity up to which a surface is left out, such as a cornea: what lies behind it is what is seen."""
_LARGEST = 1 << 20
_OPTION = re.compile(
    r"-(?:(?:blendu|blendv|cc|clamp|texres|boost|bm|imfchan|type)\s+\S+|mm\s+\S+\s+\S+|[ost](?:\s+[-+]?\.?\d\S*){1,3})\s+",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"""(\.\w+["']?)\s+#.*$""")
"""Behind a file's name and nowhere before its end, since names may hold such signs."""


@dataclass(frozen=True)
class Material:
    """picture: the file that map_Kd names, or else map_Ka; colour: Kd, from 0 to 1. None where it does not say.

    opacity: d, or 1 - Tr; from 0, which is clear, to 1.
    scale, offset: what texture coordinates are multiplied by, and what is added then, before they are those of the
    picture; so programs write and read the options -s and -o.
    """

    picture: str | None = None
    colour: tuple[float, float, float] | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    opacity: float = 1.0

    @property
    def look(self) -> Material:
        """What of it is seen, as if it were opaque: a picture hides the colour."""
        return replace(self, colour=None, opacity=1.0) if self.picture else Material(None, self.colour)

    @property
    def is_plain(self) -> bool:
        """Whether it has no picture, and no colour but a grey, as programs write by default."""
        return self.picture is None and (self.colour is None or len(set(self.colour)) == 1)

    @property
    def is_clear(self) -> bool:
        """Whether what lies behind it is seen, and next to nothing of itself."""
        return self.opacity <= CLEAR

    @property
    def is_moved(self) -> bool:
        """Whether its picture lies elsewhere than the texture coordinates say."""
        return (self.scale, self.offset) != ((1.0, 1.0), (0.0, 0.0))


def read_libraries(lines: Iterable[str], companions: Companions) -> dict[str, Material]:
    """The materials of all libraries that `mtllib` lines name; a library that is missing gives none.

    A picture is looked for from the library's own folder first, and from the mesh's where it is not there.
    """
    materials: dict[str, Material] = {}
    for line in lines:
        whole = companions.beside(line)
        for file in [whole] if whole else map(companions.beside, line.split()):
            if file:
                own = parse(text_of(read_bytes(file, _LARGEST)))
                materials |= {name: _from_its_folder(look, file.parent, companions) for name, look in own.items()}
    return materials


def _from_its_folder(look: Material, folder: Path, companions: Companions) -> Material:
    """The material with the whole path of its picture, where that is found from a folder other than the mesh's."""
    if look.picture is None or folder == companions.folder:
        return look
    found = replace(companions, folder=folder).beside(look.picture)
    return replace(look, picture=str(found)) if found else look


def parse(library: str) -> dict[str, Material]:
    """The materials of an MTL file by name.

    A picture for light from all around, map_Ka, is that of the surface where no other is named: programs write the same
    file as both, or as this one alone.
    Of d and Tr, which some programs write as if they were the same, d counts where both are there, and a Tr of 1 is
    opaque, as MeshLab means it.
    """
    materials: dict[str, Material] = {}
    dissolved, pictured = set[str](), set[str]()
    name = ""
    for line in library.splitlines():
        key, _, value = re.sub(r"\s+", " ", line.strip(), count=1).partition(" ")
        value = value.strip()
        known = materials.get(name, Material())
        match key.lower():
            case "newmtl":
                name = value
                materials[name] = Material()
                dissolved.discard(name)
                pictured.discard(name)
            case "map_kd" | "map_ka" as kind if value and (kind == "map_kd" or name not in pictured):
                file, options = _split(value)
                scale, offset = _pair(options, "-s", 1.0), _pair(options, "-o", 0.0)
                materials[name] = replace(known, picture=file, scale=scale, offset=offset)
                pictured |= {name} if kind == "map_kd" else set()
            case "kd":
                materials[name] = replace(known, colour=_colour(value))
            case "d":
                dissolved.add(name)
                materials[name] = replace(known, opacity=_number(value.removeprefix("-halo"), 1.0))
            case "tr" if name not in dissolved and (clearness := _number(value, 0.0)) < 1:
                materials[name] = replace(known, opacity=1.0 - clearness)
    return materials


def _split(value: str) -> tuple[str, list[list[str]]]:
    """The file's name in what follows `map_Kd`, with spaces or perhaps quoted, and the options before it."""
    options = []
    while match := _OPTION.match(value):
        options.append(match[0].split())
        value = value[match.end() :]
    return _COMMENT.sub(r"\1", value).strip("\"' "), options


def _pair(options: list[list[str]], name: str, default: float) -> tuple[float, float]:
    """The first two numbers of an option, across and up; `default` for what it does not say."""
    for key, *words in reversed(options):
        if key.lower() == name:
            across, up = (_number(word, default) for word in [*words, "", ""][:2])
            return across, up
    return default, default


def _number(word: str, default: float) -> float:
    try:
        number = float(word)
    except ValueError:
        return default
    return number if math.isfinite(number) else default


def text_of(data: bytes) -> str:
    """Text in UTF-8, or else in latin-1, in which any bytes are text."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _colour(value: str) -> tuple[float, float, float] | None:
    try:
        red, green, blue = (min(max(float(word), 0.0), 1.0) for word in value.split()[:3])
    except ValueError:
        return None
    return red, green, blue
