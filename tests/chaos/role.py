"""One process of a hub under test: the product's own, with a disk that fails when told to.

Run as `python -m tests.chaos.role NAME`. What writes the telemetry journal obeys `tests.chaos.faulty_journal`; all else
is what `python -m hub _role NAME` does, and loads what that loads.
"""

import sys

from hub.wiring import roles


def main(name: str) -> int:
    """Play one role."""
    if name.startswith("ingest"):
        from hub.app import ingest  # other roles do without all that this one loads
        from tests.chaos.faulty_journal import FaultyWriter

        vars(ingest)["JournalWriter"] = FaultyWriter
    return roles.run(name, None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
