"""Configuration of the query service. It imports little, because `--help` reads this module."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from pipelines.config import LocalPath, StageConfig, StoreConfig, Uri


class ServeConfig(StageConfig):
    """Serve a published code table over HTTP, and follow what is published next."""

    table: Uri
    """URI of the code table, the one that jobs.nightly publishes"""
    store: StoreConfig = StoreConfig()
    """How to reach the object stores of table, bundle and imagery"""
    index_folder: LocalPath = Field(default=Path("~/.cache/scenehash"), validate_default=True)
    """Local folder where built indices are kept, so that a restart is quick"""
    kept_snapshots: int = Field(default=3, ge=1)
    """How many of the last published versions can be asked for: all pages of an answer are of one version"""
    shards: int = Field(default=1, ge=1)
    """Parts that the table's rows are divided into, each a deployment; a single one is in the ingress"""
    shard_replicas: int = Field(default=1, ge=1)
    """Replicas of each shard"""
    shard_cpus: float = Field(default=0.5, ge=0)
    """Logical CPUs of each replica of a shard"""
    search_threads: int = Field(default=1, ge=1)
    """Threads that share one query's scan"""
    encoder_replicas: int = Field(default=1, ge=1)
    """Replicas that encode uploaded images"""
    encoder_cpus: float = Field(default=0.5, ge=0)
    """Logical CPUs of each replica of the encoder"""
    encoder_gpus: float = Field(default=0, ge=0)
    """GPUs of each replica of the encoder; 0: CPU"""
    ingress_replicas: int = Field(default=1, ge=1)
    """Replicas of the ingress, which speaks HTTP; a single shard's replicas do it themselves"""
    max_replicas_per_node: int = Field(default=100, ge=1, le=100)
    """Most replicas of one shard, of the encoder or of the ingress on one node; 1: no node has two of them"""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0: all of the machine's"""
    port: int = Field(default=8000, ge=1, le=65535)
    """TCP port to listen on [1..65535]"""
    page: bool = True
    """Show the page at /, which searches by eye; --no-page leaves it out"""
    base_map: Uri | None = None
    """A map of your own below the results: URI of a PMTiles archive, of pictures or of vector tiles"""
    open: bool = False
    """Answer without an API key"""
    key_hashes: tuple[str, ...] = ()
    """Keys that may search, each as the sha256 of the key [64 hex digits]: printf %s KEY | sha256sum"""
    admin_key_hashes: tuple[str, ...] = ()
    """Keys that may also see /v1/status, in the same form"""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may ask from a browser, such as https://maps.example.org, or *; empty: none"""
    watches: Uri | None = None
    """Show the watches that `jobs.watch` keeps here, and their hits: URI of a folder"""
    watch_hits: Uri | None = None
    """Where their hits are: the `--output` of `jobs.watch run`"""
    poll_seconds: float = Field(default=10.0, gt=0)
    """How often to look for a newly published version [seconds]"""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """Longest time that a request may take, including the arrival of its body [seconds]"""
    max_requests: int = Field(default=128, ge=1)
    """Requests that an ingress replica works on at the same time; more get 429, with Retry-After"""
    max_upload_mb: float = Field(default=16.0, gt=0)
    """Largest request body [MB of 10^6 bytes]"""
    max_image_pixels: int = Field(default=4_194_304, ge=1)
    """Largest uploaded image, width x height [pixels]"""
    picture_replicas: int = Field(default=1, ge=1)
    """Replicas that make pictures of chips"""
    picture_cache_mb: float = Field(default=1000.0, ge=0)
    """Disk space for pictures of chips, below index_folder; 0: none is kept [MB of 10^6 bytes]"""
    encode_batch: int = Field(default=8, ge=1)
    """Most uploaded images that go through the network together [images]"""
    encode_wait_ms: float = Field(default=5.0, ge=0)
    """How long an uploaded image waits for others to join its batch [milliseconds]"""

    @field_validator("key_hashes", "admin_key_hashes")
    @classmethod
    def _are_sha256(cls, key_hashes: tuple[str, ...]) -> tuple[str, ...]:
        for key_hash in key_hashes:
            if not re.fullmatch("[0-9a-fA-F]{64}", key_hash):
                raise ValueError("each must be the sha256 of a key, 64 hex digits: printf %s KEY | sha256sum")
        return tuple(key_hash.lower() for key_hash in key_hashes)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"https?://[a-z0-9.\[\]:-]+", origin):
                message = "each must be an origin in lower case, without a path: https://maps.example.org"
                raise ValueError(f"{message}; {origin!r} isn't one")
        return origins

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        keys = self.key_hashes + self.admin_key_hashes
        if not self.open and not keys:
            raise ValueError("name the accepted API keys with key_hashes, or ask for open to need none")
        if (self.watches is None) != (self.watch_hits is None):
            raise ValueError("watches and watch_hits go together: give both, or neither")
        if self.shards == 1 and self.ingress_replicas > 1:
            raise ValueError("a single shard's replicas speak HTTP themselves: set shard_replicas instead")
        if self.open and keys:
            raise ValueError("open needs no key, so key_hashes would guard nothing: give one of them only")
        return self
