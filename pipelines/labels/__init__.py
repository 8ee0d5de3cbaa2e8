"""Labelled scenes to chips, pixels and features."""
