"""What is guessed of the films among some faces, in parallel: before their frames are drawn, each by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from polyview.corpus.films import LOOKED_AT
from polyview.corpus.load import guess_film
from polyview.corpus.manifest import SEQUENCE, Manifest, guessed_films
from polyview.errors import UserError
from polyview.parallel import in_parallel
from polyview.recipe import Geometry
from polyview.rendering.sequences import evenly
from polyview.storage.mirror import fetch_once, resolve


@dataclass(frozen=True)
class FilmGuesser:
    """What a worker needs to know, beside a film's frames, to guess of it: `faces` is their manifest's fingerprint."""

    root: str
    geometry: Geometry
    faces: str

    def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        """The film's guess as JSON; what a user can fix comes back as `error`."""
        try:
            fetch_once(resolve(self.root), self.faces)
            guess = guess_film(json.loads(job["looked_at"]), self.root, self.geometry)
        except (UserError, OSError) as error:
            return {"error": f"{job['film']}: {error}"}
        return {"film": job["film"], "guess": guess.model_dump_json(), "error": ""}


def film_guesses(manifest: Manifest, sample_ids: Iterable[str]) -> dict[str, str]:
    """What is guessed of the films that have any of `sample_ids`: the film's guess, as JSON, by its frames' sample_id.

    Ray is started only where there are such films.
    """
    guessed = guessed_films(manifest.frame, manifest.root, manifest.geometry)
    asked = guessed.filter(pl.col("sample_id").is_in(list(sample_ids)).any().over(SEQUENCE))
    films = asked.sort("frame", "sample_id").partition_by(SEQUENCE, maintain_order=True)
    frames_of = {film["sample_id"][0]: film for film in films}
    jobs = [{"film": name, "looked_at": json.dumps(_looked_at(film))} for name, film in frames_of.items()]
    if not jobs:
        return {}
    guesser = FilmGuesser(manifest.root, manifest.geometry, manifest.fingerprint)
    return {
        sample_id: row["guess"]
        for row in in_parallel(guesser, jobs, num_cpus=1)
        for sample_id in frames_of[row["film"]]["sample_id"]
    }


def _looked_at(film: pl.DataFrame) -> list[tuple[str, float | None]]:
    """The paths and units of some frames, spread evenly over the film."""
    unit = pl.col("unit") if "unit" in film.columns else pl.lit(None, dtype=pl.Float64).alias("unit")
    return film.select("path", unit)[sorted(set(evenly(len(film), LOOKED_AT)))].rows()
