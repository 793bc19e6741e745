"""The terms that a recipe's loss may have, each with its settings; `objectives` has their formulas.

A setting that the papers leave open has its default explained where it stands.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from polyview.recipe.schema import Cosine, Model, PositiveFloat, Weight


class Decorrelation(Model):
    """Barlow Twins over view pairs."""

    weight: Weight = 1.0
    off_diagonal: Weight | None = Field(
        None,
        description="null: means over dimensions and pairs, so that the weight holds for any width and batch; a "
        "number: the published sums, with it (0.0051) before the squares off the diagonal",
    )
    augment: bool = Field(False, description="with one view, make the second by augmentation")


class Alignment(Model):
    """CLIP's loss between text and the fused and each single view."""

    weight: Weight = 1.0


class Redundancy(Model):
    """Cross-modal decorrelation of the fused and the text embeddings.

    off_diagonal and full, over all dimensions, punish what alignment asks for: see `objectives/redundancy.py`.
    """

    weight: Weight = 0.5
    form: Literal["text_directions", "off_diagonal", "full"] = "text_directions"


class Joint(Model):
    """MultiviewVLM's joint embedding: the views of a face gather around their mean."""

    weight: Weight = 1.0


class Contrast(Model):
    """MultiviewVLM's gradient-friendly pair loss over the views of a batch.

    The paper gives neither margin nor temperature; these are the best of those tried on generated faces. The border
    between alike and not is a cosine of `margin`, and beyond some 3 temperatures a pair pulls with full force or none.
    """

    weight: Weight = 1.0
    margin: Cosine = 0.2
    temperature: PositiveFloat = 0.1


class SimCLR(Model):
    """NT-Xent over the views of a batch."""

    weight: Weight = 1.0
    temperature: PositiveFloat = 0.1
    augment: bool = Field(False, description="with one view, make the second by augmentation")


class Supervised(Model):
    """Cross-entropy of a linear head on the fused embedding: reads every training label, an upper bound."""

    weight: Weight = 1.0


class Margin(Model):
    """AffectVLM's multiview contrastive loss over the pairs of `contrast`.

    The paper's margin is learnable, and learning it would raise it until the term is gone: here it is a setting.
    """

    weight: Weight = 1.0
    margin: Cosine = 0.5


class Triplet(Model):
    """AffectVLM's multiview triplet loss over the pairs of `contrast`, with the hardest of a batch."""

    weight: Weight = 1.0
    margin: PositiveFloat = Field(0.5, description="of the squared distances, which are from 0 to 4")


class Objective(Model):
    """The loss: a weighted sum of the terms that are not null."""

    decorrelation: Decorrelation | None = None
    alignment: Alignment | None = None
    redundancy: Redundancy | None = None
    joint: Joint | None = None
    contrast: Contrast | None = None
    simclr: SimCLR | None = None
    supervised: Supervised | None = None
    margin: Margin | None = None
    triplet: Triplet | None = None

    @model_validator(mode="after")
    def _has_a_term(self) -> Self:
        if not self.terms:
            raise ValueError(f"at least one of {', '.join(type(self).model_fields)} is needed")
        return self

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the terms that have a weight."""
        fields = ((name, getattr(self, name)) for name in type(self).model_fields)
        return tuple(name for name, term in fields if term and term.weight)

    @property
    def text_terms(self) -> tuple[str, ...]:
        """Those that read text."""
        return tuple(name for name in self.terms if name in ("alignment", "redundancy"))

    @property
    def trains_text(self) -> bool:
        """Whether the text tower gets a gradient: the redundancy along the text's directions takes them as given."""
        by_redundancy = self.redundancy and self.redundancy.form != "text_directions" and "redundancy" in self.terms
        return "alignment" in self.terms or bool(by_redundancy)

    @property
    def pair_terms(self) -> tuple[str, ...]:
        """Those that compare samples by their class or pseudo-label, where there is one."""
        return tuple(name for name in self.terms if name in ("contrast", "margin", "triplet"))

    @property
    def label_terms(self) -> tuple[str, ...]:
        """Those that have nothing to say of a sample that has neither label nor pseudo-label."""
        return tuple(name for name in self.terms if name in (*self.text_terms, "supervised"))

    @property
    def view_terms(self) -> tuple[str, ...]:
        """Those that compare the views of a face, and have nothing to say of one view."""
        return tuple(name for name in self.terms if name in ("decorrelation", "joint", "simclr"))

    @property
    def projected_terms(self) -> tuple[str, ...]:
        """Those that are computed on the projections."""
        return (*self.view_terms, *self.pair_terms)

    def without_text(self) -> Self:
        """What is left where there is no text yet."""
        return self.model_copy(update=dict.fromkeys(self.text_terms))

    @property
    def augmented_terms(self) -> tuple[str, ...]:
        """Those that double a single view by augmentation."""
        terms = {"decorrelation": self.decorrelation, "simclr": self.simclr}
        return tuple(name for name, term in terms.items() if name in self.terms and term and term.augment)
