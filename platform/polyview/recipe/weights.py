"""Where pretrained weights lie that are a file: the user's own, or those that polyview brings along."""

from __future__ import annotations

from pathlib import Path

OWN = "polyview"
"""What `model.pretrained` is for the weights that polyview brings along."""
OWN_SEED = 11
"""Of the generator, for the people whom those weights have seen."""
OWN_DRAWN = 4000
"""How many people were drawn for them, and split as their recipe has it: some were not trained on."""
FORMER = {"21577200de353bfe2728ef1b11f6390a": 3000}
"""The contents of the weights that earlier versions brought along, and how many people were drawn for them: studies and
bundles of then name them."""
IN_FOLDERS = "open_clip_model.safetensors"
"""What open_clip calls the file of weights in a folder."""
CONFIG = "open_clip_config.json"
"""What open_clip calls the file that describes the towers in a folder."""
HUB, LOCAL = "hf-hub:", "local-dir:"
"""What the address of a tower starts with that lies on Hugging Face's hub, or in a folder, its weights with it."""
_FOLDER = Path(__file__).parents[1] / "modeling" / "weights"


def weights_file(tower: str, pretrained: str | None) -> Path | None:
    """The file of the weights `pretrained` of a tower; None where it is none, or not there."""
    if not pretrained:
        return None
    place = _FOLDER / f"{tower}.safetensors" if pretrained == OWN else Path(pretrained)
    return next((file for file in (place, place / IN_FOLDERS) if file.is_file()), None)


def why_no_start(tower: str, pretrained: str | None) -> str:
    """Why it cannot be said what towers start from that are named so; empty where it can."""
    if tower.startswith(LOCAL):
        folder = tower.removeprefix(LOCAL)
        return (
            f"model.tower: {tower} would start from the weights in its folder, and no recipe would say so; give the "
            f"tower's name among open_clip's, and model.pretrained: {folder}"
        )
    if tower.startswith(HUB) and pretrained != tower and not weights_file(tower, pretrained):
        return (
            f"model.tower: {tower} comes with the weights that lie there; set model.pretrained: {tower}, or a file of "
            f"its weights, not {pretrained or 'null'}"
        )
    if pretrained and pretrained.startswith(HUB) and pretrained != tower:
        return f"model.pretrained: {pretrained} are the weights of the tower of that address; set model.tower to it too"
    return ""


def own_towers() -> list[str]:
    """The towers that polyview has weights of."""
    return sorted(file.stem for file in _FOLDER.glob("*.safetensors"))
