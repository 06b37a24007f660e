"""A tiny controller for proving the lab: gives the pool's addresses out in their order.

    standin_controller.py MODE --source=DIR --state=FILE ...

Modes: right; idle: gives nothing; broken: ends at once, with a word.
"""

import json
import os
import sys
import time
from pathlib import Path

import yaml

POOL = "metallb.io/ip-allocated-from-pool"


def main(mode: str, flags: dict[str, str]) -> None:
    """Write the state file, as a controller does in one step, and go on living."""
    if mode == "broken":
        sys.exit("standin_controller: cannot go on")
    source = Path(flags["source"])
    services = list(yaml.safe_load_all((source / "services.yaml").read_text()))
    pool = next(yaml.safe_load_all((source / "metallb.yaml").read_text()))
    addresses = [text.partition("/")[0] for text in pool["spec"]["addresses"]]
    for service, ip in zip(services, addresses, strict=True):
        assert "status" not in service, "the demo begins with services that have no address"
        service["metadata"]["annotations"] = {POOL: pool["metadata"]["name"]}
        service["status"] = {"loadBalancer": {"ingress": [{"ip": ip}]}}
    if mode == "right":
        partial = Path(flags["state"] + ".partial")
        partial.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": services}))
        os.replace(partial, flags["state"])
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], dict(flag[2:].split("=", 1) for flag in sys.argv[2:]))
