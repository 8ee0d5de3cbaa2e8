"""What the query service is told. Light on purpose: `--help` reads this module."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from pipelines.config import StageConfig, StoreConfig


class ServeConfig(StageConfig):
    """Serve a published code table over HTTP, and follow what is published next."""

    table: str
    """URI of the code table, the one that jobs.nightly publishes"""
    store: StoreConfig = StoreConfig()
    """How to reach the object stores of table, bundle and imagery"""
    index_folder: Path = Path("~/.cache/scenehash")
    """Local folder where built indices are kept, so that a restart is quick"""
    search_threads: int = Field(default=1, ge=1)
    """Threads that share one query's scan"""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0: all of the machine's"""
    port: int = Field(default=8000, ge=1, le=65535)
    """TCP port to listen on [1..65535]"""
    open: bool = False
    """Answer without an API key"""
    key_hashes: tuple[str, ...] = ()
    """Accepted API keys, each as the sha256 of the key [64 hex digits]: printf %s KEY | sha256sum"""
    poll_seconds: float = Field(default=10.0, gt=0)
    """How often to look for a newly published version [seconds]"""
    max_upload_mb: float = Field(default=16.0, gt=0)
    """Largest request body [MB of 10^6 bytes]"""
    max_image_pixels: int = Field(default=4_194_304, ge=1)
    """Largest uploaded image, width x height [pixels]"""
    encode_batch: int = Field(default=8, ge=1)
    """Most uploaded images that go through the network together [images]"""
    encode_wait_ms: float = Field(default=5.0, ge=0)
    """How long an uploaded image waits for others to join its batch [milliseconds]"""

    @field_validator("index_folder")
    @classmethod
    def _expand(cls, index_folder: Path) -> Path:
        return index_folder.expanduser().absolute()

    @field_validator("key_hashes")
    @classmethod
    def _are_sha256(cls, key_hashes: tuple[str, ...]) -> tuple[str, ...]:
        for key_hash in key_hashes:
            if not re.fullmatch("[0-9a-fA-F]{64}", key_hash):
                raise ValueError("each must be the sha256 of a key, 64 hex digits: printf %s KEY | sha256sum")
        return tuple(key_hash.lower() for key_hash in key_hashes)

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if not self.open and not self.key_hashes:
            raise ValueError("name the accepted API keys with key_hashes, or ask for open to need none")
        if self.open and self.key_hashes:
            raise ValueError("open needs no key, so key_hashes would guard nothing: give one of them only")
        return self
