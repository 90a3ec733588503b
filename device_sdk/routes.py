"""The ways to the hub that a device knows: the state's first, then those of its enrolment.

1. A new address from the hub is tried first; if it does not work the one from enrolment still does.
"""

import ssl

from device_sdk.enrol import Enrolment
from device_sdk.link import Route
from device_sdk.wire.state import State


def routes(enrolment: Enrolment, state: State | None) -> list[Route]:
    """Return the ways to the hub, best first, without repetition."""
    enrolled = [
        Route(host, port, enrolment.topic_root, enrolment.trust_bundle)
        for host, port in (
            (enrolment.broker_host, enrolment.broker_port),
            *enrolment.other_brokers,
        )
    ]
    if state is None:
        return enrolled
    place = state.endpoint
    bundle = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in state.trust)
    current = [
        Route(host, port, place.topic_root, bundle or enrolment.trust_bundle)
        for host, port in ((place.broker_host, place.broker_port), *place.others)
    ]
    return list(dict.fromkeys(current + enrolled))
