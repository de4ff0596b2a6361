"""What is known of a GPU: its name and its memory."""

from collections.abc import Mapping

import torch


def name(device: torch.device) -> str:
    """Returns what the GPU calls itself."""
    return torch.cuda.get_device_name(device)


def memory(device: torch.device) -> Mapping[str, int]:
    """Returns bytes of its memory: allocated and reserved by this process, used by all, in total."""
    free, total = torch.cuda.mem_get_info(device)
    return {
        "allocated": torch.cuda.memory_allocated(device),
        "reserved": torch.cuda.memory_reserved(device),
        "used": total - free,
        "total": total,
    }
