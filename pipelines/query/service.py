"""The service that the options of a command line name."""

from pipelines.client import Client
from pipelines.query.config import ServiceFlags


def connected(flags: ServiceFlags) -> Client:
    """Return a client of the service. Raises QueryError on a bad address or key."""
    return Client(flags.url, None if flags.key is None else flags.key.get_secret_value())
