"""Erases rows in a time-series database that mirrors the journal.

1. Series are told apart by device and owner epoch, so a person's go as whole series: all of an epoch of theirs,
   whatever its time. Of the epoch of nobody (0) a product's series go whole too; the archive keeps what is not to be
   erased.
2. Asked again, it does the same. The journal holds nothing of the rows by then, so nothing feeds them again.
"""

from typing import Final

import httpx

from hub.errors import StorageError
from hub.ports.store.lines import MEASUREMENT
from hub.ports.store.tombstones import Tombstones

_TIMEOUT_S: Final = 60.0
_EARLIEST: Final = "1970-01-01T00:00:00Z"
_LATEST: Final = "2262-01-01T00:00:00Z"


def erase_victoria(url: str, token: str, stones: Tombstones) -> None:
    """Delete series in VictoriaMetrics.

    Args:
        url: base address of the server.
        token: bearer token of a proxy before it; empty for none.
        stones: what must go.

    Raises:
        StorageError: it did not do so.
    """
    for slot, epochs in _series(stones).items():
        labels = f's="{slot}",e=~"{"|".join(map(str, epochs))}"'
        match = f'{{__name__=~"{MEASUREMENT}_.+",{labels}}}'
        _post(f"{url}/api/v1/admin/tsdb/delete_series", token, "Bearer", data={"match[]": match})


def erase_influx(url: str, token: str, org: str, bucket: str, stones: Tombstones) -> None:
    """Delete series in InfluxDB 2; errors as for `erase_victoria`.

    Args:
        url: as there.
        token: of InfluxDB.
        org: organization.
        bucket: bucket.
        stones: as there.
    """
    for slot, epochs in _series(stones).items():
        for epoch in epochs:
            predicate = f'_measurement="{MEASUREMENT}" AND s="{slot}" AND e="{epoch}"'
            body = {"start": _EARLIEST, "stop": _LATEST, "predicate": predicate}
            asked = {"org": org, "bucket": bucket}
            _post(f"{url}/api/v2/delete", token, "Token", params=asked, json=body)


def _series(stones: Tombstones) -> dict[int, list[int]]:
    found: dict[int, set[int]] = {}
    for order in stones.orders:
        epochs = range(order.first_epoch, order.last_epoch + 1)
        found.setdefault(order.slot, set()).update(epochs)
    return {slot: sorted(epochs) for slot, epochs in sorted(found.items())}


def _post(
    url: str,
    token: str,
    scheme: str,
    *,
    params: dict[str, str] | None = None,
    data: dict[str, str] | None = None,
    json: dict[str, str] | None = None,
) -> None:
    headers = {"Authorization": f"{scheme} {token}"} if token else {}
    try:
        with httpx.Client(timeout=_TIMEOUT_S, headers=headers, trust_env=False) as client:
            client.post(url, params=params, data=data, json=json).raise_for_status()
    except httpx.HTTPError as error:
        raise StorageError(
            f"The time-series database did not delete rows that must be erased ({type(error).__name__}). "
            "It is asked again; look at its log."
        ) from error
