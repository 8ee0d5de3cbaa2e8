"""Labelled scenes to a bundle."""
