"""A person lives through the hub's files and is erased: no byte of theirs is left in the data folder."""

import io
import json
import struct
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from device_sdk.wire import cbor
from hub.app.dead_letter_desk import keep_dead_letters
from hub.app.erasure_desk import ErasureDesk, Places
from hub.app.erasure_list import NAME, Listed, add, read
from hub.app.reactor import Follower, Reactor
from hub.app.store_rules import StoreRules
from hub.errors import StorageError
from hub.metrics import Metrics
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.people_tables import Owner, Person
from hub.ports.database.privacy_tables import Erasure
from hub.ports.database.product_tables import Device, DeviceEvent, Product
from hub.ports.database.record_tables import Audit, DeadLetter
from hub.ports.journal.block import Kind
from hub.ports.journal.telemetry import encode
from hub.ports.journal.writer import JournalWriter, Rotation
from hub.ports.store.compaction import CompactionPolicy, Compactor
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.tombstones import Tombstones
from hub.services import audit, cases, erasure, export, invitations, looks, transfers
from hub.services.caller import HUB, Caller
from hub.services.erasure_parts import Horizon, Part
from hub.services.households import Place
from hub.services.looks import Seen
from hub.services.relations import Relation
from hub.services.usage_accounts import nothing_counted
from tests.hub.services.service_world import DAY, T0, S, World, new_world
from tests.hub.store.test_erased_rows import bytes_of
from tests.hub.store.test_levels import batch_of

WORD = "xq9canary"
VALUE = 1234.56789012345
OTHER = 42.4242424242424
NEEDLES = (WORD.encode(), WORD.encode("utf-16-le"), struct.pack("<d", VALUE))


@dataclass
class Folder:
    """A data folder with everything in it that a hub would make, and the parts that look after it."""

    root: Path
    world: World
    now: int = T0
    horizon: Horizon = field(default_factory=lambda: Horizon(backups_ns=7 * DAY))
    mirrored: list[Tombstones] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.metrics = Metrics("test")
        places = Places(
            self.root / "store",
            [self.root / "deadletters"],
            [self.root / NAME, self.root.parent / "shelf" / NAME],
        )
        (self.root.parent / "shelf").mkdir()
        self.desk = ErasureDesk(
            self.world.engine, places, self.horizon, lambda: self.now, self.mirrored.append
        )
        self.rules = StoreRules(self.world.engine, (5, None, None, None), 30)
        follower = Follower(
            "deadletters/0",
            self.root / "deadletters",
            Kind.DEAD_LETTERS,
            keep_dead_letters("deadletters/0"),
            lambda _count: None,
        )
        self.reactor = Reactor(self.world.engine, [follower], self.metrics, lambda: self.now)

    def measure(self, slot: int, epoch: int, value: float, *, seal: bool = False) -> None:
        with JournalWriter.open(
            self.root / "journal", now_ns=self.now, rotation=Rotation(size=1 << 20)
        ) as writer:
            rows = [(slot, epoch, 0, self.now + i, value) for i in range(50)]
            writer.append(1, encode(batch_of(rows, writer.end)), self.now)
            if seal:
                self.now += 400 * S
                writer.seal_if_due(self.now)

    def dead_letter(self, slot: int, text: str, *, seal: bool = False) -> None:
        letter = {
            "id": bytes(8) + len(text).to_bytes(8, "big"),
            "code": 3,
            "slot": slot,
            "topic": "hp/1/0/x/up/json",
            "sha256": bytes(32),
            "size": len(text),
            "time": self.now,
            "bytes": text.encode(),
            "detail": text,
            "stream": b"",
            "rows": [],
        }
        with JournalWriter.open(self.root / "deadletters", now_ns=self.now) as log:
            log.append(Kind.DEAD_LETTERS, [cbor.encode([letter])], self.now)
            log.sync()
            if seal:
                log.seal_if_due(self.now + 400 * S)
        while self.reactor.step():
            pass

    def compact(self) -> None:
        policy = CompactionPolicy(run_bytes=1, grace_ns=0)
        journals = {"0": self.root / "journal"}
        with Compactor(self.root / "store", journals, policy, self.rules) as compactor:
            for _ in range(3):
                compactor.run(self.now, {})

    def taken_along(self, person: Caller) -> dict[str, list[str]]:
        """Lines of the CSV files of somebody's archive."""
        store = EmbeddedStore(self.root / "store", {"0": self.root / "journal"})
        assert person.person_id
        made = export.export(
            self.world.engine,
            store,
            nothing_counted,
            person,
            person.person_id,
            self.now,
            self.world.tokens,
        )
        with zipfile.ZipFile(io.BytesIO(b"".join(made.pieces))) as found:
            names = [name for name in found.namelist() if name.endswith(".csv")]
            return {name: found.read(name).decode().splitlines() for name in names}

    def left(self) -> list[str]:
        """Files in which something of the person is left."""
        found = [
            path.name
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and any(needle in path.read_bytes() for needle in NEEDLES)
        ]
        inside = bytes_of(self.root)
        return found + [f"in Parquet: {n!r}" for n in NEEDLES[2:] if n in inside and not found]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    root = tmp_path / "data"
    root.mkdir()
    return Folder(root, new_world(root))


def _live(folder: Folder) -> tuple[Caller, Caller, int]:
    """Let a person live through the product, with a word of theirs in every field; others live beside them."""
    world = folder.world
    ada, bob = world.customer(), world.customer()
    mine, his = world.product(), world.product()
    for made, owner in ((mine, ada), (his, bob)):
        world.enrol(made)
        world.claim(made, owner, T0)
    with write_session(world.engine) as session:
        person = session.get_one(Person, ada.person_id)
        person.name, person.email = f"{WORD} name", f"{WORD}@example.org"
        session.get_one(Owner, ada.owner_id).name = f"{WORD} household"
        session.get_one(Product, mine.product_id).name = f"{WORD} nickname"
        device = session.scalars(select(Device).where(Device.product_id == mine.product_id)).one()
        slot = device.slot
        device.desired = {"greeting": f"{WORD} desired"}
        device.reported = {"greeting": f"{WORD} reported"}
        for i in range(200):  # enough to need pages of its own, some of which become free
            arguments = {"text": f"{WORD} event {i}" * 10}
            session.add(DeviceEvent(slot=slot, at=T0 + i, name="said", arguments=arguments))
    with write_session(world.engine) as session:
        cases.open_case(
            session,
            ada,
            f"{WORD} subject",
            f"{WORD} message",
            T0 + 1,
            world.tokens,
            product_id=mine.product_id,
        )
        seen = (mine.product_id, str(ada.owner_id), "s" * 16, "support", "product")
        looks.write(session, [Seen(*seen, f"{WORD} called", f"{WORD} case", T0 + 2)])
        address = f"{WORD}.friend@example.org"
        place = Place(Relation.VIEWER)
        invitations.invite(session, ada, str(ada.owner_id), place, T0, world.tokens, email=address)
        transfers.offer(session, ada, mine.product_id, T0 + 3, world.tokens, email=address)
        about = f"product:{mine.product_id}"
        audit.record(session, T0 + 4, "hub", "grant.give", about, {"reason": f"{WORD} asked"})
    with write_session(world.engine) as session:  # shorter, so that the longer one becomes slack
        session.get_one(Person, ada.person_id).name = WORD
        session.query(DeviceEvent).where(DeviceEvent.id % 2 == 0).delete()
    folder.now = T0 - 10 * DAY  # long ago: aggregates only
    folder.measure(slot, 1, VALUE)
    folder.measure(slot + 1, 1, OTHER, seal=True)
    folder.now = T0
    folder.measure(slot, 1, VALUE, seal=True)
    folder.compact()
    folder.measure(slot, 1, VALUE)
    folder.measure(slot + 1, 1, OTHER)
    folder.dead_letter(slot, f"{WORD} letter")
    return ada, bob, slot


def test_no_byte_of_a_person_is_left_in_the_data_folder(folder: Folder) -> None:
    ada, bob, slot = _live(folder)
    ((raw, rows), (_, (header, *buckets))) = sorted(folder.taken_along(ada).items(), reverse=True)
    assert (raw.split("/")[0], len(rows)) == ("telemetry", 101)
    assert header == '"start","step_s","count","min","max","mean","first","last"'
    assert [line.split(",")[1:3] for line in buckets] == [["60", "50"]]
    assert buckets[0].split(",")[3:] == [str(VALUE)] * 5
    before = folder.left()
    assert len([name for name in before if name.endswith((".hpj", ".db", "-wal"))]) >= 3
    folder.now += DAY
    with write_session(folder.world.engine) as session:
        done = erasure.erase(
            session, ada, ada.person_id, folder.now, folder.world.tokens, folder.horizon
        )
    assert folder.desk.step() == 1
    # A device that was offline, and the logs going on.
    folder.measure(slot, 1, VALUE)
    folder.measure(slot + 1, 1, OTHER, seal=True)
    folder.dead_letter(slot + 1, "of somebody else", seal=True)
    folder.dead_letter(slot + 1, "later")
    folder.compact()
    folder.desk.step()
    assert folder.left() == []
    with read_session(folder.world.engine) as session:
        parts = session.get_one(Erasure, done.erasure_id).parts
        assert {part for part, at in parts.items() if at is None} == {Part.BACKUPS}
        assert audit.verify(session) is None
        assert looks.verify(session) is None
        assert session.scalars(select(DeadLetter.detail)).all() == ["of somebody else", "later"]
    assert struct.pack("<d", OTHER) in bytes_of(folder.root)
    assert [name.split("/")[0] for name in folder.taken_along(bob)] == ["telemetry", "aggregates"]
    folder.now += 7 * DAY
    folder.desk.step()
    with read_session(folder.world.engine) as session:
        assert session.get_one(Erasure, done.erasure_id).finished_at == folder.now
        actions = session.scalars(select(Audit.action).order_by(Audit.id)).all()
    assert actions[-1] == "person.erase.finished"
    assert folder.desk.step() == 0


def test_a_part_is_not_called_done_before_it_is(folder: Folder) -> None:
    ada, _, _ = _live(folder)
    with write_session(folder.world.engine) as session:
        done = erasure.erase(
            session,
            ada,
            ada.person_id,
            folder.now,
            folder.world.tokens,
            Horizon(backups_ns=DAY, mirror=True),
        )
    folder.desk.step()
    with read_session(folder.world.engine) as session:
        parts = session.get_one(Erasure, done.erasure_id).parts
    assert parts == {
        "telemetry": None,
        "mirror": None,
        "logs": None,
        "database": folder.now,
        "backups": None,
    }
    assert folder.mirrored == []
    folder.measure(1, 0, OTHER, seal=True)
    folder.compact()
    folder.desk.step()
    assert {order.slot for stones in folder.mirrored for order in stones.orders} == {1}


def test_the_list_stands_beside_the_backups_and_only_grows(folder: Folder, tmp_path: Path) -> None:
    ada, bob = folder.world.customer(), folder.world.customer()
    for person in (ada, bob):
        with write_session(folder.world.engine) as session:
            erasure.erase(
                session, HUB, person.person_id, folder.now, folder.world.tokens, folder.horizon
            )
        folder.desk.step()
    shelf = tmp_path / "shelf" / NAME
    listed = read(shelf)
    assert {one.person_id for one in listed} == {ada.person_id, bob.person_id}
    assert shelf.stat().st_mode & 0o777 == 0o600
    assert shelf.read_bytes() == (folder.root / NAME).read_bytes()
    assert not add(shelf, listed[:1])
    assert set(json.loads(shelf.read_text())[0]) == {"at", "id", "person_id"}
    shelf.write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        read(shelf)


def test_a_restored_database_is_erased_again(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old = new_world(tmp_path / "old")
    ada = old.customer()
    listed = Listed(T0, "e" * 16, ada.person_id)
    with write_session(old.engine) as session:
        assert erasure.again(session, listed.id, listed.person_id, T0 + DAY, old.tokens)
        assert not erasure.again(session, listed.id, listed.person_id, T0 + DAY, old.tokens)
        assert not erasure.again(session, "f" * 16, "nobody", T0 + DAY, old.tokens)
    with read_session(old.engine) as session:
        assert session.get_one(Person, ada.person_id).name == "erased"
        assert session.get_one(Erasure, listed.id).person_id == ada.person_id


def test_it_goes_on_after_an_error_and_ends_when_told(folder: Folder) -> None:
    (folder.root / "store").mkdir()
    (folder.root / "store" / "manifest.json").write_text("{")
    stop = threading.Event()
    thread = threading.Thread(target=folder.desk.run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(120)
    assert not thread.is_alive()
