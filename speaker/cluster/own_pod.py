"""Whether our own Pod is to end, through all that is told of pods. Pure."""

from collections.abc import Collection

from kube.objects.core import Pod


class OwnPod:
    """A Pod is told to end by its deletion; that its process is told to end is not enough.

    A container that alone restarts comes back at once, in the same Pod.
    """

    def __init__(self, name: str) -> None:
        """`name` is that of our Pod; empty where we do not know it."""
        self.ending = False
        """Whether it was deleted, or is gone: a deletion by force leaves nothing to be seen."""
        self._name, self._uid = name, ""

    def handle_pods(self, own: Pod | None, pods: Collection[Pod]) -> None:
        """Take all pods of speakers; `own` is what is taken for ours, until we know for sure."""
        if not self._uid and own is not None and own.name == (self._name or own.name):
            self._uid = own.uid
        alive = any(pod.uid == self._uid and not pod.ending for pod in pods)
        self.ending = bool(self._uid) and not alive
