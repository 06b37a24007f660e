"""The view of a Secret that holds the password of BGP sessions, from a manifest. Pure."""

import binascii
from base64 import b64decode
from collections.abc import Mapping

import msgspec

from kube.document import ManifestError, Origin
from kube.objects.kind import Kind, Metadata

BASIC_AUTH = "kubernetes.io/basic-auth"
_KEY = "password"


class PasswordSecret(msgspec.Struct, gc=False, frozen=True):
    """A v1 Secret; `password` is None in one that is not of type `BASIC_AUTH`, or has none."""

    namespace: str
    name: str
    password: str | None = None
    origin: Origin = Origin()

    def __repr__(self) -> str:
        """Return its name: a view that is printed shows no password."""
        return f"PasswordSecret({self.namespace}/{self.name})"


class _RawSecret(msgspec.Struct, gc=False, rename="camel"):
    metadata: Metadata
    type: str = ""
    data: dict[str, str] = {}
    string_data: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"_RawSecret({self.metadata.name})"


def _secret(raw: _RawSecret, origin: Origin) -> PasswordSecret:
    meta = raw.metadata
    password = _password(raw, origin) if raw.type == BASIC_AUTH else None
    return PasswordSecret(meta.namespace, meta.name, password, origin.only())


def _password(raw: _RawSecret, origin: Origin) -> str | None:
    """Return the text; of both ways to write it `stringData` wins, as at the API server."""
    if _KEY in raw.string_data:
        return raw.string_data[_KEY]
    if _KEY not in raw.data:
        return None
    try:
        return b64decode("".join(raw.data[_KEY].split()), validate=True).decode()
    except (binascii.Error, ValueError):
        # Without the error itself: it would show some of the text.
        message = "is not the base64 of a text"
    raise ManifestError(origin.error(("data", _KEY), message))


KINDS: Mapping[str, Kind[PasswordSecret]] = {"Secret": Kind("v1", _RawSecret, _secret)}
"""What is read of a folder beside BGP's own kinds."""
