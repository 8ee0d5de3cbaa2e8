"""Bundles for the runbook's sandbox."""

from tests.pipelines.conftest import write_model

__all__ = ["write_model"]
