"""A byte stream sealed by a passphrase: read in order, and found out if a byte of it was touched.

1. The key comes from the passphrase by scrypt (RFC 7914), with a salt of each file.
2. Chunks of 1 MiB are encrypted with AES-256-GCM under nonces that count, the last one marked: the
   STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its
   Nonce-Reuse Misuse-Resistance, CRYPTO 2015). So chunks cannot be swapped, nor the end cut off.
3. The header is authenticated with every chunk.
What must never live here: what is in the stream, or where the passphrase comes from.
"""

import io
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hub.errors import InvalidInputError, StorageError

MAGIC: Final = b"HPSEAL1\0"
CHUNK: Final = 1 << 20
TAG: Final = 16
# magic 8s, log2 of scrypt's n u8, r u8, p u8, zero u8, salt 16s, nonce prefix 7s
_HEADER: Final = struct.Struct("<8sBBBx16s7s")
_NONCE_TAIL: Final = struct.Struct(">IB")
_LOG_N: Final = 17
_R: Final = 8
_P: Final = 1
_MOST_LOG_N: Final = 20
"""A header is read before anything is known to be true: it must not make scrypt take all memory."""


class SealedWriter(io.RawIOBase):
    """Encrypts what is written to it; `close` writes the last chunk and leaves `target` open.

    Args:
        target: takes the sealed bytes.
        passphrase: at least one byte.
        octets: source of so many random bytes.
    """

    def __init__(self, target: BinaryIO, passphrase: bytes, octets: Callable[[int], bytes]) -> None:
        super().__init__()
        self._target = target
        salt, self._prefix = octets(16), octets(7)
        self._header = _HEADER.pack(MAGIC, _LOG_N, _R, _P, salt, self._prefix)
        self._cipher = AESGCM(_key(passphrase, salt, _LOG_N, _R, _P))
        self._buffer = bytearray()
        self._count = 0
        target.write(self._header)

    def writable(self) -> bool:
        """Whether it takes bytes: yes."""
        return True

    def write(self, data: Any) -> int:
        """Take some bytes; full chunks go to the target, but never what may be the last one."""
        view = memoryview(data).cast("B")
        self._buffer += view
        while len(self._buffer) > CHUNK:
            self._seal(bytes(self._buffer[:CHUNK]), last=False)
            del self._buffer[:CHUNK]
        return view.nbytes

    def close(self) -> None:
        """Write the last chunk."""
        if not self.closed:
            self._seal(bytes(self._buffer), last=True)
            self._buffer.clear()
        super().close()

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        nonce = self._prefix + _NONCE_TAIL.pack(self._count, last)
        self._target.write(self._cipher.encrypt(nonce, chunk, self._header))
        self._count += 1


class SealedReader(io.RawIOBase):
    """Decrypts a sealed stream, in order.

    Args:
        source: at its beginning.
        passphrase: as given to the writer.

    Raises:
        StorageError: this is no sealed stream, or not all of its header.
        InvalidInputError: reading raises it when the first chunk does not open: the passphrase is
            wrong (or the beginning was changed).
    """

    def __init__(self, source: BinaryIO, passphrase: bytes) -> None:
        super().__init__()
        self._source = source
        self._header = source.read(_HEADER.size)
        if len(self._header) < _HEADER.size or not self._header.startswith(MAGIC):
            raise StorageError("This is no sealed archive, or its beginning is missing.")
        _, log_n, r, p, salt, self._prefix = _HEADER.unpack(self._header)
        if not 10 <= log_n <= _MOST_LOG_N or (r, p) != (_R, _P):
            raise StorageError("The header of the sealed archive is damaged.")
        self._cipher = AESGCM(_key(passphrase, salt, log_n, r, p))
        self._next = source.read(CHUNK + TAG)
        self._plain = memoryview(b"")
        self._count = 0
        self._ended = False

    def readable(self) -> bool:
        """Whether it gives bytes: yes."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill a buffer as far as the present chunk goes; 0 at the end.

        Raises:
            StorageError: a chunk was changed, or the stream was cut.
        """
        while not self._plain and not self._ended:
            self._open_next()
        view = memoryview(target).cast("B")
        taken = min(len(view), len(self._plain))
        view[:taken] = self._plain[:taken]
        self._plain = self._plain[taken:]
        return taken

    def _open_next(self) -> None:
        chunk, self._next = self._next, self._source.read(CHUNK + TAG)
        self._ended = not self._next
        nonce = self._prefix + _NONCE_TAIL.pack(self._count, self._ended)
        try:
            self._plain = memoryview(self._cipher.decrypt(nonce, chunk, self._header))
        except InvalidTag:
            if self._count == 0:
                raise InvalidInputError(
                    "The archive does not open: the passphrase is wrong, or its beginning was changed."
                ) from None
            raise StorageError(
                f"The archive is damaged or cut off about {self._count * CHUNK} bytes from its "
                "beginning. Use another backup."
            ) from None
        self._count += 1


def _key(passphrase: bytes, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << log_n, r=r, p=p).derive(passphrase)
