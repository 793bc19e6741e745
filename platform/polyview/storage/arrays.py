"""Arrays in a file that is no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from polyview.storage.home import usual_mode


def save_arrays(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write named arrays as safetensors, which `safetensors.numpy.load_file` reads back."""
    # safetensors writes the memory of an array as it lies, so that of a transposed one would come back scrambled.
    with usual_mode(path):
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
