"""Our own Pod is to end when it is deleted, whatever happens to others or to its container."""

import pytest

from kube.objects.core import Pod
from speaker.cluster.own_pod import OwnPod

NS = "metallb-system"
OURS = Pod(NS, "speaker-a", "uid-1", "n1", "192.0.2.1")
ENDING = Pod(NS, "speaker-a", "uid-1", "n1", "192.0.2.1", ending=True)
NEXT = Pod(NS, "speaker-b", "uid-2", "n1", "192.0.2.1")
OTHER = Pod(NS, "speaker-c", "uid-3", "n2", "192.0.2.2", ending=True)


@pytest.mark.parametrize("name", ["speaker-a", ""])
@pytest.mark.parametrize(
    ("told", "ending"),
    [
        ([(OURS, [OURS])], False),
        # What comes to others is no matter of ours.
        ([(OURS, [OURS, OTHER])], False),
        ([(OURS, [OURS]), (ENDING, [ENDING])], True),
        # The process began again in a Pod that goes.
        ([(ENDING, [ENDING])], True),
        # Deleted by force: it is not seen to end, it is gone; and its heir is not us.
        ([(OURS, [OURS]), (None, [])], True),
        ([(OURS, [OURS]), (NEXT, [NEXT])], True),
        ([(OURS, [OURS]), (ENDING, [ENDING, NEXT]), (NEXT, [NEXT])], True),
        # Nothing is known of it.
        ([], False),
        ([(None, [OTHER])], False),
        ([(None, []), (OURS, [OURS])], False),
    ],
)
def test_it_ends_with_its_deletion(
    name: str, told: list[tuple[Pod | None, list[Pod]]], ending: bool
) -> None:
    pod = OwnPod(name)
    for own, pods in told:
        pod.handle_pods(own, pods)
    assert pod.ending is ending


def test_where_we_know_our_name_no_other_pod_on_our_node_is_taken_for_ours() -> None:
    pod = OwnPod("speaker-a")
    pod.handle_pods(NEXT, [NEXT])
    pod.handle_pods(None, [])
    assert not pod.ending
    pod.handle_pods(OURS, [OURS, NEXT])
    pod.handle_pods(ENDING, [ENDING, NEXT])
    assert pod.ending
