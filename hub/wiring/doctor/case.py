"""What the doctor examines: the settings, and what the data folder says of a running hub.

1. Everything is read once, before any check; nothing is made or changed, not even a folder.
2. A hub counts as running when it holds the lock of its folder `run`, whatever its files say.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from hub.config import Settings
from hub.ports.journal.durability import LOCK_NAME


@dataclass(frozen=True, slots=True)
class Case:
    """One hub to examine.

    Args:
        settings: its settings; ports are those in use if it runs.
        card: what `run/hub.json` says; empty if it is not there or cannot be read.
        running: whether a hub runs with this data folder.
        now_ns: the present time of the hub, ns since 1970 UTC.
        ahead_ns: how far that is ahead of the world's, by which certificates go.
    """

    settings: Settings
    card: Mapping[str, Any]
    running: bool
    now_ns: int
    ahead_ns: int = 0

    @classmethod
    def of(cls, settings: Settings, now_ns: int, ahead_ns: int = 0) -> Self:
        """Look at the data folder of some settings."""
        card = _card(settings.run_dir / "hub.json")
        running = _locked(settings.run_dir / LOCK_NAME)
        if running and card:
            settings = _with_ports(settings, card)
        return cls(settings, card, running, now_ns, ahead_ns)

    @property
    def exists(self) -> bool:
        """Whether there is a hub at all: it has a certificate authority."""
        return (self.settings.pki_dir / "ca.pem").exists()


def _card(path: Path) -> Mapping[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _locked(path: Path) -> bool:
    """Tell whether a process holds a lock; asks for a shared one and lets go at once."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _with_ports(settings: Settings, card: Mapping[str, Any]) -> Settings:
    """Put in the ports that were chosen at the start."""
    try:
        api = urlsplit(str(card["api_url"])).port or settings.api.port
        mqtt = int(card["mqtt_port"]) if not settings.mqtt.public_port else settings.mqtt.port
    except (KeyError, TypeError, ValueError):
        return settings
    return settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"port": api}),
            "mqtt": settings.mqtt.model_copy(update={"port": mqtt}),
        }
    )
