"""One log a replica: Serve's, JSON lines that carry the id of the request."""

import logging


def gather_logs() -> None:
    """Let what libraries log and warn of in this replica stand in Serve's own log.

    Else it would go to standard error, where nothing says of which request it is.
    """
    logging.getLogger().handlers = logging.getLogger("ray.serve").handlers  # one list: Serve may change it
    logging.captureWarnings(capture=True)
