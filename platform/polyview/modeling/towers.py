"""Image and text towers: any open_clip model by name, and polyview's own small ones (`configs/*.json`)."""

from __future__ import annotations

import difflib
import json
import logging
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from polyview.errors import UserError
from polyview.recipe import Modeling
from polyview.recipe.experiment import weights_digest
from polyview.recipe.weights import CONFIG, HUB, IN_FOLDERS, OWN, own_towers, weights_file, why_no_start

_WITHOUT_PATCHES = (
    "model.patch_dropout: {} has no patches to drop, only vision transformers have; set model.patch_dropout: null"
)
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@cache
def load_open_clip() -> Any:
    """The module open_clip, which knows polyview's own towers beside its own.

    Its import takes seconds, and a trial without a tower need not wait for it.
    """
    _declare_missing_torchvision_operators()
    import open_clip

    open_clip.add_model_config(Path(__file__).parent / "configs")
    return open_clip


@cache
def _declare_missing_torchvision_operators() -> torch.library.Library | None:
    # torchvision's compiled operators do not load beside a CPU build of torch, and its import then fails on
    # two schemas that nothing here calls. Declaring them lets its pure-Python transforms work. The cache keeps the
    # library, as the declarations live no longer than it does.
    try:
        torch.ops.torchvision.nms  # noqa: B018
    except (AttributeError, RuntimeError):
        pass
    else:
        return None
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


def torchvision_fits() -> bool:
    """Whether torchvision is a build for this torch, as open_clip needs it where polyview does not help."""
    return _declare_missing_torchvision_operators() is None


def build_towers(modeling: Modeling, image_size: int) -> Any:
    """An open_clip model whose image tower takes `image_size` square pictures; weights from the global torch seed.

    Raises `UserError` if the name is unknown, the weights cannot be had or are others now, or its patches cannot be
    dropped.
    """
    check_tower(modeling)
    file, of_hub = weights_file(modeling.tower, modeling.pretrained), modeling.tower.startswith(HUB)
    known = modeling.pretrained_content
    if file and known and known[1] != weights_digest(file):
        raise UserError(
            f"model.pretrained: {modeling.pretrained} holds other weights than when the recipe was read, whose content "
            f"is {known[1]}; put these back, or read the recipe anew"
        )
    try:
        with _without_warnings():
            towers = load_open_clip().create_model(
                modeling.tower,
                pretrained=None if of_hub else str(file) if file else modeling.pretrained,
                load_weights=not (of_hub and file),
                force_image_size=image_size,
                force_patch_dropout=modeling.patch_dropout,
                force_preprocess_cfg=_preprocessing(modeling),
                pretrained_text=False,
            )
            if of_hub and file:
                load_open_clip().load_checkpoint(towers, str(file))
    except Exception as error:  # a file of weights that is none leads its readers to raise all sorts
        reason = " ".join(str(error).split())[:300]
        if file and isinstance(error, pickle.UnpicklingError | LookupError | EOFError):  # they quote bytes or code
            reason = f"{file.name} is no file of weights"
        if modeling.patch_dropout and "patch_drop_rate" in reason:  # of timm's towers, only transformers take that
            raise UserError(_WITHOUT_PATCHES.format(modeling.tower)) from error
        remedy = f"; give weights of {modeling.tower}, as open_clip or polyview export writes them" if file else ""
        raise UserError(
            f"model.tower {modeling.tower!r}, model.pretrained {modeling.pretrained!r}: {reason}{remedy}"
        ) from error
    if file and not all(bool(weight.isfinite().all()) for weight in towers.parameters()):
        raise UserError(f"model.pretrained: {modeling.pretrained} has weights that are no finite numbers; use others")
    if modeling.patch_dropout and not _drops_patches(towers.visual):
        raise UserError(_WITHOUT_PATCHES.format(modeling.tower))
    return towers


@cache
def check_weights(modeling: Modeling, image_size: int) -> None:
    """Raises `UserError` if weights of a file do not fit the tower; of many trials alike, it is read once."""
    build_towers(modeling, image_size)


def rebuild_towers(description: str, modeling: Modeling, image_size: int) -> Any:
    """The towers that `describe_towers` has described, with weights from the global torch seed.

    What they were pretrained from need not be there any more.
    """
    with _without_warnings(), tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIG).write_text(description)
        return load_open_clip().create_model(
            f"local-dir:{folder}",
            load_weights=False,
            force_image_size=image_size,
            force_patch_dropout=modeling.patch_dropout,
            pretrained_text=False,
        )


def load_folder(folder: Path, image_size: int) -> Any:
    """The towers in a folder of open_clip's own layout, with their weights; raises whatever open_clip does."""
    with _without_warnings():
        return load_open_clip().create_model(f"local-dir:{folder}", force_image_size=image_size, pretrained_text=False)


def describe_towers(towers: Any, modeling: Modeling, image_size: int) -> str:
    """What open_clip needs to know of the towers besides their weights, as the text of a file called `CONFIG`."""
    config = {
        "model_cfg": tower_config(modeling.tower, image_size),
        "preprocess_cfg": {name: towers.visual.preprocess_cfg[name] for name in PREPROCESSING},
    }
    return json.dumps(config, indent=2) + "\n"


def _preprocessing(modeling: Modeling) -> dict[str, Any]:
    """How pictures are normalised for weights that come as a file, where open_clip itself does not know it.

    An open_clip config beside the file says it; else all weights that open_clip has for such a tower, if they agree.
    """
    file = weights_file(modeling.tower, modeling.pretrained)
    if file is None:
        return {}
    beside = file.with_name(CONFIG)
    if beside.is_file():
        said: dict[str, Any] = json.loads(beside.read_text()).get("preprocess_cfg", {})
        return said
    open_clip = load_open_clip()
    tags = open_clip.list_pretrained_tags_by_model(modeling.tower)
    known = [open_clip.get_pretrained_cfg(modeling.tower, tag) for tag in tags]
    ways = [{name: one[name] for name in ("mean", "std")} for one in known]
    return ways[0] if ways and all(way == ways[0] for way in ways) else {}


def _drops_patches(visual: Any) -> bool:
    """Whether an image tower drops patches: open_clip's transformers do it in one place, timm's in another."""
    trunk = getattr(visual, "trunk", None)
    return hasattr(visual, "patch_dropout") or isinstance(getattr(trunk, "patch_drop", None), torch.nn.Module)


def check_tower(modeling: Modeling) -> None:
    """Raises `UserError` if there is no model of this name, or no such weights for it; nothing is loaded."""
    tower, pretrained = modeling.tower, modeling.pretrained
    if reason := why_no_start(tower, pretrained):
        raise UserError(reason)
    if tower.startswith(HUB):
        return
    open_clip = load_open_clip()
    names = open_clip.list_models()
    if tower not in names:
        close = difflib.get_close_matches(tower, names, n=3, cutoff=0.3)
        raise UserError(f"model.tower: open_clip has no model {tower!r}; nearest: {', '.join(close)}")
    if not pretrained or weights_file(tower, pretrained):
        return
    if pretrained == OWN:
        raise UserError(f"model.pretrained: polyview has weights of {', '.join(own_towers())}, and none of {tower}")
    weights = open_clip.get_pretrained_cfg(tower, pretrained)
    if not weights:
        own = [OWN] if weights_file(tower, OWN) else []
        names = [*own, *open_clip.list_pretrained_tags_by_model(tower)]
        close = difflib.get_close_matches(pretrained.lower(), names, n=1)
        what = f"a folder without {IN_FOLDERS}" if Path(pretrained).is_dir() else "no file"
        raise UserError(
            f"model.pretrained: {pretrained!r} is {what}, and none of the weights known for {tower}: "
            f"{', '.join(names) or 'none'}" + (f"; nearest: {close[0]}" if close else "")
        )
    if weights.get("quick_gelu") and not open_clip.get_model_config(tower).get("quick_gelu"):
        # open_clip only warns, and computes something else than what was pretrained.
        raise UserError(
            f"model.pretrained: {pretrained} was trained with QuickGELU, which {tower} does not compute; "
            f"set model.tower: {tower}-quickgelu"
        )


def tokenize(tower: str, prompts: tuple[str, ...]) -> torch.Tensor:
    """Prompts as the tower's tokens, (K, context) int64; raises `UserError` if one does not fit its context."""
    tokenizer = _tokenizer(tower)
    tokens: torch.Tensor = tokenizer(list(prompts))
    longer = tokenizer(list(prompts), context_length=tokens.shape[1] + 1)
    for prompt, kept, more in zip(prompts, tokens, longer, strict=True):
        if int((more != 0).sum()) > int((kept != 0).sum()):
            raise UserError(f"prompt {prompt!r} is longer than the {tokens.shape[1]} tokens that {tower} reads")
    return tokens


def tower_config(tower: str, image_size: int) -> dict[str, Any]:
    """What open_clip calls the model's config: all that it needs to build `tower` for pictures of `image_size`."""
    config: dict[str, Any] = load_open_clip().get_model_config(tower)
    config["vision_cfg"]["image_size"] = image_size
    return config


def save_tokenizer(tower: str, folder: Path) -> None:
    """Write a tower's tokenizer to `folder`, unless it is CLIP's, which open_clip brings along."""
    tokenizer = _tokenizer(tower)
    if not isinstance(tokenizer, load_open_clip().SimpleTokenizer):
        tokenizer.save_pretrained(folder)


@cache
def _tokenizer(tower: str) -> Any:
    # Its vocabulary takes longer to read than a study's prompts to tokenize.
    return load_open_clip().get_tokenizer(tower)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps open_clip from warning that a tower which is about to be trained starts from random weights."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
