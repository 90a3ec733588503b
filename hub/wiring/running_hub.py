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
        HubUnreachableError: no hub runs with this data folder, or its files cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        card = settings.run_dir / "hub.json"
        try:
            facts = json.loads(card.read_text(encoding="utf-8"))
            address, token_file = str(facts["api_url"]), Path(facts["operator_token_file"])
            trust = ssl.create_default_context(cafile=facts["ca_file"])
        except FileNotFoundError:
            raise HubUnreachableError(
                f"No hub runs with the data folder {settings.data_dir}. "
                "Start it with: homeport serve"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HubUnreachableError(
                f"What {card} says of the hub cannot be used ({error!r}). Start the hub again."
            ) from error
        token = read_private(token_file).decode().strip()
        self._client = httpx.Client(
            base_url=address,
            verify=trust,
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
        response = self._answer(method, path, **arguments)
        return response.json() if response.content else None

    def text(self, method: str, path: str, **arguments: Any) -> str:
        """Send one request and return the answer as text; as `ask` otherwise."""
        return self._answer(method, path, **arguments).text

    def _answer(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise HubUnreachableError(
                f"The hub does not answer at {self._client.base_url} ({error}). "
                "If it was killed, start it with: homeport serve"
            ) from error
        if response.is_success:
            return response
        raise RefusedError(f"The hub refused: {_sentence(response)}")


def _sentence(response: httpx.Response) -> str:
    """Say what a problem says, and of a request that is not valid which parts are wrong."""
    try:
        problem = response.json()
        wrong = [
            f"{part['pointer'] or part['location']}: {part['detail']}"
            for part in problem.get("errors", ())
        ]
        return f"{'; '.join(wrong)}." if wrong else str(problem["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"it answered with status {response.status_code}."
