"""Where pretrained weights lie that are a file: the user's own, or those that polyview brings along."""

from __future__ import annotations

from pathlib import Path

OWN = "polyview"
"""What `model.pretrained` is for the weights that polyview brings along."""
OWN_SEED = 11
"""Of the generator, for the people whom those weights have seen."""
OWN_PEOPLE = 4000
"""How many these are."""
FORMER = ("21577200de353bfe2728ef1b11f6390a",)
"""The contents of the weights that earlier versions brought along: studies and bundles of then name them."""
IN_FOLDERS = "open_clip_model.safetensors"
"""What open_clip calls the file of weights in a folder."""
HUB = "hf-hub:"
"""What the address of a tower starts with that lies on Hugging Face's hub: of its description, and of its weights."""
_FOLDER = Path(__file__).parents[1] / "modeling" / "weights"


def weights_file(tower: str, pretrained: str | None) -> Path | None:
    """The file of the weights `pretrained` of a tower; None where it is none, or not there."""
    if not pretrained:
        return None
    place = _FOLDER / f"{tower}.safetensors" if pretrained == OWN else Path(pretrained)
    return next((file for file in (place, place / IN_FOLDERS) if file.is_file()), None)


def own_towers() -> list[str]:
    """The towers that polyview has weights of."""
    return sorted(file.stem for file in _FOLDER.glob("*.safetensors"))
