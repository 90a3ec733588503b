"""Events of a device that have a meaning for the hub, beside being kept as what happened to it.

1. Their names are reserved (docs/wire.md); any other event is only kept.
2. They are acted on once, when the hub hears of them; nothing in them is trusted but that they came
   from the device.
"""

from sqlalchemy.orm import Session

from device_sdk.wire.messages import Event
from hub.services import possession, resets


def heard(session: Session, product_id: str, message: Event, at: int) -> None:
    """Act on an event that a device told for the first time.

    Args:
        session: a writing session.
        product_id: whose device.
        message: the event.
        at: time of receipt, ns.
    """
    if message.name == possession.EVENT:
        possession.open_window(session, product_id, message.arguments, at)
    elif message.name == resets.EVENT:
        resets.was_reset(session, product_id, message.time, at)
