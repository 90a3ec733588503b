"""What devices say of themselves when they connect, and whether it fits what is settled of their stream.

1. A device says up to which seq it may have sent rows. More than that is settled only if its spool is an older copy of
   itself, or another device uses its identity.
2. A broker may deliver a birth behind the rows that followed it. So it is judged before the rows of the same
   micro-batch are settled, and only of a stream that rested for a minute; of younger rows the contents are known.
3. Contents are not compared here, so it shows however long ago the rows were stored, even before a row is sent.
Must never live here: what the device is told; see `receipt.py`.
"""

from device_sdk.wire.errors import WireError
from device_sdk.wire.messages import Birth, Presence
from hub.pipeline.frames import I64, Frames
from hub.pipeline.identity import StreamTable
from hub.pipeline.outcome import OlderCopy

REST_NS = 60 * 1_000_000_000


def read_births(frames: Frames, places: I64) -> list[tuple[int, Birth]]:
    """Return the births of a micro-batch with the slots of their devices.

    Args:
        frames: authenticated.
        places: which of them speak of presence, i64[K]; malformed ones are not this stage's to judge.
    """
    found = []
    for i in places.tolist():
        try:
            birth = Presence.decode(frames.payload_bytes(i)).birth
        except WireError:
            continue
        if birth is not None:
            found.append((int(frames.slot[i]), birth))
    return found


def older_copies(
    births: list[tuple[int, Birth]], streams: StreamTable, now: int
) -> list[OlderCopy]:
    """Return the devices of which more is settled than they know to have sent.

    Args:
        births: as `read_births` gives them; of devices that do not say what they sent nothing is known.
        streams: as it is before the rows of this micro-batch.
        now: time of receipt, ns.
    """
    found = []
    for slot, birth in births:
        stream = int.from_bytes(birth.stream, "big")
        entry, view = streams.find(slot, stream), streams.view(slot, stream)
        if birth.sent is None or entry is None or view is None:
            continue
        if now - int(streams.used_at[entry]) < REST_NS:
            continue
        settled = max(view.watermark, *(end for _, end in view.ranges), 0)
        if settled > birth.sent:
            found.append(OlderCopy(slot, stream, birth.sent, settled))
    return found
