"""The refrigerant circuit of a heat pump: compressor, frost, wear and loss of charge.

1. Heat follows frequency, outdoor temperature, frost and charge; power follows from a fraction of
   Carnot's limit.
2. Wear of the bearing costs friction and shakes the machine; loss of charge costs capacity and
   efficiency.
3. Never here: when to run. That is the controller's, in `heat_pump`.
"""

from dataclasses import dataclass
from math import exp
from typing import Final

HZ_MIN: Final = 22.0
HZ_MAX: Final = 90.0
KELVIN: Final = 273.15
CARNOT_FRACTION: Final = 0.50
DEFROST_W: Final = -2600.0  # heat taken out of the water to melt the ice
DEFROST_POWER_W: Final = 1250.0
DEFROST_S: Final = 300.0
HOUSING_TAU_S: Final = 900.0


@dataclass(slots=True)
class Circuit:
    """State of the refrigerant circuit.

    Args:
        nominal_w: heat at full speed with 7 degrees outside.
        frost: ice on the evaporator, 0 to 1.
        defrosting: the circuit runs backwards.
        housing_c: temperature of the compressor's housing.
    """

    nominal_w: float = 8500.0
    frost: float = 0.0
    defrosting: bool = False
    housing_c: float = 20.0

    def run(
        self,
        dt_s: float,
        hz: float,
        sink_c: float,
        outdoor_c: float,
        humidity: float,
        wear: float,
        leak: float,
    ) -> tuple[float, float]:
        """Run the compressor for a step.

        Args:
            dt_s: seconds.
            hz: compressor frequency; 0 stands.
            sink_c: temperature of the water that leaves.
            outdoor_c: temperature of the air outside.
            humidity: relative humidity of that air.
            wear: severity of the bearing's wear, 0 to 1.
            leak: severity of the loss of refrigerant, 0 to 1.

        Returns:
            Heat given to the water and electric power of the compressor, in watts.
        """
        if self.defrosting:
            self.frost -= dt_s / DEFROST_S
            if self.frost <= 0.0:
                self.frost, self.defrosting = 0.0, False
            heat, power = DEFROST_W, DEFROST_POWER_W * (1.0 + 0.4 * wear)
        elif hz > 0.0:
            heat = self.capacity(hz, outdoor_c, leak)
            power = heat / self.cop(sink_c, outdoor_c, leak) * (1.0 + 0.4 * wear)
            self._freeze(dt_s, hz, outdoor_c, humidity)
        else:
            heat, power = 0.0, 0.0
            if outdoor_c > 2.0:
                self.frost = max(0.0, self.frost - dt_s / 3600.0)
        warm = (
            outdoor_c + 6.0 + 0.6 * max(0.0, sink_c - outdoor_c - 6.0)
            if power
            else 14.0 + 0.3 * outdoor_c
        )
        target = warm + power * (0.006 + 0.009 * wear)
        self.housing_c += (1.0 - exp(-dt_s / HOUSING_TAU_S)) * (target - self.housing_c)
        return heat, power

    def capacity(self, hz: float, outdoor_c: float, leak: float) -> float:
        """Heat that the circuit gives at a frequency, in watts."""
        air = max(0.35, 1.0 + 0.022 * (outdoor_c - 7.0))
        speed: float = (hz / HZ_MAX) ** 0.92
        charge = 1.0 - 0.6 * leak
        return self.nominal_w * speed * air * charge * (1.0 - 0.12 * self.frost)

    def cop(self, sink_c: float, outdoor_c: float, leak: float) -> float:
        """Heat per electric power: a fraction of Carnot's limit between both heat exchangers."""
        hot = sink_c + 4.0 + KELVIN
        cold = outdoor_c - 6.0 - 4.0 * self.frost - 8.0 * leak + KELVIN
        return min(7.0, CARNOT_FRACTION * (1.0 - 0.25 * leak) * hot / max(8.0, hot - cold))

    def _freeze(self, dt_s: float, hz: float, outdoor_c: float, humidity: float) -> None:
        if outdoor_c < 5.0 and humidity > 0.6:
            moisture = (humidity - 0.5) * exp(0.06 * min(0.0, outdoor_c))
            self.frost += dt_s / 3600.0 * 2.2 * moisture * hz / 60.0
        if self.frost >= 1.0:
            self.frost, self.defrosting = 1.0, True


def vibration(hz: float, wear: float) -> float:
    """How hard the machine shakes, in mm/s RMS.

    Args:
        hz: compressor frequency; 0 stands.
        wear: severity of the bearing's wear, 0 to 1.
    """
    if hz <= 0.0:
        return 0.06
    resonance = 0.35 * exp(-(((hz - 62.0) / 6.0) ** 2))
    return (0.7 + 0.012 * hz + resonance) * (1.0 + 5.0 * wear)
