"""What recipes of the first revision meant where they do not say it: results of earlier versions stay what they are."""

from __future__ import annotations

from typing import Any

_FIRST_DEFAULTS: dict[str, dict[str, Any]] = {
    "decorrelation": {"off_diagonal": 0.0051},
    "redundancy": {"weight": 0.05, "form": "off_diagonal"},
}


def as_stored(content: dict[str, Any]) -> dict[str, Any]:
    """A recipe's content as a version wrote it beside its results: where it names no revision, it is of the first.

    Generated faces could have a folder once, which nothing read.
    """
    corpus = content.get("corpus")
    if isinstance(corpus, dict) and corpus.get("dataset", "synthetic") == "synthetic":
        content = content | {"corpus": corpus | {"root": None, "table": None}}
    return with_defaults_of_its_revision({"revision": 1} | content)


def with_defaults_of_its_revision(content: dict[str, Any]) -> dict[str, Any]:
    """A recipe's content with what its revision takes a term to be where the term does not say it."""
    objective = content.get("objective")
    if content.get("revision") != 1 or not isinstance(objective, dict):
        return content
    filled = {
        name: _FIRST_DEFAULTS.get(name, {}) | term if isinstance(term, dict) else term
        for name, term in objective.items()
    }
    return content | {"objective": filled}
