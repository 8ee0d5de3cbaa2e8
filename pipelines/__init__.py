"""The stages between the artifacts: train, encode, serve."""

__version__ = "0.1.0"
