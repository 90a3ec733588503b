"""What a fleet needs of a machine: cores, memory, disk, network, connections; and by what it is bounded.

1. Every cost of one thing is a `Figure` that was measured: shipped ones by `python -m benchmarks capacity`
   (`capacity_figures.json`), better ones by the hub itself under load (`capacity_here.py`). No number of that kind
   stands in this module.
2. Every need says its formula in the names of figures and of the fleet, so that anybody can do it again.
3. Bytes on the wire and in the journal are not estimated: a pack, a receipt and a block are encoded and counted.
What must never live here: reading a machine, a hub or a clock.
"""

import math
from collections.abc import Mapping
from typing import Final, Protocol

from device_sdk.wire.pack import MAX_BYTES
from hub.services.capacity_model import Figure, Fleet, Machine, Need, Needs, shipped
from hub.services.capacity_sizes import journal_bytes, message_bytes, receipt_bytes

DAY_S: Final = 86_400
USE: Final = 0.7
"""How much of a core is planned for: the rest is for peaks, resends and the machine itself."""
_TLS: Final = 22
"""Bytes of a record of TLS 1.3: header, content type, tag (RFC 8446)."""
_TCP: Final = 52
"""Bytes of the headers of IPv4 and TCP with time stamps (RFC 9293, RFC 7323); as much for each acknowledgement."""
_BUCKETS: Final = {"minute": 1_440, "hour": 24, "day": 1}


def compute(fleet: Fleet, figures: Mapping[str, Figure], machine: Machine) -> Needs:
    """Say what a fleet needs.

    Args:
        fleet: what is to be served.
        figures: cost of one of each thing, by name.
        machine: what there is.
    """
    needs = (
        *_processing(fleet, figures, machine),
        *_memory(fleet, figures, machine),
        *_disk(fleet, figures, machine),
        *_network(fleet, machine),
    )
    # More products make no message longer.
    limited = [one for one in needs if one.use is not None and one.code != "message_bytes"]
    bound = max(limited, key=lambda one: one.use or 0.0, default=None)
    most = None if bound is None or not bound.use else int(fleet.products / bound.use)
    return Needs(needs, bound, most, figures)


class _Terms:
    """Looks figures up, and remembers which."""

    def __init__(self, figures: Mapping[str, Figure]) -> None:
        self._figures = figures
        self.used: dict[str, None] = {}

    def __call__(self, name: str) -> float:
        self.used[name] = None
        return self._figures[name].value

    def taken(self) -> tuple[str, ...]:
        """Return the names since the last call."""
        names, self.used = tuple(self.used), {}
        return names


def _processing(fleet: Fleet, figures: Mapping[str, Figure], machine: Machine) -> tuple[Need, ...]:
    figure, messages = _Terms(figures), fleet.messages
    per_second = messages * figure("worker_us_per_message") + fleet.samples * figure(
        "worker_us_per_sample"
    )
    busy = per_second / 1e6
    workers = max(1, math.ceil(busy / USE))
    turns = workers * min(figure("worker_turns_per_s"), messages / workers)
    ingest = busy + turns * figure("worker_us_per_turn") / 1e6
    formula = (
        "(messages * worker_us_per_message + samples * worker_us_per_sample "
        "+ turns * worker_us_per_turn) / 10^6; turns = min(workers * worker_turns_per_s, messages)"
    )
    worker = Need("ingest_cores", ingest, "cores", formula, None, figure.taken())
    broker = messages * figure("broker_us_per_message") / 1e6
    of_broker = figure.taken()
    compactor = fleet.samples * figure("compactor_us_per_sample") / 1e6
    of_compactor = figure.taken()
    meter = messages * fleet.rows * figure("meter_us_per_row") / 1e6
    of_meter = figure.taken()
    total = ingest + broker + compactor + meter
    room = None if machine.cores is None else machine.cores * USE
    return (
        Need("messages", messages, "1/s", "products * rate"),
        Need("samples", fleet.samples, "1/s", "messages * rows * metrics"),
        worker,
        Need(
            "broker_cores",
            broker,
            "cores",
            "messages * broker_us_per_message / 10^6",
            None,
            of_broker,
        ),
        Need(
            "compactor_cores",
            compactor,
            "cores",
            "samples * compactor_us_per_sample / 10^6",
            None,
            of_compactor,
        ),
        Need(
            "meter_cores",
            meter,
            "cores",
            "messages * rows * meter_us_per_row / 10^6",
            None,
            of_meter,
        ),
        Need(
            "cores",
            total,
            "cores",
            "ingest_cores + broker_cores + compactor_cores + meter_cores",
            room,
        ),
        Need(
            "workers",
            workers,
            "1",
            f"ceil((messages * worker_us_per_message + samples * worker_us_per_sample) / 10^6 / {USE})",
            None,
        ),
        Need("lanes", 1 << (workers - 1).bit_length(), "1", "2^ceil(log2(workers))"),
    )


def _memory(fleet: Fleet, figures: Mapping[str, Figure], machine: Machine) -> tuple[Need, ...]:
    figure, n = _Terms(figures), fleet.products
    workers = _workers(fleet, figures)
    worker = (
        workers * figure("base_bytes_ingest")
        + n * figure("worker_bytes_per_product")
        + n * fleet.metrics * figure("bytes_per_series")
    )
    of_worker = figure.taken()
    broker = figure("base_bytes_broker") + n * figure("broker_bytes_per_connection")
    of_broker = figure.taken()
    control = figure("base_bytes_control") + n * figure("control_bytes_per_product")
    of_control = figure.taken()
    own = {"base_bytes_ingest", "base_bytes_broker", "base_bytes_control"}
    rest = sum(
        figure(name) for name in figures if name.startswith("base_bytes_") and name not in own
    )
    of_rest = figure.taken()
    formula = "workers * base_bytes_ingest + products * (worker_bytes_per_product + metrics * bytes_per_series)"
    return (
        Need("ingest_memory", worker, "B", formula, None, of_worker),
        Need(
            "broker_memory",
            broker,
            "B",
            "base_bytes_broker + products * broker_bytes_per_connection",
            None,
            of_broker,
        ),
        Need(
            "control_memory",
            control,
            "B",
            "base_bytes_control + products * control_bytes_per_product",
            None,
            of_control,
        ),
        Need("other_memory", rest, "B", " + ".join(of_rest), None, of_rest),
        Need(
            "memory",
            worker + broker + control + rest,
            "B",
            "ingest_memory + broker_memory + control_memory + other_memory",
            machine.memory,
        ),
    )


def _disk(fleet: Fleet, figures: Mapping[str, Figure], machine: Machine) -> tuple[Need, ...]:
    figure = _Terms(figures)
    rows_a_day = fleet.messages * fleet.rows * DAY_S
    series = fleet.products * fleet.metrics
    per_day = {"raw": fleet.samples * DAY_S * figure("raw_bytes_per_sample")}
    needs = [
        Need(
            "raw_disk",
            per_day["raw"],
            "B/d",
            "samples * 86400 * raw_bytes_per_sample",
            None,
            figure.taken(),
        )
    ]
    for level, buckets in _BUCKETS.items():
        filled = min(buckets, fleet.rate * fleet.rows * DAY_S)
        per_day[level] = series * filled * figure(f"{level}_bytes_per_aggregate")
        formula = f"products * metrics * min({buckets}, rate * rows * 86400) * {level}_bytes_per_aggregate"
        needs.append(Need(f"{level}_disk", per_day[level], "B/d", formula, None, figure.taken()))
    steady = grows = 0.0
    for kept in fleet.kept:
        for (level, size), days in zip(per_day.items(), kept.days, strict=True):
            if level == "minute" and not _outlives(days, kept.days[0]):
                continue  # minutes are made only where they outlive the rows
            if days is None:
                grows += kept.share * size
            else:
                steady += kept.share * size * days
    row, sample = journal_bytes(fleet.metrics)
    lanes = 1 << (_workers(fleet, figures) - 1).bit_length()
    journal = 2 * machine.segment * lanes
    database = fleet.products * figure("database_bytes_per_product")
    of_database = figure.taken()
    written = rows_a_day * (row + fleet.metrics * sample)
    return (
        *needs,
        Need("journal_written", written, "B/d", f"messages * rows * 86400 * ({row:.1f} + metrics * {sample:.1f})"),
        Need("journal_disk", journal, "B", "2 * ingest.segment_bytes * lanes"),
        Need("database_disk", database, "B", "products * database_bytes_per_product", None, of_database),
        Need("disk_growth", grows, "B/d", "shares * raw_disk, minute_disk, hour_disk, day_disk where days = -"),
        Need(
            "disk", steady + journal + database, "B",
            "shares * days * raw_disk, minute_disk, hour_disk, day_disk + journal_disk + database_disk", machine.disk,
        ),
    )  # fmt: skip


def _outlives(days: int | None, others: int | None) -> bool:
    """Whether what is kept for some days outlives what is kept for others; None: for ever."""
    return others is not None and (days is None or days > others)


def _network(fleet: Fleet, machine: Machine) -> tuple[Need, ...]:
    size = message_bytes(fleet.rows, fleet.metrics)
    up = fleet.messages * (size + _TLS + 2 * _TCP) * 8
    receipts = fleet.products * min(fleet.rate, 1 / machine.cadence_s)
    down = receipts * (receipt_bytes() + _TLS + 2 * _TCP) * 8
    return (
        Need("message_bytes", size, "B", "encode(pack(rows, metrics))", MAX_BYTES),
        Need("network_in", up, "bit/s", f"messages * (message_bytes + {_TLS} + 2 * {_TCP}) * 8"),
        Need(
            "network_out", down, "bit/s",
            f"products * min(rate, 1000 / ingest.cadence_ms) * ({receipt_bytes()} + {_TLS} + 2 * {_TCP}) * 8",
        ),
        Need("connections", fleet.products, "1", "products", machine.connections),
        Need("files", fleet.products, "1", "products", machine.files),
    )  # fmt: skip


def _workers(fleet: Fleet, figures: Mapping[str, Figure]) -> int:
    busy = (
        fleet.messages * figures["worker_us_per_message"].value
        + fleet.samples * figures["worker_us_per_sample"].value
    )
    return max(1, math.ceil(busy / 1e6 / USE))


class Capacity(Protocol):
    """Computes what a fleet needs."""

    @property
    def kept(self) -> str:
        """How long telemetry is kept where a plan does not say, as `parse_kept` reads it."""

    def answer(self, fleet: Fleet) -> Needs:
        """Say what a fleet needs of the hub's machine."""


class ShippedCapacity:
    """By the shipped figures alone, of a machine that is not known."""

    kept = "-/-/-/-"

    def answer(self, fleet: Fleet) -> Needs:
        """See `Capacity.answer`."""
        return compute(fleet, shipped()[0], Machine())
