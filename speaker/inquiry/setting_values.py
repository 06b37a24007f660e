"""The settings of this speaker, for people and for comparing speakers. Pure. No secret is in it."""

from dataclasses import fields
from importlib.metadata import version
from typing import Any

from speaker.settings import Settings

OWN = ("node_name", "host", "bind_address", "pod_name")
"""What is each node's own, and no reason to wonder."""
_LEFT_OUT = frozenset({"secret", "secret_path", "tls", "gossip", "exclude"})


def values(settings: Settings) -> dict[str, Any]:
    """Return each setting by its name, with the version of this program.

    Of the secret only whether there is one; of TLS only whether it is used.
    """
    found = {
        field.name: _plain(getattr(settings, field.name))
        for field in fields(settings)
        if field.name not in _LEFT_OUT
    }
    exclude = settings.exclude
    return {
        "version": version("clarion"),
        "own": list(OWN),
        "settings": found
        | {
            "secret": settings.secret.key is not None,
            "tls": settings.tls is not None,
            "exclude": None if exclude is None else exclude.pattern,
            "gossip": {
                field.name: _plain(getattr(settings.gossip, field.name))
                for field in fields(settings.gossip)
            },
        },
    }


def _plain(value: Any) -> Any:
    """Return what JSON has, and the text of what it has not."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value)
