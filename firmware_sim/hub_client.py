"""The hub's public HTTPS API as a manufacturer, a customer or support uses it.

1. Only the hub's own authority is trusted; proxies and CA bundles of the environment do not matter.
2. An answer that is not 2xx becomes a `HubAnswerError` with the problem's own words.
3. Never here: devices; those speak through the SDK.
"""

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import httpx

from firmware_sim.recording import Row, time_ns

TIMEOUT_S: Final = 30.0
REASON: Final = {"X-Homeport-Reason": "The owner asked for help."}
"""What people of support say when they look at somebody's product; of others it is ignored."""
PAGE_ITEMS: Final = 500
PAGE_ROWS: Final = 20_000
FIRST_NS: Final = -(2**63)
LAST_NS: Final = 2**63 - 1
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(instant_ns: int) -> str:
    """Return an instant (ns since 1970 UTC) as RFC 3339."""
    seconds, fraction = divmod(instant_ns, 1_000_000_000)
    whole = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{fraction:09d}Z"


class HubAnswerError(Exception):
    """The hub refused.

    Args:
        status: HTTP status.
        code: the problem's code, such as `not-found`.
        detail: the problem's sentence.
        facts: what else the problem says.
    """

    def __init__(
        self, status: int, code: str, detail: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"The hub answered {status} ({code}): {detail}")
        self.status, self.code, self.detail = status, code, detail
        self.facts = facts or {}


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
            headers=REASON | ({"Authorization": f"Bearer {token}"} if token else {}),
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
        return self._ask(method, f"/api/v1{path}", body, query)

    def text(self, path: str) -> str:
        """Get plain text, such as the hub's metrics; the path begins at the hub's root.

        Raises:
            httpx.HTTPError: the hub cannot be reached, or refused.
        """
        return self._http.get(path).raise_for_status().text

    def ready(self) -> None:
        """Return if the hub can work.

        Raises:
            HubAnswerError: it cannot.
            httpx.TransportError: it cannot be reached.
        """
        self._ask("GET", "/readyz", None, {})

    def _ask(self, method: str, path: str, body: Any, query: Mapping[str, Any]) -> Any:
        answer = self._http.request(
            method,
            path,
            json=body,
            params={name: value for name, value in query.items() if value is not None},
        )
        if answer.is_success:
            return answer.json() if answer.content else None
        try:
            problem = answer.json()
            code, detail = str(problem["code"]), str(problem["detail"])
        except (ValueError, KeyError, TypeError):
            problem, code, detail = {}, "unreadable", answer.text[:200]
        raise HubAnswerError(answer.status_code, code, detail, problem)

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield every item of a listing, page by page.

        Args:
            path: path below `/api/v1`.
            query: filters.

        Yields:
            Each item.
        """
        after: str | None = None
        while True:
            page = self.call("GET", path, after=after, limit=PAGE_ITEMS, **query)
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def rows(
        self, device_id: str, metric: str, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[Row]:
        """Yield the stored rows of one metric as this caller may see them.

        Args:
            device_id: the device.
            metric: the metric.
            start_ns: first instant, ns since 1970 UTC; None is the beginning of time.
            end_ns: end, exclusive; None is the end of time.

        Yields:
            Each row, in order of time.
        """
        query: Mapping[str, Any] = {
            "metric": metric,
            "from": rfc3339(FIRST_NS if start_ns is None else start_ns),
            "to": rfc3339(LAST_NS if end_ns is None else end_ns),
            "limit": PAGE_ROWS,
        }
        after: str | None = None
        while True:
            page = self.call("GET", f"/products/{device_id}/telemetry", after=after, **query)
            for text, value in zip(page["time"], page["value"], strict=True):
                instant = time_ns(text)
                if instant is None:
                    raise HubAnswerError(200, "unreadable", f"{text!r} is not a time")
                yield Row(instant, value)
            after = page["next"]
            if after is None:
                return
