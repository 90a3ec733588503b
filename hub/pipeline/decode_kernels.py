"""Kernels of the decode stage: the loop over a batch, and the correction of times.

1. A kernel decodes only what is plainly right; anything unusual it hands to the reference decoder
   (`device_sdk.wire`), which alone decides what is an error. So the two can never disagree on a rejection.
2. What a kernel does decode equals the reference bit for bit (tests/hub/pipeline holds them together).
3. Rows are appended in the order of arrival; a frame that does not fit leaves no trace.
"""

import numpy as np
from numba import njit

from hub.pipeline.frames import CHANNEL_JSON, CHANNEL_PACK, QUARANTINE, SOURCE_JSON
from hub.pipeline.json_kernels import MAX_METRICS, decode_json
from hub.pipeline.pack_kernels import (
    pack_head,
    pack_head_is_plain,
    pack_metrics,
    pack_times,
    pack_values,
    pack_widths,
)
from hub.ports.journal.telemetry import (
    ANONYMOUS,
    CLOCK_MASK,
    HISTORICAL,
    REASON_SHIFT,
    SOURCE_SHIFT,
    TIME_CORRECTED,
)

DONE, FALLBACK, GROW = 0, 1, 2

_CLOCK_SYNCED = 2
_NOTHING = np.uint32(0)
_ANONYMOUS = np.uint32(ANONYMOUS)
_HISTORICAL = np.uint32(HISTORICAL)
_CORRECTED = np.uint32(TIME_CORRECTED)
_CLOCK = np.uint32(CLOCK_MASK)
_REASON_SHIFT = np.uint32(REASON_SHIFT)
_JSON_ROW = np.uint32(_CLOCK_SYNCED | SOURCE_JSON << SOURCE_SHIFT)
_DAY = np.int64(86_400_000_000_000)


@njit(
    "Tuple((i8, i8, i8, i8))(u1[::1], i8, i8, i8, i8[::1], i8[::1], u4[::1], u1[::1], u1[::1], u1[::1], u4[::1],"
    " u2[::1], u1[:, ::1], i8[::1], i8[::1], u2[::1], i8[::1], i8[::1], i8, i8,"
    " u4[::1], u4[::1], u4[::1], u4[::1], u4[::1], u8[::1], u8[::1], i8[::1], u2[::1], f8[::1], u8[::1])",
    cache=True,
    nogil=True,
)
def decode_frames(  # type: ignore[no-untyped-def]
    buffer,
    first,
    count,
    received,
    payload,
    payload_size,
    frame_slot,
    channel,
    verdict,
    reason,
    frame_epoch,
    model_of,
    names,
    sizes,
    models,
    index,
    table,
    guess,
    rows,
    samples,
    slot,
    epoch,
    flags,
    width,
    frame,
    stream,
    seq,
    raw_time,
    metric,
    value,
    bits,
):
    """Decode frames from `first` on into the row and sample columns.

    Frames whose verdict is neither accept nor quarantine are passed over.

    Returns:
        (DONE | FALLBACK | GROW, frame at which it stopped, rows, samples in use).
    """
    head = np.zeros(10, np.int64)
    spans = np.zeros((MAX_METRICS, 5), np.int64)
    single = np.zeros(1, np.float32)
    word = single.view(np.uint32)
    for f in range(first, count):
        if verdict[f] > QUARANTINE:
            continue
        at = payload[f]
        end = at + payload_size[f]
        model = np.int64(model_of[frame_slot[f]])
        quarantine = _NOTHING
        if verdict[f] == QUARANTINE:
            quarantine = np.uint32(reason[f]) << _REASON_SHIFT
        if channel[f] == CHANNEL_JSON:
            if rows + 1 > slot.size or samples + MAX_METRICS > value.size:
                return np.int64(GROW), f, rows, samples
            n = decode_json(
                buffer,
                at,
                end,
                model,
                received,
                samples,
                names,
                sizes,
                models,
                index,
                table,
                guess,
                head,
                np.int64(value.size),
                metric,
                value,
            )
            if n < 0:
                return np.int64(FALLBACK), f, rows, samples
            slot[rows] = frame_slot[f]
            epoch[rows] = frame_epoch[f]
            identity = _NOTHING if head[3] else _ANONYMOUS
            flags[rows] = _JSON_ROW | identity | quarantine
            width[rows] = n
            frame[rows] = f
            stream[rows] = head[1]
            seq[rows] = head[2]
            raw_time[rows] = head[0]
            rows += 1
            samples += n
        elif channel[f] == CHANNEL_PACK:
            head[:] = 0
            metrics_at = pack_head(buffer, at, end, head)
            if metrics_at < 0 or not pack_head_is_plain(head):
                return np.int64(FALLBACK), f, rows, samples
            new = head[9]
            count_metrics = pack_metrics(
                buffer,
                metrics_at,
                end,
                new,
                model,
                names,
                sizes,
                models,
                index,
                table,
                guess,
                spans,
            )
            if count_metrics < 0:
                return np.int64(FALLBACK), f, rows, samples
            if rows + new > slot.size or samples + new * count_metrics > value.size:
                return np.int64(GROW), f, rows, samples
            total = pack_widths(buffer, new, count_metrics, spans, rows, width)
            if total < 0 or not pack_times(buffer, head, rows, raw_time):
                return np.int64(FALLBACK), f, rows, samples
            if not pack_values(
                buffer,
                new,
                count_metrics,
                spans,
                rows,
                samples,
                width,
                metric,
                value,
                bits,
                word,
                single,
            ):
                return np.int64(FALLBACK), f, rows, samples
            flag = np.uint32(head[3]) | (np.uint32(head[4]) * _HISTORICAL) | quarantine
            for i in range(rows, rows + new):
                slot[i] = frame_slot[f]
                epoch[i] = head[2]
                flags[i] = flag
                frame[i] = f
                stream[i] = head[0]
                seq[i] = head[1] + (i - rows)
            rows += new
            samples += total
        else:
            return np.int64(FALLBACK), f, rows, samples
    return np.int64(DONE), count, rows, samples


@njit("void(i8, i8, i8, u4[::1], u4[::1], i8[::1], i8[::1])", cache=True, nogil=True)
def correct_times(rows, received, earliest, frame, flags, raw_time, time):  # type: ignore[no-untyped-def]
    """Give live rows with an implausible clock a time (docs/wire.md, "Time"), computed once and journalled.

    If any row of a message is implausible, or its clock was never set, the message's last row gets the time of receipt
    and the others keep their distance from it, as far as int64 reaches.
    """
    latest = received + _DAY
    start = np.int64(0)
    while start < rows:
        stop = start + 1
        while stop < rows and frame[stop] == frame[start]:
            stop += 1
        wrong = False
        if (flags[start] & _HISTORICAL) == 0:
            wrong = (flags[start] & _CLOCK) == 0
            for i in range(start, stop):
                wrong |= raw_time[i] < earliest or raw_time[i] > latest
        if wrong:
            last = raw_time[stop - 1]
            for i in range(start, stop):
                distance = np.float64(raw_time[i]) - np.float64(last)
                if abs(distance + np.float64(received)) < 9.2e18 and abs(distance) < 9.2e18:
                    time[i] = received + (raw_time[i] - last)
                else:
                    time[i] = received
                flags[i] |= _CORRECTED
        else:
            for i in range(start, stop):
                time[i] = raw_time[i]
        start = stop
