"""What the views of webhooks and of their Secret read, and what they do not tell."""

import msgspec

from kube.objects.reading import decode
from kube.objects.webhook import Conversion, Secret

META = {"name": "a", "namespace": "b", "resourceVersion": "7"}


def test_a_secret_shows_nothing_of_what_it_holds() -> None:
    raw = msgspec.json.encode({"metadata": META, "data": {"ca.key": "aGlkZGVu"}})
    found, _ = decode("Secret", raw)
    assert isinstance(found, Secret)
    assert found.data["ca.key"] == "aGlkZGVu"
    assert "aGlkZGVu" not in f"{found} {found!r}"


def test_a_definition_without_a_webhook_has_nothing_to_believe_in() -> None:
    for conversion, wanted in (
        (None, (False, "")),
        ({"strategy": "None"}, (False, "")),
        (
            {"strategy": "Webhook", "webhook": {"clientConfig": {"caBundle": "eA=="}}},
            (True, "eA=="),
        ),
        ({"strategy": "Webhook", "webhook": {"clientConfig": None}}, (True, "")),
    ):
        raw = msgspec.json.encode({"metadata": META, "spec": {"conversion": conversion}})
        found, _ = decode("CustomResourceDefinition", raw)
        assert isinstance(found, Conversion)
        assert (found.by_webhook, found.ca_bundle) == wanted
