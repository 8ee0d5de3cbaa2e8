"""Where bfloat16 pays: on hardware that multiplies it."""

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Say whether the device has instructions for it: CUDA from Ampere on, CPUs with AMX or AVX512-BF16.

    Elsewhere torch computes it too, but slower than float32.
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
    """Return the context for forward passes on a device; where bfloat16 doesn't pay it changes nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and multiplies_bfloat16(device))
