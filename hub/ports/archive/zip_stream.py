"""A zip archive that is sent while it is made: no file, and in memory no more than one piece.

1. Members come one after the other, each in pieces; the sizes stand behind each of them (data descriptor), which
   every common program reads.
2. Archives and members may be larger than 4 GiB.
"""

import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from hub.ports.archive.drain import Drain

_EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
_FILE_MODE: Final = 0o600 << 16


def zipped(members: Iterable[tuple[str, Iterable[bytes]]], time_s: int) -> Iterator[bytes]:
    """Make an archive of members.

    Args:
        members: name and content of each; a content is asked for piece by piece.
        time_s: time of all members, s since 1970 UTC.

    Yields:
        The bytes of the archive.
    """
    sink = Drain()
    when = max(datetime.fromtimestamp(time_s, UTC), _EARLIEST).timetuple()[:6]
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, pieces in members:
            info = zipfile.ZipInfo(name, when)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = _FILE_MODE
            with archive.open(info, "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)
                    if part := sink.drained():
                        yield part
            if part := sink.drained():
                yield part
    yield sink.drained()
