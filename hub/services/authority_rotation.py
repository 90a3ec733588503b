"""A new generation of the certificate authority beside the old one, and the end of the old one.

1. The new one is trusted at once: by brokers as soon as they read their files, by devices with their
   next signed state. After a lead it issues; what the old one issued stays welcome.
2. The old one is retired when its time has come and no device's present certificate is by it; sooner
   only by force. Devices left behind come back by their key over HTTPS (`enrolment.renew`).
3. With a lead of 0 the old keys may be known to others: the new one issues at once and all others are
   retired, so that nobody can come to the broker with what a thief issued.
4. Which generation issued a certificate is told by when it was issued.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.orm import Session

from hub.errors import ConflictError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import Certificate, Device
from hub.services import audit, generations
from hub.services.caller import Caller, Scope
from hub.services.generations import Generation
from hub.services.pki import CertificateAuthority

DAY_NS = 86_400_000_000_000
LEAD_DAYS = 30
"""From the announcement of a generation to the first certificate that it issues."""
SPARE_DAYS = 30
"""How long an old generation stays after the last certificate that it issued to a device has ended."""


@dataclass(frozen=True, slots=True)
class GenerationView:
    """A generation as operators see it; instants in ns, `not_after` too.

    `depending` counts devices whose present certificate is by it.
    """

    name: str
    issues: bool
    trusted: bool
    announced_at: int | None
    issues_from: int | None
    retires_at: int | None
    retired_at: int | None
    not_after: int
    depending: int


def rotate(
    authority: CertificateAuthority,
    engine: Engine,
    caller: Caller,
    at: int,
    lead_days: int = LEAD_DAYS,
    overlap_days: int | None = None,
) -> Generation:
    """Make a new generation: trusted now, it issues after the lead.

    Args:
        authority: of the hub.
        engine: the database, for the audit: the record is there before the generation counts.
        caller: an operator.
        at: now, ns.
        lead_days: see `LEAD_DAYS`; 0: the keys there are may be known to others.
        overlap_days: how long the one before stays trusted after the lead; None: as long as its
            certificates for devices last, and `SPARE_DAYS`.

    Raises:
        ConflictError: a generation that was made before does not issue yet.
        ForbiddenError: the caller may not.
    """
    caller.require(Scope.KEYS_ROTATE)
    with authority.rotating:
        known = authority.generations
        if lead_days and known[-1].issues_from > at:
            raise ConflictError(
                f"The authority {known[-1].name} is announced and does not issue yet. Wait until it "
                "does, or say that the keys there are may be known to others.",
                name=known[-1].name,
            )
        issues_from = at + lead_days * DAY_NS
        before = authority.issuer(at) if lead_days else known[-1]
        days = authority.lifetimes.ca_days
        made = generations.make(authority.folder, before, at, days, issues_from)
        if overlap_days is None:
            overlap_days = authority.lifetimes.device_days + SPARE_DAYS
        details = {"name": made.name, "issues_from": issues_from, "lead_days": lead_days}
        with write_session(engine) as session:
            audit.record(session, at, caller.actor, "authority.rotate", "hub", details)
        if lead_days:
            retires_at = issues_from + overlap_days * DAY_NS
            older = tuple(
                replace(one, retires_at=retires_at) if one is before else one for one in known
            )
        else:
            older = tuple(_ended(one, at) for one in known)
        _commit(authority, (*older, made))
        return made


def retire(
    authority: CertificateAuthority,
    engine: Engine,
    caller: Caller,
    name: str,
    at: int,
    *,
    force: bool = False,
) -> Generation:
    """Trust a generation no more, and destroy its private key.

    Args:
        authority: of the hub.
        engine: the database.
        caller: an operator.
        name: of the generation.
        at: now, ns.
        force: also while devices depend on it; they come back by their keys over HTTPS.

    Raises:
        ConflictError: it still issues, or devices depend on it.
        ForbiddenError: the caller may not.
        NotFoundError: there is no such generation.
    """
    caller.require(Scope.KEYS_ROTATE)
    with authority.rotating:
        known = authority.generations
        found = next((one for one in known if one.name == name), None)
        if found is None:
            raise NotFoundError(f"There is no authority {name}. `homeport ca show` lists them.")
        if found.retired_at is not None:
            return found
        if not any(one.issues_from <= at for one in known[known.index(found) + 1 :]):
            raise ConflictError(
                f"The authority {name} still issues certificates. Make a new one first, and wait "
                "until that one issues.",
                name=name,
            )
        with read_session(engine) as session:
            count = depending(session, known, at).get(name, 0)
        if count and not force:
            raise ConflictError(
                f"{count} devices still have a certificate of the authority {name}. Wait until they "
                "have renewed it, or force it: they then come back by themselves over HTTPS.",
                name=name,
                devices=count,
            )
        details = {"name": name, "devices": count}
        with write_session(engine) as session:
            audit.record(session, at, caller.actor, "authority.retire", "hub", details)
        ended = _ended(found, at)
        _commit(authority, tuple(ended if one is found else one for one in known))
        return ended


def due(authority: CertificateAuthority, at: int) -> list[str]:
    """Return the names of generations whose time to be retired has come."""
    return [
        one.name
        for one in authority.generations
        if one.retired_at is None and one.retires_at is not None and one.retires_at <= at
    ]


def depending(session: Session, known: tuple[Generation, ...], at: int) -> Mapping[str, int]:
    """Count the devices whose present certificate is by each generation.

    A device whose certificate has ended, or that is revoked, depends on none.

    Args:
        session: any session.
        known: all generations, the oldest first.
        at: now, ns.

    Returns:
        Counts by name; generations without any are left out.
    """
    found = {}
    for position, one in enumerate(known):
        conditions: list[ColumnElement[bool]] = [
            Certificate.superseded_at.is_(None),
            Certificate.revoked_at.is_(None),
            Certificate.not_after > at,
            Device.revoked_at.is_(None),
        ]
        if position:
            conditions.append(Certificate.issued_at >= one.issues_from)
        if position + 1 < len(known):
            conditions.append(Certificate.issued_at < known[position + 1].issues_from)
        query = select(func.count(func.distinct(Certificate.slot))).join(
            Device, Device.slot == Certificate.slot
        )
        count = session.scalar(query.where(*conditions))
        if count:
            found[one.name] = count
    return found


def shown(authority: CertificateAuthority, session: Session, at: int) -> list[GenerationView]:
    """Return all generations as operators see them, the oldest first."""
    known, issuer = authority.generations, authority.issuer(at)
    counts = depending(session, known, at)
    return [
        GenerationView(
            name=one.name,
            issues=one is issuer,
            trusted=one.retired_at is None,
            announced_at=one.announced_at or None,
            issues_from=one.issues_from or None,
            retires_at=one.retires_at,
            retired_at=one.retired_at,
            not_after=generations.ends(one),
            depending=counts.get(one.name, 0),
        )
        for one in known
    ]


def _ended(one: Generation, at: int) -> Generation:
    if one.retired_at is not None:
        return one
    # One that never came to issue must not look as if it had later: rule 4.
    return replace(one, key_file="", retired_at=at, issues_from=min(one.issues_from, at))


def _commit(authority: CertificateAuthority, known: tuple[Generation, ...]) -> None:
    """Make other generations count, then destroy the keys that count no more."""
    files = {one.key_file for one in authority.generations} - {one.key_file for one in known}
    generations.write(authority.folder, known)
    authority.replace(known)
    for file in files - {""}:
        with contextlib.suppress(FileNotFoundError):
            (authority.folder / file).unlink()
