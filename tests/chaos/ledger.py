"""What devices measured, what they were promised, and whether queries keep the promise.

1. The ledger is written beside the SDK, from what passes on the wire; it believes nothing that the SDK remembers.
2. A row is known by its value, which no other row of its device has; so a wrong time is told from a wrong row.
3. `check` compares with what a query returned: acked, lost, duplicates, phantoms, corrupt.
What must never live here: waiting, the network, mercy.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Self

from device_sdk.wire.pack import decode_pack
from device_sdk.wire.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found, in rows.

    Attributes:
        acked: promised to the device, by a receipt or by the SDK's word that nothing waits any more.
        lost: promised and not returned.
        duplicates: returned once more than measured.
        phantoms: returned and never measured.
        corrupt: returned with another time or another value.
    """

    acked: int = 0
    lost: int = 0
    duplicates: int = 0
    phantoms: int = 0
    corrupt: int = 0

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.duplicates or self.phantoms or self.corrupt)

    def counts(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)

    def __add__(self, other: Self) -> "Verdict":
        mine, theirs = self.counts(), other.counts()
        return Verdict(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(slots=True)
class _Row:
    """A row as measured; it may come back with a time from `earliest` to `latest`."""

    value: float
    earliest: int
    latest: int
    at: float
    acked: bool = False
    acked_at: float = 0.0
    excused: bool = False


@dataclass
class Ledger:
    """One device's rows and promises. Thread-safe.

    Attributes:
        newest_acked: monotonic time of measuring of the newest row that a receipt promised.
        rejected: rejected rows by code.
    """

    newest_acked: float = 0.0
    rejected: Counter[int] = field(default_factory=Counter)
    _rows: dict[float, _Row] = field(default_factory=dict)
    _sent: dict[bytes, dict[int, list[_Row]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def measured(self, value: float, earliest: int, latest: int, at: float) -> None:
        """Note a row before the SDK gets it.

        Args:
            value: no other row of the device has it.
            earliest: the stored time is not before this, ns since 1970 UTC,
            latest: nor after this.
            at: monotonic seconds.
        """
        with self._lock:
            self._rows[value] = _Row(value, earliest, latest, at)

    def sent(self, payload: bytes, metric: str) -> None:
        """Note which rows went under which identity, from a pack on its way to the hub."""
        pack = decode_pack(payload)
        with self._lock:
            stream = self._sent.setdefault(pack.stream, {})
            for i, value in enumerate(pack.metrics[metric]):
                row = self._rows[value] if value is not None else None
                under = stream.setdefault(pack.first_seq + i, [])
                if row is not None and not row.acked and row not in under:
                    under.append(row)

    def told(self, payload: bytes, at: float) -> None:
        """Note what a receipt promises, before the SDK hears of it; `at` is monotonic."""
        receipt = Receipt.decode(payload)
        with self._lock:
            for entry in receipt.streams:
                stream = self._sent.get(entry.stream)
                if not stream:
                    continue
                refused = [(start, end) for start, end, _ in entry.rejections]
                for start, end, code in entry.rejections:
                    self.rejected[code] += end - start
                for seq in list(stream):
                    if any(start <= seq < end for start, end in refused):
                        del stream[seq]
                    elif seq < entry.watermark or any(a <= seq < b for a, b in entry.ranges):
                        for row in stream.pop(seq):
                            self._promise(row, at)

    def promise_all(self) -> None:
        """Note that the SDK says that nothing waits: what it took is stored by its word."""
        with self._lock:
            for row in self._rows.values():
                if not row.excused:
                    row.acked = True

    def unmeasured(self, value: float) -> None:
        """Note that the SDK refused a row."""
        with self._lock:
            del self._rows[value]

    def forgive_stored(self, since: float) -> None:
        """Take back what was promised from `since` (monotonic) on: the hub went back to a copy made then.

        Such rows may come back or not: their product may still hold them.
        """
        with self._lock:
            for row in self._rows.values():
                if row.acked_at >= since:
                    row.acked, row.excused = False, True

    def forgive_held(self, since: float) -> None:
        """Forgive rows measured from `since` (monotonic) on without promise: the product went back to a copy made then.

        Such rows may come back or not: they may have reached the hub without their receipt.
        """
        with self._lock:
            for row in self._rows.values():
                if row.at >= since and not row.acked:
                    row.excused = True

    def check(self, returned: Iterable[tuple[int, float]], doubled: Iterable[float]) -> Verdict:
        """Compare with what a query returned.

        Args:
            returned: `(time ns, value)` of every row of the metric that names rows.
            doubled: values of the metric that accompanies it, twice the value of its row.
        """
        with self._lock:
            rows = dict(self._rows)
        times: dict[float, list[int]] = {}
        for time, value in returned:
            times.setdefault(value, []).append(time)
        known = {t for row in rows.values() for t in (row.earliest, row.latest)}
        corrupt = phantoms = 0
        for value, found in times.items():
            row = rows.get(value)
            if row is None:
                wrong = sum(time in known for time in found)
                corrupt += wrong
                phantoms += len(found) - wrong
            else:
                corrupt += sum(not row.earliest <= time <= row.latest for time in found)
        acked = [row for row in rows.values() if row.acked]
        repeats = sum(len(found) - 1 for value, found in times.items() if value in rows)
        second = Counter(doubled)
        corrupt += sum(value / 2 not in rows for value in second)
        lost = sum(row.value not in times or 2 * row.value not in second for row in acked)
        repeats += sum(count - 1 for count in second.values() if count > 1)
        return Verdict(len(acked), lost, repeats, phantoms, corrupt)

    def _promise(self, row: _Row, at: float) -> None:
        if not row.acked and not row.excused:
            row.acked, row.acked_at = True, at
        self.newest_acked = max(self.newest_acked, row.at)
