"""Imports scapy without its vendor tables; import this before anything of scapy.

`scapy.layers.l2` loads 38,000 names of network card makers and all Bluetooth company numbers at
import: 25 MiB that only pretty-printing reads, a third of the pod's memory. Empty tables in their
place are what scapy itself falls back to for an unknown maker (measured: docs/performance.md).
"""

import sys
from types import ModuleType

_TABLES = ("scapy.libs.manuf", "scapy.libs.bluetoothids")


def _empty(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__dict__["DATA"] = ""
    return module


for _name in _TABLES:
    sys.modules.setdefault(_name, _empty(_name))

import scapy.main  # noqa: E402 - after the tables

# A table in ~/.cache, left by another program, would be loaded all the same; and our empty one must
# not be left there for others.
scapy.main.SCAPY_CACHE_FOLDER = None
