from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polyview.errors import UserError
from polyview.evaluation.embed import embed
from polyview.modeling.towers import build_towers
from polyview.recipe import Modeling
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.precision import SMALLEST_IN_BF16, choose_precision, computes_bf16, emulation, float32_products

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")
PLAIN = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
ASK = "import torch; from polyview.training.precision import choose_precision, emulation; "
ASK += "print(choose_precision('auto', torch.device('cpu'))); print(emulation())"


def test_auto_is_fp32_on_a_processor_that_has_avx2_alone() -> None:
    said = subprocess.run(
        [sys.executable, "-c", ASK], env=os.environ | PLAIN, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said[0] == "fp32"
    assert said[1].startswith("training.precision: this processor emulates bf16, ")
    assert said[1].endswith(" times slower than fp32; auto takes what it computes natively")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the processor's flags are read from Linux")
def test_auto_is_bf16_only_where_the_processor_has_instructions_for_it() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    if not flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        assert choose_precision("auto", CPU) == "fp32"
    elif not PLAIN.keys() & os.environ.keys():
        assert choose_precision("auto", CPU) == "bf16"
        assert emulation() is None


def test_what_is_asked_for_by_name_is_taken() -> None:
    assert [choose_precision(asked, CPU) for asked in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]


def test_bf16_is_not_taken_for_pictures_whose_gradients_it_garbles_on_a_cpu() -> None:
    assert choose_precision("auto", CPU, SMALLEST_IN_BF16 - 1) == "fp32"
    with pytest.raises(UserError, match=r"bf16 has wrong gradients .* rendering\.size is 16; set .* fp32"):
        choose_precision("bf16", CPU, 16)


def test_the_smallest_pictures_that_bf16_is_taken_for_have_the_gradients_of_fp32() -> None:
    torch.manual_seed(0)
    tower = build_towers(Modeling(), SMALLEST_IN_BF16).visual.train()
    pictures = torch.rand(24, 3, SMALLEST_IN_BF16, SMALLEST_IN_BF16)
    pull = torch.randn(24, 128)

    def gradient(dtype: torch.dtype) -> Tensor:
        tower.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            embeddings = tower(pictures)
        (embeddings.float() * pull).sum().backward()
        return torch.cat([parameter.grad.flatten() for parameter in tower.parameters()])

    assert torch.cosine_similarity(gradient(torch.float32), gradient(torch.bfloat16), dim=0) > 0.95


def test_each_epoch_says_what_it_was_trained_in(make_job: MakeJob) -> None:
    native = "bf16" if computes_bf16(CPU) else "fp32"
    for asked, used in (("fp32", "fp32"), ("auto", native)):
        (first, *_) = Trainer(make_job(asked, training__precision=asked, training__epochs=1), CPU).epochs()
        assert first.precision == used


@pytest.mark.parametrize(("asked", "rounded"), [("tf32", "tf32"), ("fp32", "ieee")])
def test_a_gpu_rounds_the_products_of_training_where_tf32_is_asked_for_and_those_of_evaluation_never(
    make_job: MakeJob, asked: str, rounded: str
) -> None:
    trainer = Trainer(make_job(training__precision=asked), CPU)
    forward, backward = [], []

    def note(_module: nn.Module, _pictures: Any, embeddings: Tensor) -> None:
        forward.append(products())
        if embeddings.requires_grad:
            embeddings.register_hook(lambda _gradient: backward.append(products()))

    trainer.model.towers.visual.register_forward_hook(note)
    before = products()
    for step in trainer.prepared(0, 1):
        trainer.train_step(step)
    assert {*forward} == {*backward} == {(rounded, rounded)}
    assert products() == before
    forward.clear()
    embed(trainer.model, trainer.batches.store, trainer.batches.rows, trainer.batches.cameras, CPU)
    assert {*forward} == {("ieee", "ieee")}


def test_a_gpu_never_rounds_the_products_that_pseudo_labels_are_found_by(make_job: MakeJob) -> None:
    objective = {"contrast": {}, "alignment": {}}
    trainer = Trainer(make_job(objective=objective, language__prompts="pseudo", training__precision="tf32"), CPU)
    pictures, texts = [], []
    trainer.model.towers.visual.register_forward_hook(lambda *_: pictures.append(products()))
    trainer.model.towers.transformer.register_forward_hook(lambda *_: texts.append(products()))
    with float32_products("tf32"):
        trainer.assign(0)
    assert {*pictures} == {*texts} == {("ieee", "ieee")}


def products() -> tuple[str, str]:
    """What a GPU would make of float32 products now: of matrices and of convolutions."""
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


@pytest.mark.slow
def test_a_compiled_model_trains_as_the_model_does_and_its_checkpoint_says_nothing_of_it(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Traced whole, forward and backward, but not made into C++, which takes minutes and a compiler.
    traced = functools.partialmethod(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(nn.Module, "compile", traced)
    losses, names = [], []
    for compiled in (False, True):
        trainer = Trainer(make_job(f"compiled-{compiled}", training__compile=compiled), CPU)
        steps = [trainer.train_step(step) for step in trainer.prepared(0, 3)]
        losses.append([float(step["loss"]) for step in steps])
        names.append([*trainer.model.state_dict()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert names[1] == names[0]
