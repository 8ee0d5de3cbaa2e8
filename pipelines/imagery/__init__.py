"""Rasters to chips: pixels, grids and places on Earth. Nothing here reads from a store."""
