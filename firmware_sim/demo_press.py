"""`homeport press`: press the button of a product that is simulated in another terminal.

1. It works on a running `homeport demo` and on a running `homeport fleet`.
2. Whoever presses stands at the product, so they are told what its label says.
3. Never here: what a press means; the hub decides on that.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final

import typer

from firmware_sim import catalogue, demo_door, onboarding
from firmware_sim.demo_door import NoDemoError
from firmware_sim.onboarding import Made
from firmware_sim.simulated import PRESS_S, SimulatedProduct

NO_BUTTON: Final = (
    "{serial} has no button. The code from its label is enough to claim it: {address}"
)
OFFLINE: Final = (
    "{serial} is not connected, so the hub cannot hear that its button was pressed. "
    "Wait until it is connected, then press again."
)
PRESSED: Final = (
    "The button of {serial} is pressed: for {minutes} minutes the hub knows that somebody has it in "
    "hand. Sign in as a customer and claim it: {address}"
)

OWNED: Final = (
    "The button of {serial} is pressed. It has an owner, who must release it or hand it over before "
    "somebody else can claim it; if you cannot reach them, say within {minutes} minutes that it is "
    "yours: {address}"
)


def command(
    serial: Annotated[str, typer.Argument(help="Serial number of the product.")],
    pid: Annotated[
        int | None,
        typer.Option(help="Process id of the demo or fleet, if several run.", show_default=False),
    ] = None,
) -> None:
    """Press the button of a simulated product, to show that you have it in hand."""
    try:
        answer = demo_door.ask({"press": serial}, pid)
    except NoDemoError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if "error" in answer:
        typer.echo(answer["error"], err=True)
        raise typer.Exit(2)
    typer.echo(answer["said"])


def answer(
    serial: str, products: Iterable[SimulatedProduct], labels: Iterable[Made], api: str
) -> dict[str, Any]:
    """Press a button, and say what to do next.

    Args:
        serial: of which product, in capitals or not.
        products: those that are switched on.
        labels: what is printed on them.
        api: base address of the hub.

    Returns:
        `said`, or `error` if nothing was pressed.
    """
    by_serial = {product.serial: product for product in products}
    product = by_serial.get(serial.upper())
    if product is None:
        some = ", ".join([*sorted(by_serial)[:3], "..."])
        return {"error": f"No product {serial} is switched on here. These are: {some}"}
    label = next((label for label in labels if label.serial == product.serial), None)
    address = f"{api}/claim" if label is None else onboarding.claim_address(api, label)
    told = {"serial": product.serial, "address": address, "minutes": PRESS_S // 60}
    if not catalogue.has_button(product.member.model):
        return {"error": NO_BUTTON.format_map(told)}
    if not product.press():
        return {"error": OFFLINE.format_map(told)}
    return {"said": (OWNED if product.owned.is_set() else PRESSED).format_map(told)}
