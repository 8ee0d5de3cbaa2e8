"""Objects at URIs: S3, files of this machine, web servers."""
