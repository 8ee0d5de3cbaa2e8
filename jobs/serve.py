"""`python -m jobs.serve`: answers queries over HTTP until it is stopped.

In a Serve config, as KubeRay deploys it, the application is `import_path: jobs.serve:build`.
"""

from typing import TYPE_CHECKING

from jobs.command import run_job
from jobs.config import load_config
from pipelines.serve.config import ServeConfig

if TYPE_CHECKING:
    from ray.serve import Application


def _run(config: ServeConfig) -> None:
    from pipelines.serve.start_checks import check_port, check_published

    check_port(config)
    check_published(config)
    from pipelines.serve.run import run_serve  # imported late: it needs Ray and torch

    run_serve(config)


def build(arguments: dict[str, str]) -> "Application":
    """Return the application. ``arguments``: the `args` of a Serve config, named as the command line's flags.

    Raises ConfigError for values that the command line would refuse. Host and port are the Serve config's.
    """
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
    config = load_config("serve", ServeConfig, flags)
    from pipelines.serve.deployments import build_app

    return build_app(config)


if __name__ == "__main__":
    raise SystemExit(run_job("serve", ServeConfig, _run, takes_long=True))
