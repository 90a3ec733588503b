"""The scenario language: what happens to a fleet and when, one event a line.

    # a comment
    at 60 s: firmware 2.4.1 of lot B starts leaking memory within 2 min
    at 2 min: HP-001-0007 wears a bearing
    at 30 s: vacuums in region north lose Wi-Fi for 20 s

    line      = [ "at" duration ":" who what [ "within" duration ] [ "for" duration ] ] [ "#" comment ]
    duration  = number ( "ms" | "s" | "min" | "h" | "d" )                 a whole number of ms
    who       = ( "everything" | SERIAL | [ count ] MODEL | "firmware" VERSION ) { where }
    count     = "one" | number                  the first so many, in order of serial number
    MODEL     = "heat pump" | "charger" | "vacuum", or their plurals
    where     = "of firmware" VERSION | "of lot" LOT | "in region" REGION          each at most once
    what      = one of the phrases of `PHRASES`, for one or for many

1. `str` of a scenario is its canonical text; parsing that gives the same scenario.
2. An error names the line, the word, and what was expected in its place.
3. Never here: products. Which of them are meant is the fleet's to find.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, NoReturn

from firmware_sim.products.fault import LINK_FAULTS, FaultKind
from firmware_sim.products.models import MODELS

NS_PER_MS: Final = 1_000_000
UNITS_NS: Final = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "min": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": NS_PER_MS,
}
_NUMBER: Final = re.compile(r"\d{1,9}(\.\d{1,6})?")
_WORDS: Final = re.compile(r"[^\s:#]+|:")


class Act(StrEnum):
    """What can happen beside faults."""

    USE = "use"
    REPAIR = "repair"


What = FaultKind | Act

PHRASES: Final[dict[What, tuple[str, str]]] = {
    FaultKind.BEARING_WEAR: ("wears a bearing", "wear a bearing"),
    FaultKind.STUCK_SENSOR: ("has a stuck sensor", "have a stuck sensor"),
    FaultKind.LEAK: ("leaks", "leak"),
    FaultKind.FOULED_FILTER: ("fouls its filter", "foul their filters"),
    FaultKind.MEMORY_LEAK: ("starts leaking memory", "start leaking memory"),
    FaultKind.BATTERY_FADE: ("loses battery capacity", "lose battery capacity"),
    FaultKind.WIFI_FLAPPING: ("loses Wi-Fi", "lose Wi-Fi"),
    FaultKind.CLOCK_RESET: ("resets its clock", "reset their clocks"),
    FaultKind.CLONE: ("is cloned", "are cloned"),
    Act.USE: ("is used", "are used"),
    Act.REPAIR: ("recovers", "recover"),
}
"""How each thing that can happen is said, of one and of many."""

_WHERE: Final = (("of", "firmware"), ("of", "lot"), ("in", "region"))


class ScenarioError(Exception):
    """A scenario cannot be read.

    Args:
        name: the scenario.
        line: number of the line, from 1.
        found: the word that was there; None is the end of the line.
        expected: what should have been there.
    """

    def __init__(self, name: str, line: int, found: str | None, expected: str) -> None:
        what = "the line ends" if found is None else f"found {found!r}"
        super().__init__(f"{name}, line {line}: {what} where {expected} was expected.")
        self.line, self.found, self.expected = line, found, expected


@dataclass(frozen=True, slots=True)
class Target:
    """Whom an event is about; what is None does not matter.

    Args:
        serial: the one product with this serial number.
        model: all of a model, by the catalogue's name.
        count: only the first so many.
        firmware: all that run a version.
        lot: all of a hardware lot.
        region: all in a region.
    """

    serial: str | None = None
    model: str | None = None
    count: int | None = None
    firmware: str | None = None
    lot: str | None = None
    region: str | None = None

    @property
    def one(self) -> bool:
        """Whether grammar calls them one."""
        return self.model is None or self.count == 1

    def __str__(self) -> str:
        words = []
        firmware = self.firmware
        if self.serial is not None:
            words.append(self.serial)
        elif self.model is not None:
            model = MODELS[self.model]
            if self.count is not None:
                words.append("one" if self.count == 1 else str(self.count))
            words.append(model.one if self.count == 1 else model.many)
        elif firmware is not None:
            words.append(f"firmware {firmware}")
            firmware = None
        else:
            words.append("everything")
        for (first, second), name in zip(_WHERE, (firmware, self.lot, self.region), strict=True):
            if name is not None:
                words.append(f"{first} {second} {name}")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens.

    Args:
        at_ns: ns since the scenario began.
        target: to whom.
        what: what.
        within_ns: how long a fault takes to be complete; None is as long as in life.
        lasting_ns: after which it is over by itself; None is the fault's own way.
    """

    at_ns: int
    target: Target
    what: What
    within_ns: int | None = None
    lasting_ns: int | None = None

    def __str__(self) -> str:
        one, many = PHRASES[self.what]
        words = [f"at {_duration(self.at_ns)}: {self.target} {one if self.target.one else many}"]
        if self.within_ns is not None:
            words.append(f"within {_duration(self.within_ns)}")
        if self.lasting_ns is not None:
            words.append(f"for {_duration(self.lasting_ns)}")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a fleet.

    Args:
        name: what it is called.
        events: in the order in which they happen.
    """

    name: str
    events: tuple[Event, ...]

    def __str__(self) -> str:
        return "".join(f"{event}\n" for event in self.events)


def parse(text: str, name: str = "scenario") -> Scenario:
    """Read a scenario.

    Args:
        text: its lines.
        name: what it is called.

    Returns:
        The scenario, its events sorted by time.

    Raises:
        ScenarioError: a line cannot be read.
    """
    events = []
    for number, line in enumerate(text.splitlines(), 1):
        words = _WORDS.findall(line.partition("#")[0])
        if words:
            events.append(_Line(name, number, words).event())
    return Scenario(name, tuple(sorted(events, key=lambda event: event.at_ns)))


def _duration(ns: int) -> str:
    unit = next(unit for unit, size in UNITS_NS.items() if ns % size == 0 and (ns or unit == "s"))
    return f"{ns // UNITS_NS[unit]} {unit}"


class _Line:
    """Reads one line, word by word.

    Args:
        name: the scenario.
        number: of the line.
        words: of the line; not empty.
    """

    def __init__(self, name: str, number: int, words: list[str]) -> None:
        self._name, self._number, self._words = name, number, words
        self._at = 0

    def event(self) -> Event:
        """Return what the line says."""
        self._take("at")
        at_ns = self._duration()
        self._take(":")
        target = self._target()
        what = self._what()
        within_ns = lasting_ns = None
        physical = isinstance(what, FaultKind) and what not in LINK_FAULTS
        if physical and self._took("within"):
            within_ns = self._duration()
        if isinstance(what, FaultKind) and self._took("for"):
            lasting_ns = self._duration()
        if self._at < len(self._words):
            open_ = [
                word
                for word, may in (
                    ("'within'", physical and within_ns is None and lasting_ns is None),
                    ("'for'", isinstance(what, FaultKind) and lasting_ns is None),
                )
                if may
            ]
            self._fail(" or ".join([*open_, "the end of the line"]))
        return Event(at_ns, target, what, within_ns, lasting_ns)

    def _target(self) -> Target:
        serial = model = count = firmware = None
        word = self._word()
        if self._took("everything"):
            pass
        elif self._took("firmware"):
            firmware = self._name_of("a firmware version")
        elif (model := self._model()) is not None:
            pass
        elif word is not None and (word == "one" or word.isdecimal()):
            self._at += 1
            count = 1 if word == "one" else int(word)
            if count < 1:
                self._at -= 1
                self._fail("a count of at least 1")
            model = self._model()
            if model is None:
                self._fail("'heat pumps', 'chargers' or 'vacuums'")
        elif word is not None and "-" in word and any(letter.isdigit() for letter in word):
            self._at += 1
            serial = word
        else:
            self._fail(
                "whom it happens to ('everything', a serial number, 'firmware', a count, "
                "'heat pumps', 'chargers' or 'vacuums')"
            )
        found = self._where(firmware)
        return Target(
            serial, model, count, found.get("firmware"), found.get("lot"), found.get("region")
        )

    def _where(self, firmware: str | None) -> dict[str, str]:
        found = {} if firmware is None else {"firmware": firmware}
        while self._word() in {"of", "in"}:
            first = self._words[self._at]
            self._at += 1
            left = [two for one, two in _WHERE if one == first and two not in found]
            word = self._word()
            if word is None or word not in left:
                self._fail(" or ".join(f"'{two}'" for two in left) or "nothing more 'of' or 'in'")
            self._at += 1
            kind = {"firmware": "a firmware version", "lot": "a lot", "region": "a region"}[word]
            found[word] = self._name_of(kind)
        return found

    def _model(self) -> str | None:
        rest = " ".join(self._words[self._at : self._at + 2])
        for model in MODELS.values():
            for called in (model.many, model.one):
                if rest == called or rest.startswith(f"{called} "):
                    self._at += called.count(" ") + 1
                    return model.name
        return None

    def _what(self) -> What:
        """The longest phrase that stands here."""
        best: tuple[int, What] | None = None
        for what, phrases in PHRASES.items():
            for phrase in phrases:
                words = phrase.split()
                if self._words[self._at : self._at + len(words)] == words and (
                    best is None or len(words) > best[0]
                ):
                    best = len(words), what
        if best is None:
            self._fail("what happens: " + ", ".join(f"'{one}'" for one, _ in PHRASES.values()))
        self._at += best[0]
        return best[1]

    def _duration(self) -> int:
        word = self._word()
        if word is None or not _NUMBER.fullmatch(word):
            self._fail("a number")
        self._at += 1
        unit = self._word()
        if unit is None or unit not in UNITS_NS:
            self._fail("a unit of time (ms, s, min, h or d)")
        ns = Decimal(word) * UNITS_NS[unit]
        if ns % NS_PER_MS:
            self._at -= 1
            self._fail("a whole number of milliseconds")
        self._at += 1
        return int(ns)

    def _name_of(self, kind: str) -> str:
        word = self._word()
        if word is None or word == ":":
            self._fail(kind)
        self._at += 1
        return word

    def _take(self, word: str) -> None:
        if not self._took(word):
            self._fail(f"'{word}'")

    def _took(self, word: str) -> bool:
        here = self._word() == word
        self._at += here
        return here

    def _word(self) -> str | None:
        return self._words[self._at] if self._at < len(self._words) else None

    def _fail(self, expected: str) -> NoReturn:
        raise ScenarioError(self._name, self._number, self._word(), expected)
