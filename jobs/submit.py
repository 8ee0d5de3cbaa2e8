"""Start a night on Kubernetes and wait for it: `python -m jobs.submit --template nightly`."""

from jobs.command import run_job
from pipelines.submit.config import SubmitConfig
from pipelines.submit.run import run_submit

if __name__ == "__main__":
    raise SystemExit(run_job("submit", SubmitConfig, run_submit))
