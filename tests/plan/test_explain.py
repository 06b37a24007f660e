"""Words for what the rules decide: bounded, and for each reason there is."""

from typing import Any

import pytest

import clarion_chance
from kube.objects.bgp import BGPAdvertisement
from kube.selector import LabelSelector
from plan.explain import MOST_NAMED, SAID, BgpExplanation, BgpWishes, Layer2Explanation, unmatched
from plan.release import Options
from plan.service import Withheld

NODE: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
POOL = clarion_chance.custom("IPAddressPool", "p", {"addresses": ["10.0.0.0/24"]})
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
    "spec": {"type": "LoadBalancer"},
    "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}},
}  # fmt: skip


def test_there_is_a_word_for_each_reason() -> None:
    assert SAID.keys() == set(Withheld)


def test_long_lists_are_cut() -> None:
    selectors = [LabelSelector({"a": str(index)}) for index in range(50)]
    assert unmatched(selectors, {}).count(" or ") == MOST_NAMED - 1
    wanted = {"nodeSelectors": [{"matchLabels": {"a": "b"}}]}
    ads = [clarion_chance.custom("L2Advertisement", f"a{index}", wanted) for index in range(50)]
    picture = clarion_chance.picture([NODE, POOL, SERVICE, *ads])
    explanation = Layer2Explanation(picture.snapshot, Options(""))
    (verdict,) = explanation.verdicts(picture.snapshot.services["default/web"])
    assert verdict.detail.endswith(f"; and {50 - MOST_NAMED} more")
    assert len(verdict.detail) < 500


def test_what_is_not_valid_for_a_node_is_said_and_its_selectors_all_the_same() -> None:
    picture = clarion_chance.picture([NODE, POOL, SERVICE])
    ad = BGPAdvertisement("x", "b", node_selectors=(LabelSelector({"a": "b"}),))
    wishes = BgpWishes(picture.custom.pools, [ad], [], lambda node: None)
    explanation = BgpExplanation(picture.snapshot, wishes, Options(""))
    (found,) = explanation.verdicts(picture.snapshot.services["default/web"])
    assert found.verdict.rule == "noConfiguration"
    assert [each.object for each in found.silences] == ["BGPAdvertisement b"]


@pytest.mark.parametrize("ingress", [[], [{"ip": "10.9.9.9"}]])
def test_a_service_without_a_place_in_a_pool_is_on_no_node(ingress: list[dict[str, str]]) -> None:
    service = {**SERVICE, "status": {"loadBalancer": {"ingress": ingress}}}
    picture = clarion_chance.picture([NODE, POOL, service])
    wishes = BgpWishes(picture.custom.pools, [], [], lambda node: None)
    web = picture.snapshot.services["default/web"]
    assert list(BgpExplanation(picture.snapshot, wishes, Options("")).verdicts(web)) == []
    assert list(Layer2Explanation(picture.snapshot, Options("")).verdicts(web)) == []
