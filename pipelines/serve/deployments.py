"""The Serve application: ingress, encoder, pictures, and as many shards as the table is divided into."""

from ray import serve
from ray.serve import Application
from ray.serve.config import BackpressureConfig
from ray.serve.schema import LoggingConfig

from pipelines.serve.app import Ingress
from pipelines.serve.config import ServeConfig
from pipelines.serve.pictures import Pictures
from pipelines.serve.query_encoder import Encoder
from pipelines.serve.shard import Shard
from pipelines.table.row_ranges import RowRange

_MAX_ONGOING = 64  # requests that a replica of a shard or of the encoder works on at the same time
_HEALTH_CHECK_SECONDS = 2.0  # period; a dead replica is replaced after about so long
LOGS = LoggingConfig(encoding="JSON")
_LOGS_WITHOUT_ACCESS = LoggingConfig(encoding="JSON", enable_access_log=False)  # the ingress logs requests


def build_app(config: ServeConfig) -> Application:
    """Return the application. If the table has one shard, it is a part of the ingress, which saves a call."""
    numbers = range(config.shards) if config.shards > 1 else ()
    shards = [_shard(config, number) for number in numbers]
    return _ingress(config, shards, _encoder(config), _pictures(config))


def _shard(config: ServeConfig, number: int) -> Application:
    deployment = serve.deployment(
        name=f"Shard{number}",
        num_replicas=config.shard_replicas,
        max_replicas_per_node=config.max_replicas_per_node,
        health_check_period_s=_HEALTH_CHECK_SECONDS,
        max_ongoing_requests=_MAX_ONGOING,
        max_queued_requests=config.max_requests,
        ray_actor_options={"num_cpus": config.shard_cpus},
        logging_config=_LOGS_WITHOUT_ACCESS,
    )
    return deployment(Shard).bind(config, RowRange(number, config.shards))


def _encoder(config: ServeConfig) -> Application:
    deployment = serve.deployment(
        num_replicas=config.encoder_replicas,
        max_replicas_per_node=config.max_replicas_per_node,
        health_check_period_s=_HEALTH_CHECK_SECONDS,
        max_ongoing_requests=_MAX_ONGOING,
        max_queued_requests=config.max_requests,
        ray_actor_options={"num_cpus": config.encoder_cpus, "num_gpus": config.encoder_gpus},
        logging_config=_LOGS_WITHOUT_ACCESS,
    )
    return deployment(Encoder).bind(config)


def _pictures(config: ServeConfig) -> Application:
    deployment = serve.deployment(
        num_replicas=config.picture_replicas,
        max_replicas_per_node=config.max_replicas_per_node,
        health_check_period_s=_HEALTH_CHECK_SECONDS,
        max_ongoing_requests=config.max_requests,
        max_queued_requests=config.max_requests,
        ray_actor_options={"num_cpus": 0},  # it mostly waits for the store
        logging_config=_LOGS_WITHOUT_ACCESS,
    )
    return deployment(Pictures).bind(config)


def _ingress(
    config: ServeConfig, shards: list[Application], encoder: Application, pictures: Application
) -> Application:
    # the ingress limits its requests itself, so that refusals have a body; Serve's own limits are higher
    deployment = serve.deployment(
        num_replicas=config.ingress_replicas if shards else config.shard_replicas,
        max_replicas_per_node=config.max_replicas_per_node,
        health_check_period_s=_HEALTH_CHECK_SECONDS,
        max_ongoing_requests=4 * config.max_requests,
        max_queued_requests=4 * config.max_requests,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        ray_actor_options={"num_cpus": 0 if shards else config.shard_cpus},
        logging_config=LOGS,
    )
    return deployment(serve.ingress()(Ingress)).bind(config, shards, encoder, pictures)
