from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from polyview.training.loop import Trainer
from polyview.training.precision import choose_precision, computes_bf16, emulation

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


def test_each_epoch_says_what_it_was_trained_in(make_job) -> None:  # type: ignore[no-untyped-def]
    native = "bf16" if computes_bf16(CPU) else "fp32"
    for asked, used in (("fp32", "fp32"), ("auto", native)):
        (first, *_) = Trainer(make_job(asked, training__precision=asked, training__epochs=1), CPU).epochs()
        assert first.precision == used
