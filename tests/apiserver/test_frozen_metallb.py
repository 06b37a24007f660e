"""A MetalLB speaker that stood still gets its IPs back from ours: MetalLB's own program.

It is built from its source, of which the first time takes minutes: `.ci/install-apiserver` does it.
"""

from pathlib import Path
from statistics import median

import pytest

import frozen_metallb
import metallb
import netns
from gobuild import BuildError

MOST = 200.0
"""Milliseconds from the heir knowing that the owner lives to its last answer. Without a question on
the wire it is the whole grace, 2,000."""

pytestmark = [pytest.mark.root, pytest.mark.timeout(metallb.BUILD_TIMEOUT + 120)]


@pytest.fixture
def metallb_speaker(apiserver_binaries: None) -> None:
    """Build it, if it is not there yet."""
    if reason := netns.missing_right():
        pytest.skip(reason)
    try:
        metallb.build()
    except BuildError as error:
        pytest.fail(str(error))


def test_an_owner_that_never_noticed_is_asked_on_the_wire(
    metallb_speaker: None, tmp_path: Path
) -> None:
    with frozen_metallb.running(tmp_path) as ring:
        seen = ring.thaw(rest=0.0)
    assert len(seen) == len(frozen_metallb.OURS) * frozen_metallb.IPS_AN_HEIR
    # MetalLB announced nothing: it was asked.
    assert all(one.asked < one.told for one in seen), seen
    # Whatever the machine's speed: the first answer of the owner's is where the heir ends.
    assert [one for one in seen if one.late] == []
    assert median(one.handover for one in seen) <= MOST, seen
