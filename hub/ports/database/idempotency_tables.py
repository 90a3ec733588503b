"""Answers kept for requests that are repeated with the same idempotency key.

1. A row is written in the transaction of the write it stands for: either both are there or none.
2. Rows live for two days; they hold what a caller was answered, and are readable by that one only.
"""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import Base, Digest, Document, Instant, Name


class KeptAnswer(Base):
    """What a caller was answered to a write; `digest` names the request."""

    __tablename__ = "kept_answer"

    actor: Mapped[Name] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[Digest]
    status: Mapped[int]
    headers: Mapped[Document]
    body: Mapped[bytes]
    at: Mapped[Instant] = mapped_column(index=True)
