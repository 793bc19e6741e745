"""Random truths of who shows what in which file, laid out as each dataset lays out its folder, with what lies between.

A layout takes an empty folder, a generator of chance and its habits, and writes files that hold nothing: a scan goes by
their names. It returns what a scan should find, and what it should say that it left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from tests.corpus.on_disk import BOSPHORUS_CODES, BP4D_TASKS, BU3DFE_CODES, BU4DFE_FOLDERS

from polyview.recipe import OWN_EXPRESSIONS

Chance = np.random.Generator
Habits = Mapping[str, Any]

FOLDERS: dict[str, list[Any]] = {
    "below": ["", "data", "Faces 3D (2)"],
    "split": [False, True],
    "case": ["as it is", "lower", "upper"],
    "packed": [0.0, 0.5, 1.0],
    "picture": [".jpg", ".bmp", ".PNG", ".Jpeg", ""],
    "pictures": ["as it is", "other case"],
    "junk": [False, True],
    "copies": [False, True],
}
"""How any of the datasets may lie; with `split`, people lie in two folders; packed: how many of the meshes are."""
FILMS: dict[str, list[Any]] = FOLDERS | {
    "first": [0, 1, 95],
    "digits": [3, 1, 6],
    "gaps": [False, True],
    "torn": [False, True],
}
"""With `torn`, the later frames of some films lie in another folder, as on a second disk."""
CODED: dict[str, list[Any]] = {
    "codes": ["", "AUCoding", "AUCoding/AU_OCC", "AU_OCC"],
    "suffix": [".obj", ".wrl", ".ply"],
}
BETWEEN = (".DS_Store", "Thumbs.db", "desktop.ini", "readme.txt", "._{}", "{}~", "{}.part", ".{}.swp", "._{}.bnd")
"""What systems and programs leave beside a mesh."""


class Face(NamedTuple):
    """What a scan should say of a file; film: any name that its frames share with each other and no others."""

    subject: str
    expression: str
    intensity: float
    film: str
    frame: int
    path: str
    texture: str | None


@dataclass
class Layout:
    """A folder as it is filled. faces: what is to be found in it; left_out: paths that are to be told."""

    root: Path
    chance: Chance
    habits: Habits
    faces: list[Face] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def home_of(self, subject: str) -> PurePosixPath:
        """The folder that a person lies in."""
        below = self.habits["below"] + (" part 2" if self.habits["split"] and self.chance.random() < 0.5 else "")
        return PurePosixPath(below, self.spelt(subject))

    def spelt(self, name: str) -> str:
        return {"lower": name.lower(), "upper": name.upper()}.get(self.habits["case"], name)

    def touch(self, *names: str | PurePosixPath) -> None:
        for name in names:
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

    def face(self, stem: PurePosixPath, suffix: str, *shown: Any, beside: Sequence[str] = ()) -> None:
        """A mesh, its picture, what else belongs to it and what does not.

        shown: subject, expression, intensity, film and frame; beside: what follows the stem in names of its companions.
        """
        packed = ".gz" if self.chance.random() < self.habits["packed"] else ""
        mesh = stem.with_name(self.spelt(stem.name + suffix) + packed)
        shown_by = (
            self.spelt(stem.name).swapcase() if self.habits["pictures"] == "other case" else self.spelt(stem.name)
        )
        picture = stem.with_name(shown_by + self.habits["picture"]) if self.habits["picture"] else None
        companions = [stem.with_name(self.spelt(stem.name + end)) for end in beside]
        self.touch(mesh, *([picture] if picture else []), *companions)
        if self.habits["junk"] and self.chance.random() < 0.2:
            self.touch(*(mesh.with_name(name.format(mesh.name)) for name in BETWEEN))
            self.touch(PurePosixPath("__MACOSX", mesh.with_name(f"._{mesh.name}")))
        if self.habits["copies"] and self.chance.random() < 0.2:
            copy = mesh.with_name(f"{self.spelt(stem.name)} (1){self.spelt(suffix)}")
            self.touch(copy)
            self.left_out.add(str(copy))
        self.faces.append(Face(*shown, str(mesh), str(picture) if picture else None))

    def film(
        self,
        folder: PurePosixPath,
        named: Callable[[str], str],
        suffix: str,
        subject: str,
        expression: str,
        strengths: Mapping[int, float] | None = None,
    ) -> None:
        """The frames of a film; strengths: by number their intensities, else from rest over the apex and back."""
        count = int(self.chance.integers(1, 4))
        numbers = self.habits["first"] + np.arange(2 * count)
        if self.habits["gaps"]:
            numbers = np.sort(self.chance.choice(numbers, count, replace=False))
        torn = self.habits["torn"] and not strengths and self.chance.random() < 0.5
        for place, number in enumerate(numbers[:count].tolist()):
            own = PurePosixPath("more", *folder.parts[-2:]) if torn and 2 * place >= count else folder
            stem = own / named(f"{number:0{self.habits['digits']}}")
            strength = strengths[number] if strengths else math.sin(math.pi * (place + 0.5) / count)
            self.face(stem, suffix, subject, expression, strength, str(folder), number)


def some(chance: Chance, things: Iterable[Any]) -> list[Any]:
    """A random part of things, one at least, in their order."""
    things = list(things)
    kept = chance.random(len(things)) < 5 / len(things)
    kept[chance.integers(len(things))] = True
    return [thing for thing, is_kept in zip(things, kept, strict=True) if is_kept]


def people(chance: Chance, form: str, last: int) -> list[str]:
    """A few people's names, by a form such as `F{:04}`."""
    return [form.format(number) for number in np.sort(chance.choice(last + 1, 2, replace=False)).tolist()]


def bu3dfe(layout: Layout) -> None:
    chance = layout.chance
    for subject in people(chance, chance.choice(["F{:04}", "M{:04}"]), 44):
        ancestry = chance.choice(["WH", "BL", "LA", "AE", "AM", "IN"])
        home = layout.home_of(subject)
        for code, level in some(chance, [("NE", 0), *itertools.product(BU3DFE_CODES, range(1, 5))]):
            shown = (subject, BU3DFE_CODES.get(code, "neutral"), level / 4, f"{subject} {code} {level}", 0)
            stem = home / f"{subject}_{code}{level:02}{ancestry}_F3D"
            layout.face(stem, ".wrl", *shown, beside=(".bnd",))
            if layout.habits["copies"]:  # and what the dataset has no level for
                odd = home / layout.spelt(f"{subject}_{'AN00' if level else 'NE03'}{ancestry}_F3D.wrl")
                layout.touch(odd)
                layout.left_out.add(str(odd))
            raw = stem.name.replace("_F3D", "")
            layout.touch(*(home / layout.spelt(raw + end) for end in ("_RAW.wrl", "_RAW.pse", "_F2D.bmp")))


def bu4dfe(layout: Layout) -> None:
    layout.touch("BU_WrlViewer_V2/viewer.exe")
    for subject in people(layout.chance, layout.chance.choice(["F{:03}", "M{:03}"]), 43):
        home = layout.home_of(subject)
        for name, expression in some(layout.chance, BU4DFE_FOLDERS.items()):
            layout.film(home / layout.spelt(name), str, ".wrl", subject, expression)
    for face in list(layout.faces):
        layout.touch(PurePosixPath("BU4DFE_BND_V1.1", *PurePosixPath(face.path).with_suffix(".bnd").parts[-3:]))


def bosphorus(layout: Layout) -> None:
    codes = {f"E_{code}": shown for code, shown in BOSPHORUS_CODES.items()} | {"N_N": "neutral"}
    codes |= {code: code.lower() for code in ("LFAU_12", "CAU_A12A25", "LFAU_12LW25", "O_EYE", "YR_R10", "CR_RD")}
    for subject in people(layout.chance, "bs{:03}", 104):
        home = layout.home_of(subject)
        for (code, shown), take in some(layout.chance, itertools.product(codes.items(), range(2))):
            strength = 0.0 if shown == "neutral" else 1.0
            stem = home / f"{subject}_{code}_{take}"
            layout.face(stem, ".bnt", subject, shown, strength, str(stem), 0, beside=(".lm2", ".lm3"))


def bp4d(layout: Layout) -> None:
    chance, habits = layout.chance, layout.habits
    for subject in people(chance, chance.choice(["F{:03}", "M{:03}"]), 18):
        home = layout.home_of(subject)
        for name, expression in some(chance, BP4D_TASKS.items()):
            numbers = range(habits["first"], habits["first"] + 6)
            units = {number: chance.integers(0, 2, 5).tolist() for number in numbers}
            most = max(1, *map(sum, units.values()))
            coded = habits["codes"] and chance.random() < 0.7
            if coded:
                rows = [(0, 1, 2, 4, 6, 12), *((number, *active) for number, active in units.items())]
                table = home.parent / layout.spelt(f"{habits['codes']}/{subject}_{name}.csv")
                layout.touch(table)
                (layout.root / table).write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
            strengths = {number: sum(active) / most for number, active in units.items()} if coded else None
            layout.film(home / layout.spelt(name), str, habits["suffix"], subject, expression, strengths)


def coma(layout: Layout) -> None:
    names = [f"FaceTalk_{day}_{number:05}_TA" for day, number in ((170725, 137), (170728, 3272), (170908, 3277))]
    for subject in names:
        home = layout.home_of(subject)
        for name in some(layout.chance, OWN_EXPRESSIONS["coma"]):
            layout.film(home / layout.spelt(name), f"{name}.{{}}".format, ".ply", subject, name)


DATASETS: dict[str, tuple[Callable[[Layout], None], dict[str, list[Any]]]] = {
    "bu3dfe": (bu3dfe, FOLDERS),
    "bu4dfe": (bu4dfe, FILMS),
    "bosphorus": (bosphorus, FOLDERS),
    "bp4d": (bp4d, FILMS | CODED),
    "coma": (coma, FILMS),
}
"""By dataset its layout and its habits, the plainest first."""
