"""The hub's public HTTPS API as a manufacturer, a customer or support uses it.

1. Only the hub's own authority is trusted; proxies and CA bundles of the environment do not matter.
2. An answer that is not 2xx becomes a `HubAnswerError` with the problem's own words.
3. Never here: devices; those speak through the SDK.
"""

import ssl
from pathlib import Path
from typing import Any, Final, Self

import httpx

TIMEOUT_S: Final = 30.0


class HubAnswerError(Exception):
    """The hub refused.

    Args:
        status: HTTP status.
        code: the problem's code, such as `not-found`.
        detail: the problem's sentence.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"The hub answered {status} ({code}): {detail}")
        self.status, self.code, self.detail = status, code, detail


class HubClient:
    """One caller of the API.

    Args:
        api: base address, such as `https://127.0.0.1:8443`.
        ca_file: certificate of the hub's authority.
        token: the operator's token or a session's; None for what needs no sign-in.
    """

    def __init__(self, api: str, ca_file: Path, token: str | None = None) -> None:
        self.api, self.ca_file = api, ca_file
        self._http = httpx.Client(
            base_url=api,
            verify=ssl.create_default_context(cafile=str(ca_file)),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Ask the hub.

        Args:
            method: HTTP method.
            path: path below `/api/v1`, with a leading slash.
            body: JSON body, if any.
            query: query parameters; None is left out.

        Returns:
            The JSON answer, or None if there is none.

        Raises:
            HubAnswerError: the hub refused.
            httpx.TransportError: the hub cannot be reached.
        """
        answer = self._http.request(
            method,
            f"/api/v1{path}",
            json=body,
            params={name: value for name, value in query.items() if value is not None},
        )
        if answer.is_success:
            return answer.json() if answer.content else None
        try:
            problem = answer.json()
            code, detail = str(problem["type"]).rsplit("/", 1)[-1], str(problem["detail"])
        except (ValueError, KeyError, TypeError):
            code, detail = "unreadable", answer.text[:200]
        raise HubAnswerError(answer.status_code, code, detail)
