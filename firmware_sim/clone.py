"""A clone: a second process that copied a device's memory, key and all, and says it is that device.

    python -m firmware_sim.clone < order.json

1. It copies as a thief would, from outside: another process's files, without asking it. (The process
   that owns a spool must not open its file a second time: closing that would drop SQLite's lock.)
2. It lives as another product of the same model, so its rows differ under the same numbers.
3. It ends when its standard input ends, so it never outlives who started it, or when its time is up.
4. Never here: what the hub makes of it.
"""

import json
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from device_sdk import files
from device_sdk.client import Device
from device_sdk.errors import DeviceError
from firmware_sim.products.climate import CLIMATES
from firmware_sim.products.models import MODELS

COPIED: Final = (
    "device.key",
    "certificate.pem",
    "enrolment.json",
    "state.json",
    "spool.db-wal",
    "spool.db",
)
STOP_S: Final = 20.0


class Clone:
    """A clone that runs.

    Args:
        order: what `main` reads: `source`, `folder`, `hub`, `ca_file`, `serial`, `model`,
            `firmware`, `climate`, `zone`, `report_s`, `seconds` (null: until stopped).
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "firmware_sim.clone"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the fleet, which then stops its clones
        )
        assert self._process.stdin is not None  # noqa: S101  it was asked for
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it and wait until it is gone."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def copy(source: Path, folder: Path) -> None:
    """Copy what makes a device that device.

    Args:
        source: its state folder; it may be in use.
        folder: where to; what was there is replaced.
    """
    shutil.rmtree(folder, ignore_errors=True)
    files.private_folder(folder)
    for name in COPIED:
        with suppress(FileNotFoundError):
            files.write_private(folder / name, (source / name).read_bytes())


def main() -> None:
    """Read an order from standard input, and live as the clone until that ends."""
    order = json.loads(sys.stdin.readline())
    over = threading.Event()
    threading.Thread(target=_until_input_ends, args=(over,), daemon=True).start()
    if order["seconds"] is not None:
        timer = threading.Timer(order["seconds"], over.set)
        timer.daemon = True
        timer.start()
    copy(Path(order["source"]), Path(order["folder"]))
    model = MODELS[order["model"]]
    seed = f"clone of {order['serial']}"
    product = model.make(seed, climate=CLIMATES[order["climate"]], zone=order["zone"])
    with (
        suppress(DeviceError),  # an original that moved on, a hub that refuses: the clone is over
        Device.open(
            order["folder"],
            hub=order["hub"],
            ca_file=order["ca_file"],
            serial=order["serial"],
            model=order["model"],
            firmware=order["firmware"],
        ) as device,
    ):
        report_s = order["report_s"]
        # The first row waits on the disk when the connection stands: it goes out under a number that
        # the original has used by then. Later the hub's receipts would tell the clone where it is.
        device.measure_many(product.step(report_s, time.time_ns()))
        device.sync()
        while not over.wait(report_s):
            device.measure_many(product.step(report_s, time.time_ns()))


def _until_input_ends(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    main()
