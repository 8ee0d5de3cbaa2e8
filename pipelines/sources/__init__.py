"""The objects of an archive: a prefix, manifest, S3 Inventory, STAC catalog or STAC API, listed to disk."""
