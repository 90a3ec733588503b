"""`homeport serve` for a hub under test: the same roles under the same supervisor, which loses no time.

Run as `python -m tests.chaos.serve`. A real supervisor waits longer and longer before it starts a role again that keeps
ending; here hundreds of kills are on purpose.
"""

import json
import os
import sys

from hub.app import supervisor
from hub.config import load
from hub.ports.journal.durability import lock_folder, make_folder, write_whole
from hub.wiring import logs, serve

PAUSE_S = 0.1


def main() -> int:
    """Run a hub until it is told to end."""
    supervisor.FIRST_PAUSE_S = supervisor.LONGEST_PAUSE_S = PAUSE_S
    settings = load(None)
    logs.configure("supervisor", settings.log_level, None)
    make_folder(settings.run_dir)
    lock = lock_folder(settings.run_dir)
    card = settings.run_dir / "hub.json"
    card.unlink(missing_ok=True)
    serve._pass_on(settings)

    def on_ready() -> None:
        facts = serve.describe(settings)
        write_whole(card, json.dumps(facts).encode())

    role = (sys.executable, "-m", "tests.chaos.role")
    supervisor.Supervisor(
        serve.processes(settings, lambda name: (*role, name)),
        settings.run_dir,
        on_ready,
        lambda _: None,
    ).run()
    card.unlink(missing_ok=True)
    os.close(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
