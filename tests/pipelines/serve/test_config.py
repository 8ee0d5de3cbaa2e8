"""Whether a key is needed must be said."""

import hashlib

import pytest
from pydantic import ValidationError

from pipelines.serve.config import ServeConfig

HASH = hashlib.sha256(b"key").hexdigest()


def test_open_must_be_asked_for() -> None:
    with pytest.raises(ValidationError, match="key_hashes, or ask for open"):
        ServeConfig(table="t")
    assert ServeConfig(table="t", open=True).key_hashes == ()
    assert ServeConfig(table="t", key_hashes=(HASH.upper(),)).key_hashes == (HASH,)


def test_keys_come_as_hashes_and_not_beside_open() -> None:
    with pytest.raises(ValidationError, match="sha256"):
        ServeConfig(table="t", key_hashes=("the key itself",))
    with pytest.raises(ValidationError, match="one of them"):
        ServeConfig(table="t", open=True, key_hashes=(HASH,))
