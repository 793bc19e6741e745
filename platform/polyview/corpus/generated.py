"""What the datasets that make their own faces share: paths that hold the whole face, head pose, scan faults."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polyview.corpus.expressions import ACTION_UNITS, Activations, Frame, perform
from polyview.corpus.manifest import Found
from polyview.corpus.mesh import Mesh, MeshError
from polyview.recipe import Corpus, Generator

_HOLE_RADIUS = (4.0, 10.0)
_NUMBERS = ("version", "seed", "person", "holes", "yaw", "pitch", "noise")


@dataclass(frozen=True)
class GeneratedFace:
    """All that a generated face is made of; as text it is a manifest's path.

    seed and person together are the identity; activations are weights of action units in [0, 1]; yaw and pitch
    of the head are in degrees (yaw > 0 turns to the subject's left, pitch > 0 looks up); noise in millimetres;
    version is the generator's, so that a changed generator makes other paths; variety is left out of a path where
    it is 0.
    """

    seed: int
    person: int
    activations: Activations
    yaw: float
    pitch: float
    noise: float
    holes: int
    version: int
    variety: float = 0.0

    @classmethod
    def of_frame(cls, frame: Frame, generator: Generator, version: int) -> GeneratedFace:
        """The face that `frame` asks for."""
        return cls(
            seed=generator.seed,
            person=frame.person,
            activations=frame.activations,
            yaw=frame.yaw,
            pitch=frame.pitch,
            noise=generator.noise,
            holes=generator.holes,
            version=version,
            variety=generator.variety,
        )

    def path(self, scheme: str) -> str:
        """For example `synthetic:version=1&seed=0&person=17&holes=0&yaw=3.1&pitch=-1.2&noise=0.0&au6=0.7&au12=0.83`."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        units = {f"au{unit}": weight for unit, weight in sorted(self.activations.items())}
        variety = {"variety": self.variety} if self.variety else {}
        return scheme + urlencode(numbers | variety | units)

    @classmethod
    def parse(cls, path: str, scheme: str, version: int) -> GeneratedFace:
        """Read what `path` wrote; raises `MeshError` where it is not of this scheme and version."""
        values = dict(parse_qsl(path.removeprefix(scheme)))
        try:
            face = cls(
                version=int(values.pop("version")),
                seed=int(values.pop("seed")),
                person=int(values.pop("person")),
                holes=int(values.pop("holes")),
                yaw=float(values.pop("yaw")),
                pitch=float(values.pop("pitch")),
                noise=float(values.pop("noise")),
                variety=float(values.pop("variety", 0.0)),
                activations={int(name.removeprefix("au")): float(weight) for name, weight in values.items()},
            )
        except (KeyError, ValueError) as error:
            raise MeshError(f"not a path of a {scheme.removesuffix(':')} face: {error}") from None
        if face.version != version:
            raise MeshError(f"made for version {face.version} of the generator, this is {version}; scan anew")
        unknown = sorted(set(face.activations) - set(ACTION_UNITS))
        if unknown:
            raise MeshError(f"action units {unknown} are not among {list(ACTION_UNITS)}")
        return face

    def random(self, stream: int) -> np.random.Generator:
        """Chances of this face alone: the same face has the same, and each stream has its own."""
        key = hashlib.blake2b(self.path("").encode(), digest_size=8, salt=stream.to_bytes(1, "little")).digest()
        return np.random.default_rng(int.from_bytes(key, "little"))

    def units(self) -> NDArray[np.float64]:
        """The activations as a vector in the order of `ACTION_UNITS`."""
        return np.array([self.activations.get(unit, 0.0) for unit in ACTION_UNITS])


def generated_rows(corpus: Corpus, scheme: str, version: int) -> Found:
    """The manifest rows of a generated dataset; nothing is ever skipped."""
    generator = corpus.generator
    rows = [
        {
            "sample_id": frame.sample_id,
            "subject": frame.subject,
            "expression": frame.expression,
            "intensity": frame.intensity,
            "sequence": frame.sequence_id,
            "frame": frame.frame,
            "path": GeneratedFace.of_frame(frame, generator, version).path(scheme),
            "texture": None,
            "dataset": corpus.dataset,
        }
        for frame in perform(generator, corpus.expressions)
    ]
    return Found(pl.DataFrame(rows))


def as_scanned(mesh: Mesh, face: GeneratedFace, pivot: NDArray[np.float64]) -> Mesh:
    """The mesh with its head turned about `pivot`, then with the noise and the holes of a scan.

    Noise and holes are drawn from the face's own path: the same face has the same faults.
    """
    rotation = _rotation(face.yaw, face.pitch)
    mesh = replace(
        mesh,
        vertices=_turned(mesh.vertices, rotation, pivot),
        nose=None if mesh.nose is None else _turned(mesh.nose, rotation, pivot),
    )
    if not (face.noise or face.holes):
        return mesh
    rng = face.random(0)
    noise = rng.normal(0.0, face.noise, mesh.vertices.shape).astype(np.float32)
    return replace(mesh, vertices=mesh.vertices + noise, faces=_with_holes(mesh, face.holes, rng))


def _rotation(yaw: float, pitch: float) -> NDArray[np.float64]:
    cos_yaw, sin_yaw = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    cos_pitch, sin_pitch = np.cos(np.radians(pitch)), np.sin(np.radians(pitch))
    about_y = np.array([[cos_yaw, 0, sin_yaw], [0, 1, 0], [-sin_yaw, 0, cos_yaw]])
    about_x = np.array([[1, 0, 0], [0, cos_pitch, sin_pitch], [0, -sin_pitch, cos_pitch]])
    return about_y @ about_x


def _turned(
    points: NDArray[np.float32], rotation: NDArray[np.float64], pivot: NDArray[np.float64]
) -> NDArray[np.float32]:
    turn = rotation.astype(np.float32)
    return points @ turn.T + (pivot - rotation @ pivot).astype(np.float32)


def _with_holes(mesh: Mesh, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """The faces that are left when those within `count` random discs on the front of the head are taken out."""
    middles = mesh.vertices[mesh.faces].mean(axis=1)
    front = middles[middles[:, 2] > middles[:, 2].mean()]
    kept = np.ones(len(middles), dtype=bool)
    for _ in range(count):
        centre, radius = front[rng.integers(len(front))], rng.uniform(*_HOLE_RADIUS)
        kept &= np.linalg.norm(middles - centre, axis=1) > radius
    return mesh.faces[kept]
