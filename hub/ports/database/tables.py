"""The declarative base of every table, and the column types they share.

1. Tables stand in the `*_tables.py` modules of this folder; `schema.py` gathers them.
2. Instants are int64 ns since 1970 UTC; durations say their unit in their name.
3. Status words are not stored where dates and facts give them.
4. Secrets are stored as hashes only.

No queries here: those are the services'.
"""

from typing import Annotated, Any, ClassVar

from sqlalchemy import JSON, BigInteger, Integer, LargeBinary, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column

big_number = BigInteger().with_variant(Integer, "sqlite")
"""Integer keys the database assigns: SQLite only does so for INTEGER."""

json_document = JSON(none_as_null=True)
"""Kept as it was written: PostgreSQL's JSONB would reorder keys and rewrite numbers (-0.0, 1e300),
over which the audit trail has hashes."""

Instant = Annotated[int, mapped_column(BigInteger())]
"""ns since 1970 UTC."""
Big = Annotated[int, mapped_column(big_number)]
"""Counts, versions and offsets that may pass 32 bits."""
Id = Annotated[str, mapped_column(String(16))]
"""16 characters of [a-z0-9], random: neither counted nor guessed."""
Name = Annotated[str, mapped_column(String(200))]
"""Short text."""
Digest = Annotated[str, mapped_column(String(64))]
"""SHA-256 in lower-case hex."""
Identity16 = Annotated[bytes, mapped_column(LargeBinary(16))]
"""16 bytes."""
Document = Annotated[dict[str, Any], mapped_column(json_document)]
"""JSON object."""
OptionalDocument = Annotated[dict[str, Any] | None, mapped_column(json_document, nullable=True)]
"""JSON object; null is SQL NULL."""
Items = Annotated[list[Any], mapped_column(json_document)]
"""JSON array."""
Scalar = Annotated[bool | int | str | None, mapped_column(json_document, nullable=True)]
"""JSON scalar; null is SQL NULL."""
Number = Annotated[int, mapped_column(big_number, primary_key=True, autoincrement=True)]


class Base(DeclarativeBase):
    """Base of all tables; its metadata names every constraint, so migrations can."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text(), bytes: LargeBinary()}
