"""Random truths of who shows what in anybody's folder: in the names of files, or in a table of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from tests.corpus.datasets.layouts import BETWEEN, Chance, Face, Habits

PATTERNS = (
    "{subject}/{expression}/{frame}",
    "{subject}/{expression}",
    "{subject}_{expression}_{frame}",
    "{subject}-{expression}{frame}",
    "{subject}/{sequence}/{expression}_{frame}",
    "{subject}/{expression}_{intensity}",
    "{expression}/{subject}_{sequence}_{frame}",
    "*/{subject}/{sequence}_{expression}/{frame}_{intensity}",
    "{subject}/{frame}_{expression}",
    "{sequence}/{subject}/scan_{expression}{intensity}_{frame}",
)
SUBJECTS = ("F0001", "7", "007", "anna", "Anna Maria", "Ünal", "s_01", "bs-000", "o.k.", "1.5", "happy", "李")
WRITTEN = {
    "neutral": ("neutral", "Neutral", "NE", "N_N", "no expression"),
    "anger": ("anger", "Angry", "AN", "E_ANGER", "ang"),
    "happiness": ("happiness", "happy", "HA", "Joy", "E_HAPPY"),
    "surprise": ("Surprise", "surprised", "SU", "SURPRISE "),
    "in pain": ("in pain", "Pain", "in_pain"),
    "AU1+2": ("AU1+2", "au1+2", "AU 1+2"),
    "mouth_open": ("mouth_open", "mouth open", "MouthOpen"),
}
"""By expression of the corpus how it is written."""
SEQUENCES = ("take1", "take2", "2024-05-01", "a_b")

NAMES: dict[str, list[Any]] = {
    "pattern": list(PATTERNS),
    "written": ["first", "any"],
    "format": [".obj", ".ply", ".stl", ".obj.gz"],
    "digits": [1, 3],
    "junk": [False, True],
}
"""How files may be called that tell all by their names, the plainest first."""
TABLES: dict[str, list[Any]] = {
    "written": ["first", "any"],
    "format": [".obj", ".PLY", ".wrl.gz"],
    "junk": [False, True],
    "separator": [",", ";", "\t", "|"],
    "encoding": ["utf-8", "utf-8-sig", "utf-16"],
    "newline": ["\n", "\r\n"],
    "decimal": [".", ","],
    "quoted": [csv.QUOTE_MINIMAL, csv.QUOTE_ALL],
    "paths": ["plain", "backslashes", "dotted", "absolute", "other case"],
    "frames": ["whole", "floats", "none"],
    "films": [False, True],
    "pictures": [False, True],
    "heads": [str.lower, str.upper, str.title, "  {} ".format],
    "more columns": [False, True],
    "kind": ["csv", "parquet"],
}
"""How a table may be written, the plainest first."""


def named(root: Path, chance: Chance, habits: Habits) -> tuple[list[Face], str]:
    """Files that tell all by their names, some by chance in two ways; returns what they show, and the pattern."""
    suffix = habits["format"]
    faces: dict[str, Face] = {}
    for subject, expression, written, sequence, frame, intensity in _performances(chance, habits):
        intensity = round(intensity, 2)
        fields = {
            "subject": subject,
            "expression": written.strip(),
            "sequence": sequence,
            "frame": f"{frame:0{habits['digits']}}",
            "intensity": intensity,
        }
        path = habits["pattern"].replace("*", "any").format(**fields) + suffix
        told = [name for name in fields if f"{{{name}}}" in habits["pattern"]]
        strength = intensity if "intensity" in told else float(expression != "neutral")
        film = [fields[name] for name in ("subject", "expression", "sequence") if name in told]
        is_film = "frame" in told
        faces[path] = Face(
            subject, expression, strength, str(film) if is_film else path, frame if is_film else 0, path, None
        )
    _fill(root, [*faces], habits)
    return [*faces.values()], habits["pattern"] + suffix


def listed(root: Path, chance: Chance, habits: Habits) -> tuple[list[Face], str]:
    """Files of any name and a table of them; returns what they show, and the table's name."""
    faces, rows = [], []
    for number, (subject, expression, written, sequence, frame, intensity) in enumerate(_performances(chance, habits)):
        path = f"Scans {number % 3}/{number:03}{habits['format']}"
        picture = f"pictures/{number}.png" if habits["pictures"] and number % 2 else None
        is_film = habits["frames"] != "none"
        film = path
        if habits["films"]:
            film = sequence
        elif is_film:
            film = f"{subject} {expression}"
        told = intensity if chance.random() < 0.9 or is_film or habits["films"] else None
        strength = float(expression != "neutral") if told is None else told
        number_of_frame = frame if is_film else 0
        faces.append(
            Face(subject, expression, strength, f"{subject} {expression} {film}", number_of_frame, path, picture)
        )
        cells: dict[str, Any] = {
            "path": _spelt(root, path, habits["paths"]),
            "subject": subject,
            "expression": written,
            "intensity": told,
        }
        cells |= {"frame": float(frame) if habits["frames"] == "floats" else frame} if is_film else {}
        cells |= {"sequence": sequence} if habits["films"] else {}
        cells |= {"texture": picture and _spelt(root, picture, habits["paths"])} if habits["pictures"] else {}
        cells |= (
            {"age": int(chance.integers(18, 80)), "remark": 'laughs; "well", or so'} if habits["more columns"] else {}
        )
        rows.append(cells)
    _fill(root, [face.path for face in faces] + [face.texture for face in faces if face.texture], habits)
    return faces, _write_table(root, chance, rows, habits)


def _performances(chance: Chance, habits: Habits) -> list[tuple[str, str, str, str, int, float]]:
    """Subject, expression, how it is written, film, frame and intensity; one written way for each film."""
    found = []
    for subject in chance.choice(SUBJECTS, 4, replace=False).tolist():
        for expression in chance.choice([*WRITTEN], 2, replace=False).tolist():
            ways = WRITTEN[expression]
            written = ways[0] if habits["written"] == "first" else ways[chance.integers(len(ways))]
            for sequence in SEQUENCES[: chance.integers(1, 3)]:
                start = int(chance.choice([0, 9, 99]))
                for frame in range(start, start + int(chance.integers(1, 4))):
                    strength = 0.0 if expression == "neutral" else float(chance.integers(1, 101)) / 100
                    found.append((subject, expression, written, sequence, frame, strength))
    return found


def _fill(root: Path, paths: list[str], habits: Habits) -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    if habits["junk"]:
        first = PurePosixPath(paths[0])
        for name in BETWEEN:
            (root / first.with_name(name.format(first.name))).touch()


def _spelt(root: Path, path: str, way: str) -> str:
    ways: dict[str, Callable[[str], str]] = {
        "plain": str,
        "backslashes": lambda name: name.replace("/", "\\"),
        "dotted": lambda name: f"./pictures/../{name}",
        "absolute": lambda name: str(root / name),
        "other case": str.swapcase,
    }
    return ways[way](path)


def _write_table(root: Path, chance: Chance, rows: list[dict[str, Any]], habits: Habits) -> str:
    columns = chance.permutation([*rows[0]]).tolist()
    heads = [habits["heads"](column) for column in columns]
    if habits["kind"] == "parquet":
        frame = pl.DataFrame(rows).select(columns)
        frame.rename(dict(zip(columns, heads, strict=True))).write_parquet(root / "faces.parquet")
        return "faces.parquet"
    text = io.StringIO()
    writer = csv.writer(text, delimiter=habits["separator"], lineterminator=habits["newline"], quoting=habits["quoted"])
    writer.writerow(heads)
    writer.writerows([_cell(row[column], habits) for column in columns] for row in rows)
    (root / "faces.csv").write_bytes(text.getvalue().encode(habits["encoding"]))
    return "faces.csv"


def _cell(value: Any, habits: Habits) -> str:
    if value is None:
        return ""
    return str(value).replace(".", habits["decimal"]) if isinstance(value, float) else str(value)
