"""Rasters to chips: pixels, grids and places on Earth. No store is asked here."""
