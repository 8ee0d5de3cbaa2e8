"""A night: encodes an archive of imagery with a bundle, and publishes the code table."""
