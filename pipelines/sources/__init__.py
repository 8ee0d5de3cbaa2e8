"""What an archive holds: a prefix, a manifest, an S3 Inventory or a STAC catalog, listed to disk."""
