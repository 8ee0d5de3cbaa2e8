"""Names of objects: users, manifests and STAC items write them in many ways, listings in one."""

import os
import posixpath
import re
from collections.abc import Iterable
from urllib.parse import unquote

from pipelines.errors import ConfigError

_ELSEWHERE = ("s3://", "https://", "http://")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SAME_AS = {"s3a": "s3", "s3n": "s3"}  # Hadoop's names
_GDAL = re.compile(r"/vsi[a-z0-9_]+[/?]")  # GDAL's virtual file systems, /vsis3/bucket/key


def absolute(uri: str, folder: str = "") -> str:
    """Return a URI as listings write it; a relative one starts at ``folder``, or at the current folder.

    ``~`` is the home folder if no ``folder`` is given. ``S3://``, ``s3a://`` and ``/vsis3/`` become ``s3://``,
    ``/vsicurl/https://`` becomes ``https://``. Raises ConfigError if it can't be read: other schemes, other
    virtual file systems of GDAL, text that isn't UTF-8, relative names that leave the bucket or host.
    """
    if "\0" in uri or not _is_text(uri):
        raise ConfigError(f"{uri!r} isn't a name: it has a NUL, or isn't UTF-8; rename it")
    uri = _plain(uri)
    if uri.startswith(_ELSEWHERE):
        return uri
    if not folder:
        uri = os.path.expanduser(uri)  # noqa: PTH111 - Path raises where there is no such user
    if not folder or uri.startswith("/"):
        # not Path.absolute(), which keeps "..": an object must have one name
        return os.path.abspath(uri)  # noqa: PTH100
    scheme, mark, path = folder.rpartition("://")
    found = posixpath.normpath(f"{path}/{uri}")
    if mark and found.split("/")[0] != path.split("/")[0]:
        raise ConfigError(f"{uri} leads out of the bucket or host of {folder}; name it by s3:// or https://")
    return scheme + mark + found


def _is_text(uri: str) -> bool:
    try:
        uri.encode()
    except UnicodeEncodeError:  # half a surrogate pair, or a file's name in another encoding
        return False
    return True


def _plain(uri: str) -> str:
    """Return a URI with one of the schemes that are read here, or a path. Raises ConfigError on others."""
    if _GDAL.match(uri):
        inner = re.fullmatch(r"/vsi(?:s3/(.+)|curl/(https?://.+))", uri, re.DOTALL)
        if not inner:
            raise ConfigError(
                f"{uri} is a virtual file system of GDAL that isn't opened here; /vsis3/ and /vsicurl/ are"
            )
        return f"s3://{inner[1]}" if inner[1] else str(inner[2])
    scheme = _SCHEME.match(uri)
    if not scheme:
        return uri
    name = scheme[1].lower()
    name = _SAME_AS.get(name, name)
    rest = uri[scheme.end() :]
    if name == "file":
        return unquote(rest.removeprefix("localhost"))
    if f"{name}://" not in _ELSEWHERE:
        raise ConfigError(f"{uri}: {name}:// isn't read here; s3://, https://, http:// and files are")
    return f"{name}://{rest}"


def is_web(uri: str) -> bool:
    """Return whether a URI is a web address."""
    return uri.startswith(("https://", "http://"))


def check_named(source: str, uris: Iterable[str]) -> None:
    """Raise ConfigError if a source elsewhere names a file of this machine.

    Otherwise the author of a manifest or a STAC catalog elsewhere could make this machine read its own files.
    """
    if source.startswith(_ELSEWHERE):
        for uri in uris:
            if not uri.startswith(_ELSEWHERE):
                raise ConfigError(
                    f"{source} names {uri}, which would be a file of this machine: only a source that is one "
                    "itself may; name objects by s3:// or https://, or relative to the source"
                )
