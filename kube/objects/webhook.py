"""Views of what a webhook's certificate is kept in: a Secret, and who has to trust it. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from kube.document import Origin
from kube.objects.kind import Kind, Metadata


class Secret(msgspec.Struct, frozen=True):
    """v1 Secret. What it holds is in no text that is made of it."""

    namespace: str
    name: str
    resource_version: str
    data: Mapping[str, str]
    """In base64, as the API server has checked."""

    def __repr__(self) -> str:
        return f"Secret({self.namespace}/{self.name} {self.resource_version})"


class WebhookConfiguration(msgspec.Struct, frozen=True):
    """admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration."""

    name: str
    resource_version: str
    webhooks: tuple[Mapping[str, Any], ...]
    """As they are: a list can only be written as a whole."""


class Conversion(msgspec.Struct, frozen=True):
    """Of an apiextensions.k8s.io/v1 CustomResourceDefinition: who converts between its versions."""

    name: str
    resource_version: str
    by_webhook: bool
    ca_bundle: str
    """In base64; empty where there is none."""


View = Secret | WebhookConfiguration | Conversion


class _Secret(msgspec.Struct):
    metadata: Metadata
    data: dict[str, str] | None = None


class _Configuration(msgspec.Struct):
    metadata: Metadata
    webhooks: list[dict[str, Any]] | None = None


class _ClientConfig(msgspec.Struct, rename="camel"):
    ca_bundle: str | None = None


class _Webhook(msgspec.Struct, rename="camel"):
    client_config: _ClientConfig | None = None


class _Conversion(msgspec.Struct):
    strategy: str = ""
    webhook: _Webhook | None = None


class _DefinitionSpec(msgspec.Struct):
    conversion: _Conversion | None = None


class _Definition(msgspec.Struct):
    metadata: Metadata
    spec: _DefinitionSpec


def _secret(raw: _Secret, _origin: Origin) -> Secret:
    meta = raw.metadata
    data = MappingProxyType(raw.data or {})
    return Secret(meta.namespace, meta.name, meta.resource_version, data)


def _configuration(raw: _Configuration, _origin: Origin) -> WebhookConfiguration:
    meta = raw.metadata
    return WebhookConfiguration(meta.name, meta.resource_version, tuple(raw.webhooks or ()))


def _definition(raw: _Definition, _origin: Origin) -> Conversion:
    meta, conversion = raw.metadata, raw.spec.conversion or _Conversion()
    called = conversion.webhook and conversion.webhook.client_config
    bundle = (called and called.ca_bundle) or ""
    by_webhook = conversion.strategy == "Webhook"
    return Conversion(meta.name, meta.resource_version, by_webhook, bundle)


SERVED: Mapping[str, Kind[View]] = {
    "Secret": Kind("v1", _Secret, _secret),
    "ValidatingWebhookConfiguration": Kind(
        "admissionregistration.k8s.io/v1", _Configuration, _configuration
    ),
    "CustomResourceDefinition": Kind("apiextensions.k8s.io/v1", _Definition, _definition),
}
