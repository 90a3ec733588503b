"""The simulator's way to the hub's API, against a real hub."""

from typing import Any

import pytest

from firmware_sim.hub_client import HubAnswerError, HubClient

pytestmark = pytest.mark.hub


def test_a_refusal_carries_the_problems_own_code_and_words(hub: Any) -> None:
    with HubClient(hub.api_url, hub.ca_file, hub.operator_token) as client:
        client.ready()
        with pytest.raises(HubAnswerError) as missing:
            client.call("GET", "/products/nosuchdevice0000")
    assert (missing.value.status, missing.value.code) == (404, "not-found")
    assert "nosuchdevice0000" in missing.value.detail
    with (
        HubClient(hub.api_url, hub.ca_file) as nobody,
        pytest.raises(HubAnswerError, match=r"401 \(not-authenticated\): This needs a signed-in"),
    ):
        nobody.call("GET", "/products")
