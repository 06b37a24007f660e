"""Whatever stands in the objects: an answer, and no text in it that a terminal would heed."""

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
import yaml

from clarion.commands import check, explain, owners, simulate
from clarion.sources.picture import Picture
from clarion_world import DUMP
from kube.document import ManifestError
from kube.files.manifest import read_json
from kube.objects.reading import WITH_BGP
from kube.snapshot import read_documents
from plan.release import Options, Release

ITEMS: list[Any] = yaml.safe_load(DUMP.read_text())["items"]
ODD: tuple[Any, ...] = (
    "", "\x1b[2J", "\u202e", "a" * 5_000, "0", "-1", "::1", "10.0.0.0/0", "::/0", "0.0.0.0-::",
    "x=y", "large:1:2:3", "65535:65535", "é", "worker-1", "true", "Local", "LoadBalancer",
    0, -1, 33, 2**31, 2**64, 1.5, True, None, [], {}, [None], {"a": None}, [[]], {"": ""},
)  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Return each place that holds a value: its container, and the key or index."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, held in entries:
        yield value, key
        if isinstance(held, dict | list):
            yield from _places(held)


def spoiled(seed: int) -> Picture:
    random = Random(seed)
    items = copy.deepcopy(ITEMS)
    places = list(_places(items))
    for _ in range(random.randint(1, 25)):
        holder, key = random.choice(places)
        if random.random() < 0.2 and isinstance(holder, dict):
            holder[random.choice(("\x1b[2J", "x" * 300, "spec"))] = random.choice(ODD)
        else:
            holder[key] = copy.deepcopy(random.choice(ODD))
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}).encode()
    try:
        reading = read_documents(read_json(content, "cluster.json"), WITH_BGP)
    except ManifestError as error:
        assert str(error.problem).isprintable()
        reading = read_documents([], WITH_BGP)
    options = Options("", release=random.choice(list(Release)), drain_on_cordon=seed % 2 == 0)
    return Picture.made("x", "metallb-system", options, [reading])


@pytest.mark.parametrize("seed", range(400))
def test_every_question_has_an_answer(seed: int) -> None:
    picture = spoiled(seed)
    asked = sorted(picture.snapshot.services) or ["shop/web"]
    down = tuple(sorted(picture.snapshot.nodes)[:1])
    answers = [
        owners.answer(picture),
        *(explain.answer(picture, each) for each in asked),
        simulate.answer(picture, simulate.WhatIf(down=down, added=("worker-77",))),
        check.answer(picture, fast_failover=seed % 3 > 0),
    ]
    for answer in answers:
        assert [
            text for text in _texts(msgspec.to_builtins(answer)) if not text.isprintable()
        ] == []
        assert not [found for found in answer.remarks if "fault of this program" in found.message]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for held in value.values():
            yield from _texts(held)
    elif isinstance(value, list | tuple):
        for held in value:
            yield from _texts(held)


def test_chance_spoils_some_and_not_all() -> None:
    broken = [bool(spoiled(seed).problems) for seed in range(60)]
    services = [len(spoiled(seed).snapshot.services) for seed in range(60)]
    assert sum(broken) > 10
    assert sum(services) > 300
