import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.api.paging import Listing
from hub.errors import InvalidInputError

LISTING = Listing("list_products", (int, str), q="heat", limit=50)


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=50))
def test_a_key_survives_its_cursor(number: int, text: str) -> None:
    assert LISTING.key(LISTING.cursor((number, text))) == (number, text)


def test_no_cursor_means_the_first_page() -> None:
    assert LISTING.key(None) is None


def test_a_cursor_of_another_list_or_filter_is_refused() -> None:
    for other in (
        Listing("list_alerts", (int, str), q="heat", limit=50),
        Listing("list_products", (int, str), q="pump", limit=50),
    ):
        with pytest.raises(InvalidInputError, match="Start again"):
            LISTING.key(other.cursor((1, "a")))


@given(st.text(max_size=60))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        LISTING.key(text)


@pytest.mark.parametrize("key", [[True, "a"], ["1", "a"], [1], [1, "a", 2], [2**70, "a"], {}, None])
def test_a_forged_key_of_another_shape_is_refused(key: object) -> None:
    name, fingerprint, _ = json.loads(base64.urlsafe_b64decode(LISTING.cursor((1, "a")) + "=="))
    forged = base64.urlsafe_b64encode(json.dumps([name, fingerprint, key]).encode())
    with pytest.raises(InvalidInputError):
        LISTING.key(forged.rstrip(b"=").decode())
