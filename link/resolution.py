"""What hosts ask and tell each other of the place of an IP: the same in ARP and in NDP.

Each frame is read once, by `read` of `arp.responder` or `ndp.responder`, into one of these.
"""

from typing import Generic, NamedTuple, TypeVar

from link.address import IPAddress
from link.drop import DropReason

IP_co = TypeVar("IP_co", bound=IPAddress, covariant=True)


class Question(NamedTuple, Generic[IP_co]):
    """Somebody asks who has `ip`, and its owner should answer. `client` is the IP of who asks,
    unspecified where it has none yet, and `mac` is the address (6 bytes) that the answer goes to.

    A tuple, as a frozen dataclass takes four times as long to make, for every question.
    """

    ip: IP_co
    client: IP_co
    mac: bytes


class Told(NamedTuple, Generic[IP_co]):
    """Somebody tells that `ip` is at `mac` (6 bytes), and asks nothing.

    `to` is whom it tells: the IP that had asked, or the announced IP itself, or a group. `reason`
    is why a frame of this kind gets no answer.
    """

    ip: IP_co
    mac: bytes
    to: IP_co
    reason: DropReason
