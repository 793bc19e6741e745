"""Keys of a recipe that nothing reads, as others of its keys have it."""

from __future__ import annotations

from polyview.recipe.corpus import GENERATED
from polyview.recipe.experiment import Experiment


def why_unread(experiment: Experiment, key: str) -> str:
    """Why nothing reads a dotted key of this recipe; empty where something does, or may."""
    reasons = (reason for name, reason in _unread(experiment).items() if f"{key}.".startswith(f"{name}."))
    return next(reasons, "")


def _unread(experiment: Experiment) -> dict[str, str]:
    """The keys and sections that nothing reads, each with why."""
    corpus, language, evaluation = experiment.corpus, experiment.language, experiment.evaluation
    rendering = experiment.rendering
    found: dict[str, str] = {}
    if corpus.dataset not in GENERATED:
        found["corpus.generator"] = f"corpus.dataset is {corpus.dataset}"
    elif corpus.generator.frames == 1:
        found |= dict.fromkeys(("corpus.frames", "corpus.every"), "corpus.generator.frames is 1")
    if "shaded" not in (rendering.shading, *rendering.outputs):
        found |= dict.fromkeys(("rendering.light", "rendering.albedo"), f"rendering.shading is {rendering.shading}")
    if rendering.views.count == 1:
        found["rendering.views.span"] = "rendering.views.count is 1"
    if corpus.dataset != "folder":
        found["corpus.table"] = f"corpus.dataset is {corpus.dataset}"
    if rendering.framing == "whole":
        found["rendering.radius"] = "rendering.framing is whole"
    if experiment.model.temporal != "attention":
        found["model.frames"] = f"model.temporal is {experiment.model.temporal}"
    if language.prompts == "none":
        found |= dict.fromkeys(("language.ensemble", "language.attributes", "language.own"), "language.prompts is none")
    if language.labelled == 1:
        found["language.unlabelled"] = "language.labelled is 1"
    if not language.assigns:
        found["language.pseudo"] = "no sample is given a pseudo-label"
    if language.pseudo.assign != "sinkhorn":
        found["language.pseudo.sharpness"] = f"language.pseudo.assign is {language.pseudo.assign}"
    if evaluation.protocol != "holdout":
        found["evaluation.share"] = f"evaluation.protocol is {evaluation.protocol}"
    if evaluation.repeats == 1:
        found["evaluation.folds"] = f"evaluation.protocol is {evaluation.protocol}"
    if evaluation.validation:
        found["evaluation.centred"] = "evaluation.validation has faces of the corpus that is trained on scored"
    return found
