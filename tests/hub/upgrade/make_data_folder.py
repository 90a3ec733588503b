"""Makes a small data folder with the program beside which it runs; how the ones kept here were made.

`python make_data_folder.py NAME.tar.xz` in a checkout of the version wanted. It holds two products that were sold and
have sent rows, some of them compacted; `expected.json` in the archive says what the hub knew.
"""

import json
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from hub.ports.store.compaction import CompactionPolicy, Compactor
from tests.chaos.fleet import NAMING
from tests.chaos.nemesis import Nemesis

KEPT = (
    "homeport.db",
    "homeport.db-wal",
    "pki",
    "keys",
    "journal",
    "findings",
    "deadletters",
    "detector",
    "store",
)


def main(target: Path) -> None:
    """Run a hub, stop it, and pack what it keeps."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Nemesis(folder, 5) as nemesis:
            with nemesis.fleet(2) as (fleet, out):
                time.sleep(16)
                nemesis.recover(fleet, time.monotonic(), out)
            expected = {
                product.unit.id: sorted(
                    [time_ns, value] for time_ns, value in fleet.returned(product)[0]
                )
                for product in fleet.products
            }
            nemesis.hub.stop()
            data = nemesis.hub.data_dir
            eager = CompactionPolicy(run_bytes=1)  # else it waits for five minutes
            with Compactor(data / "store", {"0": data / "journal" / "0"}, eager) as compactor:
                compactor.run(time.time_ns(), {})
        (folder / "expected.json").write_text(json.dumps({"metric": NAMING, "rows": expected}))
        with tarfile.open(target, "w:xz", preset=9) as tar:
            tar.add(folder / "expected.json", "expected.json")
            for kept in KEPT:
                if (nemesis.hub.data_dir / kept).exists():
                    tar.add(nemesis.hub.data_dir / kept, f"data/{kept}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
