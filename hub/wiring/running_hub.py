"""A hub that runs on this machine, as the command line reaches it: over its API, as its operator.

1. Only the hub's `control` process writes the database, so commands that change something ask it.
2. What is known of it comes from `run/hub.json` and `run/operator.token`.
"""

import json
import ssl
from pathlib import Path
from typing import Any

import httpx

from hub.config import Settings
from hub.errors import HubError
from hub.ports.keyfile import read_private

_TIMEOUT_S = 30.0


class HubUnreachableError(HubError):
    """The hub is not running, or does not answer."""

    code = "hub-unreachable"
    title = "The hub cannot be reached"
    status = 503


class RefusedError(HubError):
    """The hub answered with a problem."""

    code = "refused"
    title = "The hub refused"


class RunningHub:
    """One running hub.

    Args:
        settings: of which only the data folder counts.

    Raises:
        HubUnreachableError: no hub runs with this data folder.
    """

    def __init__(self, settings: Settings) -> None:
        card = settings.run_dir / "hub.json"
        try:
            facts = json.loads(card.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise HubUnreachableError(
                f"No hub runs with the data folder {settings.data_dir}. "
                "Start it with: homeport serve"
            ) from None
        token = read_private(Path(facts["operator_token_file"])).decode().strip()
        self._client = httpx.Client(
            base_url=facts["api_url"],
            verify=ssl.create_default_context(cafile=facts["ca_file"]),
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """Send one request and return the JSON of the answer, None if it has none.

        Args:
            method: of HTTP.
            path: below the API's address.
            arguments: as httpx takes them, such as `json=`.

        Raises:
            HubUnreachableError: it does not answer.
            RefusedError: it answered with a problem; carries its sentence.
        """
        try:
            response = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise HubUnreachableError(f"The hub does not answer: {error}.") from error
        if response.is_success:
            return response.json() if response.content else None
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"it answered with status {response.status_code}"
        raise RefusedError(f"The hub refused: {detail}")
