"""The hashing network: torch, numpy and safetensors only."""
