"""bfloat16 on hardware that has instructions for it, float32 elsewhere."""

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for it: CUDA from Ampere on, CPUs with AMX or AVX512-BF16.

    torch computes in bfloat16 on other devices too, but slower than in float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    if not hasattr(torch.cpu, "get_capabilities"):
        return False  # an older torch
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def autocast(device: torch.device, *, enabled: bool = True) -> torch.autocast:
    """Return the context for forward passes on a device; it changes nothing without such instructions."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and multiplies_bfloat16(device))
