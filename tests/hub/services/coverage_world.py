"""What the tests of warranty, contracts and cases share: a catalogue that promises something."""

from hub.ports.database.engine import write_session
from hub.services import catalogue
from hub.services.caller import HUB
from tests.hub.services.service_world import CATALOGUE, T0, World

MINUTES, STARTS = 2, 3
"""Metrics: operating minutes and starts."""

COVERAGE = (
    CATALOGUE.replace(
        "[models.heat-pump.features.telemetry]",
        """[[models.heat-pump.metrics]]
name = "operating_min"
unit = "min"
kind = "counter"
[[models.heat-pump.metrics]]
name = "starts"
kind = "counter"
[[models.heat-pump.warranty]]
version = 1
months = 24
latest_start_months = 6
hours = { metric = "operating_min", at_most = 1000 }
cycles = { metric = "starts", at_most = 500 }
[models.heat-pump.features.telemetry]""",
    )
    + """
[calendars.office]
zone = "Europe/Berlin"
holidays = ["12-25", "2030-03-20"]
[calendars.office.hours]
mon = ["08:00-12:00", "13:00-17:00"]
tue = ["08:00-12:00", "13:00-17:00"]
wed = ["08:00-12:00", "13:00-17:00"]
thu = ["08:00-12:00", "13:00-17:00"]
fri = ["08:00-12:00"]
[contracts.care]
title = "Care"
[[contracts.care.versions]]
version = 1
incidents = 1
calendar = "office"
targets = { critical = { response_min = 60, resolution_min = 480 }, notice = { response_min = 960 } }
"""
)


def promise(world: World, document: str = COVERAGE, at: int = T0) -> catalogue.Difference:
    """Apply a catalogue document."""
    with write_session(world.engine) as session:
        return catalogue.apply(session, HUB, catalogue.parse(document), at)
