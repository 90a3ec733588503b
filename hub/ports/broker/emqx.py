"""EMQX as the hub's broker. Not run against the server: written from EMQX 5's documentation.

1. EMQX terminates TLS and verifies certificates; it asks the hub by HTTP whether a client may come
   in and what it may say (`hub/api/broker_hook.py`). `docs/operations/emqx.md` has its settings.
2. Ending a connection is a request to EMQX's own API. A client that is not there is none to end.
"""

import logging
from typing import Final
from urllib.parse import quote

import httpx

from hub.config import Settings
from hub.ports.broker.identities import internal_identity
from hub.ports.broker.port import ClientIdentity

_TIMEOUT_S: Final = 3.0
_log = logging.getLogger("homeport.broker")


class EmqxBroker:
    """An EMQX that somebody else runs: implements `Broker`.

    Args:
        settings: `mqtt.host`, `mqtt.port`, `broker.emqx_api` and its key.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def identity(self, name: str) -> ClientIdentity:
        """See `Broker.identity`."""
        return internal_identity(self._settings, name)

    def disconnect(self, device_id: str) -> bool:
        """See `Broker.disconnect`: `DELETE /api/v5/clients/ID`."""
        broker = self._settings.broker
        if not broker.emqx_api:
            return False
        address = f"{broker.emqx_api.rstrip('/')}/api/v5/clients/{quote(device_id, safe='')}"
        try:
            response = httpx.delete(
                address,
                auth=(broker.emqx_key, broker.emqx_secret.get_secret_value()),
                timeout=_TIMEOUT_S,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            _log.warning("EMQX was not told of a revocation: %s", type(error).__name__)
            return False
        if response.status_code not in {httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND}:
            _log.warning("EMQX was not told of a revocation: status %d", response.status_code)
            return False
        return True
