"""What MetalLB mounts as memberlist's `config.json`: numbers as of its LAN profile."""

NUMBERS = {
    "TCPTimeout": "10s",
    "PushPullInterval": "30s",
    "ProbeTimeout": "500ms",
    "ProbeInterval": "1s",
    "GossipInterval": "200ms",
    "GossipToTheDeadTime": "30s",
    "IndirectChecks": 3,
    "RetransmitMult": 4,
    "SuspicionMult": 4,
    "SuspicionMaxTimeoutMult": 6,
    "AwarenessMaxMultiplier": 8,
    "GossipNodes": 3,
    "UDPBufferSize": 1400,
}
