"""Arrays and tensors in a file that is no pickle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
from numpy.typing import NDArray
from torch import Tensor


def save_arrays(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write named arrays as safetensors, which `safetensors.numpy.load_file` reads back.

    Where that fails, part of a file may be left: callers write to a temporary place.
    """
    # safetensors writes the memory of an array as it lies, so that of a transposed one would come back scrambled.
    with _usual_mode(path):
        safetensors.numpy.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as safetensors, as `save_arrays` does; `safetensors.torch.load_file` reads them back.

    `metadata` goes into the file's header.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with _usual_mode(path):
        safetensors.torch.save_file(contiguous, path, dict(metadata or {}))


@contextmanager
def _usual_mode(path: Path) -> Iterator[None]:
    """Leaves the file that the block writes to be read by whom the umask lets read.

    safetensors closes its files to everybody but their owner, and others work in the same home.
    """
    path.touch()
    mode = path.stat().st_mode
    yield
    path.chmod(mode)
