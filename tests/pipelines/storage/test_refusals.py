"""A refusal of a real S3 server says which of name, endpoint, key and right is wrong."""

import json

import botocore.session
import pytest
from s3fs import S3FileSystem

from jobs.command import run_job
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY
from pipelines.errors import StorageError, StoreDownError
from pipelines.publish.config import PublishConfig
from pipelines.publish.run import run_publish
from pipelines.sources.manifest import stream_file
from pipelines.storage.ranges import FOR_CHIPS
from pipelines.storage.store import ABSENT, Store
from pipelines.table.code_table import CodeTable

CALLS = {
    "read": lambda store, uri: store.read(uri),
    "read with etag": lambda store, uri: store.read_with_etag(uri),
    "etag": lambda store, uri: store.etag(uri),
    "list": lambda store, uri: list(store.list(uri)),
    "require": lambda store, uri: store.require_bucket(uri),
    "open": lambda store, uri: store.open_version(uri, "", FOR_CHIPS),
    "write": lambda store, uri: store.write(uri, b""),
    "write if": lambda store, uri: store.write_if_match(uri, b"", ABSENT),
    "Delta reads": lambda store, uri: CodeTable(uri, store).open(),
    "Delta creates": lambda store, uri: CodeTable(uri, store).create(),
    "Arrow reads": lambda store, uri: list(stream_file(f"{uri}.parquet", store)),
}
WRONG = {
    "secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret key is wrong; .*SignatureDoesNotMatch"),
    "id": ({"AWS_ACCESS_KEY_ID": "wrong"}, "doesn't know the access key; .*InvalidAccessKeyId"),
    "none": (
        {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        "no keys were found; set AWS_ACCESS_KEY_ID",
    ),
}


@pytest.fixture
def keys(store, monkeypatch, tmp_path):
    """Set or unset keys; nothing else on this machine has any."""

    def change(changes):
        given = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY} | changes
        for name, value in given.items():
            monkeypatch.delenv(name, raising=False)
            if value:
                monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield change
    S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def public(store):
    """A bucket that everybody may read, and nobody without a key may write."""
    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=store.config.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    client.create_bucket(Bucket="public")
    policy = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": ["arn:aws:s3:::public/*", "arn:aws:s3:::public"],
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    client.put_bucket_policy(Bucket="public", Policy=text)
    return "s3://public"


# without keys Delta would ask the network for them; jobs ask in another way first
PAIRS = [
    (wrong, call) for wrong in WRONG for call in CALLS if wrong != "none" or not call.startswith("Delta")
]


@pytest.mark.parametrize(("wrong", "call"), PAIRS)
def test_a_wrong_key_is_named(store, keys, wrong, call):
    changes, message = WRONG[wrong]
    keys(changes)
    with pytest.raises(StorageError, match=message) as caught:
        CALLS[call](Store(store.config), "s3://archive/keys/x")
    assert not isinstance(caught.value, StoreDownError)
    assert "<" not in str(caught.value)
    assert "\n" not in str(caught.value)


# HEAD's 404 doesn't say what is missing
@pytest.mark.parametrize("call", sorted(set(CALLS) - {"etag", "Arrow reads"}))
def test_a_missing_bucket_is_named(store, call):
    with pytest.raises(StorageError, match="no such bucket"):
        CALLS[call](Store(store.config), "s3://no-such-bucket/x")


@pytest.mark.parametrize("call", ["write", "write if", "Delta creates"])
def test_a_store_that_is_only_read_names_the_right_that_is_missing(store, public, keys, call):
    keys({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
    reader = Store(StoreConfig(endpoint=store.config.endpoint, anonymous=True))
    assert list(reader.list(f"{public}/x")) == []
    with pytest.raises(
        StorageError, match=r"the key must be allowed s3:PutObject \(AccessDenied\)"
    ) as caught:
        CALLS[call](reader, f"{public}/x")
    assert not isinstance(caught.value, StoreDownError)


def test_a_commit_that_may_not_be_written_is_no_conflict(store, public, keys):
    table = CodeTable(f"{public}/codes", Store(store.config))
    table.create()
    keys({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None})
    reader = CodeTable(table.uri, Store(StoreConfig(endpoint=store.config.endpoint, anonymous=True)))
    with pytest.raises(StorageError, match="s3:PutObject"):
        reader.commit_unit([], "model@0123456789ab", 1, {})


def test_an_endpoint_that_is_not_there_is_named(store):
    nowhere = Store(StoreConfig(endpoint="http://127.0.0.1:1", patience=0))
    with pytest.raises(StoreDownError, match=r"127\.0\.0\.1:1.*check --store\.endpoint; run again once"):
        nowhere.require_bucket("s3://archive/x")


def test_a_history_with_a_wrong_key_is_one_line(store, keys, capsys):
    keys(WRONG["secret"][0])
    endpoint = str(store.config.endpoint)
    arguments = ["--table=s3://archive/codes", "--history", f"--store.endpoint={endpoint}"]
    assert run_job("publish", PublishConfig, run_publish, arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "jobs.publish: s3://archive/codes can't be reached: the secret key is wrong; "
        "check AWS_SECRET_ACCESS_KEY or the profile (SignatureDoesNotMatch)"
    )
