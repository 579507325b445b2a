"""ROS domains: numbers that keep one user's nodes apart from another's on the same machine."""

from __future__ import annotations

import os
import socket

from robolearn.errors import UserError

# DDS-RTPS 2.5, section 9.6.2: a participant's ports are 7400 + 250 domain + 10 (discovery), + 11 (data)
FIRST_PORT, PORTS_PER_DOMAIN, UNICAST = 7400, 250, 10
LAST_DOMAIN = 101  # above it the ports reach the range that Linux gives to outgoing connections


def is_busy(domain: int) -> bool:
    """Whether some process on this machine takes part in a domain: the first participant's port is taken."""
    port = FIRST_PORT + PORTS_PER_DOMAIN * domain + UNICAST
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False


def choose_domain(wanted: int | None = None) -> int:
    """Return a domain that nobody uses: `wanted`, or a free one.

    Raises:
        UserError: if the wanted domain, or every one, is in use.
    """
    if wanted is not None:
        if is_busy(wanted):
            raise UserError(
                f"ROS domain busy: other nodes run in domain {wanted}; end them or choose another "
                "(deploy.domain_id=NUMBER or arm.domain_id=NUMBER, or null for a free one)"
            )
        return wanted
    # begin at a place of our own, so that two runs that start together do not take the same
    start = os.getpid()
    for i in range(LAST_DOMAIN):
        domain = 1 + (start + i) % LAST_DOMAIN
        if not is_busy(domain):
            return domain
    raise UserError(f"ROS domain busy: all of 1 to {LAST_DOMAIN} are in use; end other ROS 2 nodes")
