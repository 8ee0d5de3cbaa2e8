"""An archive of imagery and a bundle to a published code table."""
