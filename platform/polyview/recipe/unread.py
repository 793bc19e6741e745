"""Keys of a recipe that nothing reads, as others of its keys have it."""

from __future__ import annotations

from polyview.recipe.corpus import GENERATED, Corpus
from polyview.recipe.experiment import Experiment
from polyview.recipe.named import PROMPTS

OF_PROMPTS = ("language.ensemble", "language.attributes", "language.own", PROMPTS)


def why_unread(experiment: Experiment, key: str) -> str:
    """Why nothing reads a dotted key of this recipe; empty where something does, or may."""
    reasons = (reason for name, reason in _unread(experiment).items() if f"{key}.".startswith(f"{name}."))
    return next(reasons, "")


def _unread(experiment: Experiment) -> dict[str, str]:
    """The keys and sections that nothing reads, each with why."""
    language, evaluation, rendering = experiment.language, experiment.evaluation, experiment.rendering
    found = _unread_of_faces(experiment.corpus, "corpus")
    if evaluation.test:
        found |= _unread_of_faces(evaluation.test, "evaluation.test")
    if "shaded" not in (rendering.shading, *rendering.outputs):
        found |= dict.fromkeys(("rendering.light", "rendering.albedo"), f"rendering.shading is {rendering.shading}")
    if rendering.views.count == 1:
        found |= dict.fromkeys(("rendering.views.span", "model.fusion"), "rendering.views.count is 1")
    if not experiment.objective.projected_terms:
        found["model.projector"] = "no term of the objective reads projections"
    if rendering.framing == "whole":
        found["rendering.radius"] = "rendering.framing is whole"
    if experiment.model.temporal != "attention":
        found["model.frames"] = f"model.temporal is {experiment.model.temporal}"
    if language.prompts == "none":
        found |= dict.fromkeys(OF_PROMPTS, "language.prompts is none")
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


def _unread_of_faces(corpus: Corpus, place: str) -> dict[str, str]:
    """Those of the faces of a dataset, whose section of the recipe is `place`."""
    found = {}
    if corpus.dataset not in GENERATED:
        found[f"{place}.generator"] = f"{place}.dataset is {corpus.dataset}"
    elif corpus.generator.frames == 1:
        found |= dict.fromkeys((f"{place}.frames", f"{place}.every"), f"{place}.generator.frames is 1")
    if corpus.dataset != "folder":
        found |= dict.fromkeys((f"{place}.table", f"{place}.pattern"), f"{place}.dataset is {corpus.dataset}")
    return found
