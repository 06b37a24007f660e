"""Why a received frame gets no answer. Every drop is counted by its reason."""

from enum import StrEnum


class DropReason(StrEnum):
    """The label `reason` of `clarion_dropped_total`; the first five are MetalLB's own rules."""

    ARP_REPLY = "arp_reply"
    ETHERNET_DESTINATION = "ethernet_destination"
    NOT_ANNOUNCED = "not_announced"
    NOT_ON_INTERFACE = "not_on_interface"
    NO_CARRIER = "no_carrier"
    NO_CONTACT = "no_contact"
    HANDED_OVER = "handed_over"
    OWN_FRAME = "own_frame"
    ANNOUNCEMENT = "announcement"
    """Somebody else tells of an IP, and asks nothing."""
    TRUNCATED = "truncated"
    ETHERTYPE = "ethertype"
    HARDWARE_TYPE = "hardware_type"
    PROTOCOL_TYPE = "protocol_type"
    OPERATION = "operation"
    SENDER_ADDRESS = "sender_address"
    OTHER_HOST = "other_host"
    IP_VERSION = "ip_version"
    NEXT_HEADER = "next_header"
    HOP_LIMIT = "hop_limit"
    CHECKSUM = "checksum"
    MESSAGE_TYPE = "message_type"
    MESSAGE_CODE = "message_code"
    TARGET_ADDRESS = "target_address"
    OPTION = "option"
    NEIGHBOR_ADVERTISEMENT = "neighbor_advertisement"
    IP_DESTINATION = "ip_destination"
    OVERSIZED = "oversized"
    STALE = "stale"
    SEND_FAILED = "send_failed"


class DecodeError(ValueError):
    """Bytes that are no such frame or packet; the one exception that decoders below raise."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.value)
        self.reason = reason
