import pytest
from structlog.testing import capture_logs

from pipelines.runtime.cluster import connected, warn_if_short


@pytest.mark.usefixtures("ray_local")
def test_a_job_that_would_wait_for_ever_says_so():
    with connected(), capture_logs() as logs:
        warn_if_short(4)
        assert logs == []
        warn_if_short(4.5)
    assert [(entry["log_level"], entry["has"], entry["needs"]) for entry in logs] == [("warning", 4, 4.5)]
