"""Ranges of S3 objects read by obstore, at a tenth of the processor time that s3fs takes for a request.

Whatever obstore can't read is left to s3fs (`s3.py`), which knows the reasons of failures; so it is asked
again there, and repeated while a store is down.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import botocore.session
import obstore
from obstore.store import S3Store

from pipelines.config import StoreConfig
from pipelines.storage.ranges import Piece, Range

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, S3Config, S3Credential

_PLAIN_KEY = re.compile(r"(?!/)(?!.*//)(?!.*(^|/)\.{1,2}(/|$)).*[^/]", re.DOTALL)
"""Keys that obstore takes as they are; it leaves slashes out of others, or refuses them."""
_LIMITS: "ClientConfig" = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "1h"}
_CREDENTIALS_LAST = timedelta(minutes=5)  # botocore renews its own 10 minutes before they end, or earlier


class S3Reads:
    """Reads objects of S3. Any number of threads may read at once; they don't hold the GIL."""

    def __init__(self, config: StoreConfig) -> None:
        """``config`` says where the store is, and by which rights it is read."""
        self._config = config
        self._buckets: dict[str, S3Store] = {}

    def read(self, path: str, wanted: Range, etag: str | None) -> Piece | None:
        """Return a range of an object with one request; None if that failed, whatever the reason.

        ``path`` is bucket/key. ``etag``: the version that the range must be of.
        """
        bucket, _, key = path.partition("/")
        if not _PLAIN_KEY.fullmatch(key):
            return None
        options: GetOptions = {"range": wanted}
        if etag is not None:
            options["if_match"] = f'"{etag}"'
        try:
            answer = obstore.get(self._bucket(bucket), key, options=options)
            found = answer.meta["e_tag"]
            content = answer.bytes().to_bytes()
        except Exception:  # noqa: BLE001 - s3fs will meet it too, and say what it means
            return None
        return Piece(wanted[0], content, found.strip('"'), answer.meta["size"]) if found else None

    def _bucket(self, name: str) -> S3Store:
        if name not in self._buckets:
            self._buckets[name] = S3Store(
                name,
                config=self._options,
                client_options={**_LIMITS, "allow_http": self._allow_http},
                retry_config={"max_retries": 0},
                credential_provider=None if self._config.anonymous else self._credentials,
            )
        return self._buckets[name]

    @property
    def _allow_http(self) -> bool:
        return (self._config.endpoint or "").startswith("http://")

    @cached_property
    def _options(self) -> "S3Config":
        options: S3Config = {"region": self._config.region}
        if self._config.endpoint:
            options["endpoint"] = self._config.endpoint
        if self._config.anonymous:
            options["skip_signature"] = True
        if self._config.requester_pays:
            options["request_payer"] = True
        return options

    @cached_property
    def _session(self) -> botocore.session.Session:
        return botocore.session.get_session()

    def _credentials(self) -> "S3Credential":
        """Return the credentials that s3fs would find too, in the environment, in files or on the network."""
        found = self._session.get_credentials()
        if found is None:
            raise ValueError("no credentials")  # obstore turns it into an error of its own
        keys = found.get_frozen_credentials()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LAST,
        }
