"""Who may announce in the routed network, by the name that the command line has for it."""

from importlib import import_module

from netnslab.errors import LabError
from netnslab.routed.nodes import BGPNode, IdleNode, PlainNode
from netnslab.routed.speaker_node import SpeakerNode

CONTESTANTS: dict[str, type[BGPNode]] = {
    "speaker": SpeakerNode,
    "plain": PlainNode,
    "idle": IdleNode,
}


def contestant(name: str) -> type[BGPNode]:
    """Return one of `CONTESTANTS`, or the class that `module:Class` names. Raises LabError."""
    if name in CONTESTANTS:
        return CONTESTANTS[name]
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise LabError(f"{name}: no contestant: {error}") from None
    if not (isinstance(found, type) and issubclass(found, BGPNode)):
        raise LabError(f"{name}: no contestant, as it is no BGPNode")
    return found
