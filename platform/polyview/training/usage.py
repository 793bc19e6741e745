"""What a worker takes of its machine while it trains, by names that MLflow shows among a run's system metrics."""

from __future__ import annotations

import psutil
import torch

MEGABYTE = 1e6


class Usage:
    """The use of this process, from one `read` to the next."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.process = device, psutil.Process()
        self.process.cpu_percent()

    def read(self) -> dict[str, float]:
        """CPU in percent of one core, memory in megabytes; of a GPU, the most that tensors took."""
        found = {
            "system/process_cpu_utilization_percentage": self.process.cpu_percent(),
            "system/process_memory_usage_megabytes": self.process.memory_info().rss / MEGABYTE,
        }
        if self.device.type == "cuda":
            found["system/gpu_0_memory_usage_megabytes"] = torch.cuda.max_memory_allocated(self.device) / MEGABYTE
            torch.cuda.reset_peak_memory_stats(self.device)
        return found
