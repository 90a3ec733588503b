"""`homeport doctor` on hubs that do not run: whole ones, and ones in which something was broken."""

import datetime as dt
import os
import socket
import sqlite3
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hub.config import BrokerSettings, MqttSettings, PkiSettings, Settings
from hub.ports.journal.block import Kind
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.manifest import DataFile, Manifest
from hub.services.caller import HUB
from hub.services.pki import CertificateAuthority, save_pair
from hub.services.signing_keys import SigningKeys
from hub.wiring import compose
from hub.wiring.doctor import connections, examination, signing
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Level, Line
from tests.hub.database.sqlite_template import open_migrated

DAY_NS = 86_400_000_000_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def look(settings: Settings) -> dict[str, Line]:
    """Examine, and return the worst line of each check."""
    worst: dict[str, Line] = {}
    ranks = list(Level)
    for line in examination.examine(settings):
        before = worst.get(line.check)
        if before is None or ranks.index(line.level) > ranks.index(before.level):
            worst[line.check] = line
    return worst


def wrong(settings: Settings) -> dict[str, Line]:
    """What is a problem; the machine's own clock and disk are not this test's business."""
    return {name: line for name, line in look(settings).items() if line.level is Level.PROBLEM}


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted([folder, *folder.rglob("*")])
    }


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Settings]:
    """The data folder of a hub that was stopped in order."""
    before = os.environ.get("NUMBA_CACHE_DIR")
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    settings = Settings.model_validate({"data_dir": data, "api": {"port": 0}, "mqtt": {"port": 0}})
    at = compose.now()
    authority = CertificateAuthority.load_or_create(settings.pki_dir, at)
    save_pair(authority.issue_server(settings.public_hosts, at), settings.pki_dir, "server")
    for part in ("hub-control", "hub-ingest-0", "hub-revoker"):
        save_pair(authority.issue_internal(part, at), settings.pki_dir, part)
    for folder in (settings.keys_dir, settings.run_dir, settings.store_dir):
        folder.mkdir(mode=0o700)
    SigningKeys.load_or_create(settings.keys_dir)
    engine = open_migrated(settings.database_url.get_secret_value())
    engine.dispose()
    with JournalWriter.open(settings.journal_dir(0), now_ns=at) as journal:
        journal.append(Kind.TELEMETRY, [b"payload"], at)
        journal.sync()
    yield settings
    if before is None:
        os.environ.pop("NUMBA_CACHE_DIR", None)


def test_a_stopped_hub_is_well_and_stays_as_it_is(stopped: Settings) -> None:
    before = contents(stopped.data_dir)
    found = look(stopped)
    assert contents(stopped.data_dir) == before
    assert [line for line in found.values() if line.level is Level.PROBLEM] == []
    assert "does not run; start it with: homeport serve" in found["hub"].seen
    assert "1 blocks in the last" in found["journal 0"].seen
    assert found["schema"].level is Level.OK


def test_where_there_is_no_hub_yet_nothing_is_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"data_dir": tmp_path / "none" / "data", "api": {"port": 0}, "mqtt": {"port": 0}}
    )
    found = look(settings)
    assert wrong(settings) == {}
    assert "homeport serve" in found["hub"].seen
    assert list(tmp_path.iterdir()) == []


def test_every_line_that_is_not_ok_says_what_to_do(stopped: Settings) -> None:
    (stopped.pki_dir / "server.pem").unlink()
    stopped.data_dir.chmod(0o755)
    for line in examination.examine(stopped):
        assert line.seen
        assert (line.level is Level.OK) == (not line.advice), line


def test_folders_that_others_may_enter(stopped: Settings) -> None:
    stopped.store_dir.chmod(0o755)
    line = wrong(stopped)["data folder"]
    assert "mode 0755" in line.seen
    assert line.advice == f"Run: chmod 700 {stopped.store_dir}"


def test_keys_that_others_may_read(stopped: Settings) -> None:
    key = stopped.pki_dir / "server.key"
    key.chmod(0o640)
    line = wrong(stopped)["key modes"]
    assert "mode 0640" in line.seen
    assert f"chmod 600 {key}" in line.advice


def test_an_expired_certificate(stopped: Settings) -> None:
    long_ago = compose.now() - 500 * DAY_NS
    authority = CertificateAuthority.load_or_create(stopped.pki_dir, compose.now())
    save_pair(authority.issue_server(("localhost",), long_ago), stopped.pki_dir, "server")
    line = wrong(stopped)["certificate server"]
    expired = dt.datetime.fromtimestamp((long_ago + 397 * DAY_NS) / 1e9, dt.UTC)
    assert line.seen == f"expired on {expired:%Y-%m-%d}"
    assert "start it again" in line.advice


def test_a_certificate_that_expires_soon(stopped: Settings) -> None:
    at = compose.now() - 380 * DAY_NS
    authority = CertificateAuthority.load_or_create(stopped.pki_dir, compose.now())
    save_pair(authority.issue_server(stopped.public_hosts, at), stopped.pki_dir, "server")
    assert look(stopped)["certificate server"].level is Level.WARNING


def test_a_certificate_of_another_authority_without_a_name_or_key(
    stopped: Settings, tmp_path: Path
) -> None:
    at = compose.now()
    other = CertificateAuthority.load_or_create(tmp_path / "other", at)
    save_pair(other.issue_server(stopped.public_hosts, at), stopped.pki_dir, "server")
    assert "not issued by" in wrong(stopped)["certificate server"].seen
    own = CertificateAuthority.load_or_create(stopped.pki_dir, at)
    save_pair(own.issue_server(("localhost",), at), stopped.pki_dir, "server")
    assert "does not name 127.0.0.1" in wrong(stopped)["certificate server"].seen
    key = stopped.pki_dir / "hub-control.key"
    key.write_bytes((stopped.pki_dir / "server.key").read_bytes())
    assert "does not belong to" in wrong(stopped)["certificate hub-control"].seen
    (stopped.pki_dir / "ca.pem").write_text("nonsense")
    assert "is no certificate" in wrong(stopped)["certificate ca"].seen


def test_a_port_that_another_program_has(stopped: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])
        taken = stopped.model_copy(
            update={
                "api": stopped.api.model_copy(update={"port": port}),
                "mqtt": stopped.mqtt.model_copy(update={"port": free_port()}),
            }
        )
        found = wrong(taken)
    assert "is taken" in found["port api"].seen
    if Path("/proc/net/tcp").exists():
        assert f"by process {os.getpid()}" in found["port api"].seen
    assert "api.port" in found["port api"].advice
    assert "port mqtt" not in found


def test_a_damaged_database(stopped: Settings) -> None:
    path = stopped.data_dir / "homeport.db"
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 9] = bytes(4096 * 6)
    path.write_bytes(data)
    assert "homeport.db" in wrong(stopped)["database"].seen
    path.unlink()
    assert "is missing" in wrong(stopped)["database"].seen
    assert not path.exists()


def test_a_database_of_an_older_and_of_a_newer_hub(stopped: Settings) -> None:
    path = stopped.data_dir / "homeport.db"

    def become(version: str) -> Line:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
            connection.commit()
        return look(stopped)["schema"]

    older = become("0001")
    assert (older.level, "homeport upgrade" in older.advice) == (Level.WARNING, True)
    newer = become("9999")
    assert (newer.level, "9999 is not known" in newer.seen) == (Level.PROBLEM, True)


def test_a_damaged_manifest_and_files_that_are_not_as_it_says(stopped: Settings) -> None:
    folder = stopped.store_dir
    (folder / "manifest.json").write_text('{"version": 1')
    assert "manifest.json is damaged" in wrong(stopped)["store"].seen
    file = DataFile("a.parquet", 1, 1, 1, 1, 0, 0, 100)
    Manifest(1, {"0": 0}, (file,)).write(folder)
    assert "1 files are missing, a.parquet first" in wrong(stopped)["store"].seen
    (folder / "a.parquet").write_bytes(bytes(99))
    assert "not as long" in wrong(stopped)["store"].seen
    (folder / "a.parquet").write_bytes(bytes(100))
    assert "cannot be opened" in wrong(stopped)["store"].seen


def test_a_torn_tail_is_no_problem_but_damage_is(stopped: Settings) -> None:
    (segment,) = stopped.journal_dir(0).glob("*.hpj")
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"HB1 torn")
    torn = look(stopped)["journal 0"]
    assert (torn.level, "unfinished block" in torn.seen) == (Level.WARNING, True)
    assert segment.read_bytes() == whole + b"HB1 torn"
    segment.write_bytes(b"?" + whole[1:])
    assert "no valid segment header" in wrong(stopped)["journal 0"].seen


def test_a_clock_that_was_set_back_and_a_full_disk(stopped: Settings) -> None:
    tomorrow = compose.now() + DAY_NS
    progress = compose.progress_file(stopped, 0)
    progress.write_bytes(struct.pack("<QQQQQ", 0, 0, tomorrow, 1, 0))
    found = wrong(stopped)
    assert "before what the hub saw last" in found["clock"].seen
    assert "its disk is full" in found["ingest"].seen


def test_a_disk_with_less_than_the_reserve(stopped: Settings) -> None:
    huge = stopped.ingest.model_copy(update={"reserve_bytes": 1 << 60})
    line = wrong(stopped.model_copy(update={"ingest": huge}))["disk space"]
    assert "takes no data" in line.seen


def test_a_hub_that_was_killed(stopped: Settings) -> None:
    (stopped.run_dir / "hub.json").write_text('{"pid": 1, "api_url": "https://127.0.0.1:1"}')
    line = look(stopped)["hub"]
    assert (line.level, "was killed" in line.seen) == (Level.WARNING, True)


def test_findings_older_than_the_database(stopped: Settings) -> None:
    with closing(sqlite3.connect(stopped.data_dir / "homeport.db")) as connection:
        connection.execute('INSERT INTO cursor (name, "offset") VALUES ("findings/0", 4096)')
        connection.commit()
    assert "restore both from one backup" in wrong(stopped)["reactor 0"].advice


def test_how_far_the_reactor_is_behind_both_logs(stopped: Settings) -> None:
    for folder in (stopped.findings_dir(0), stopped.deadletters_dir(0)):
        with JournalWriter.open(folder, now_ns=0, first_offset=8_000) as log:
            log.append(Kind.FINDINGS, [b"x" * 88], 0)
    begins = {name: line for name, line in wrong(stopped).items() if "reactor" in name}
    assert set(begins) == {"reactor 0", "dead letter reactor 0"}
    assert all("which begins at 8,000" in line.seen for line in begins.values())
    with closing(sqlite3.connect(stopped.data_dir / "homeport.db")) as connection:
        connection.execute('INSERT INTO cursor (name, "offset") VALUES ("findings/0", 8120)')
        connection.execute('INSERT INTO cursor (name, "offset") VALUES ("deadletters/0", 8000)')
        connection.commit()
    lines = look(stopped)
    assert lines["reactor 0"].seen == "0 bytes of findings are not alerts yet"
    assert lines["dead letter reactor 0"].seen.startswith("120 bytes of dead letters")


def test_a_check_that_fails_is_a_line_and_the_others_go_on(
    stopped: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_case: Case) -> Iterator[Line]:
        raise ZeroDivisionError

    monkeypatch.setattr(examination, "CHECKS", (broken, *examination.CHECKS))
    found = look(stopped)
    assert "ZeroDivisionError" in next(iter(found.values())).seen
    assert "database" in found


def test_the_age_of_signing_keys(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    now = compose.now()
    CertificateAuthority.load_or_create(settings.pki_dir, now)
    keys = SigningKeys.load_or_create(settings.keys_dir)
    first = keys.keys[0].kid
    engine = open_migrated(f"sqlite:///{tmp_path / 'homeport.db'}")
    second = keys.rotate(engine, HUB, now, DAY_NS).kid

    def seen(days: int) -> dict[str, tuple[Level, str]]:
        case = Case(settings, {}, running=False, now_ns=now + days * DAY_NS)
        return {line.check.split()[-1]: (line.level, line.seen) for line in signing.check(case)}

    assert seen(0)[first] == (Level.OK, "signs, 0 days old")
    assert seen(0)[second] == (Level.OK, "announced to devices, signs in 1 days")
    assert seen(1)[first][1] == "signs no longer; devices accept it for 1 more days at least"
    assert seen(401)[second] == (Level.WARNING, "401 days old")
    (settings.keys_dir / f"state-{second}.key").unlink()
    assert seen(0)["keys"][0] is Level.PROBLEM


def test_files_that_anybody_may_write(stopped: Settings) -> None:
    loose = stopped.store_dir / "loose"
    loose.write_text("x")
    loose.chmod(0o666)
    line = wrong(stopped)["file modes"]
    assert str(loose) in line.seen
    assert "chmod" in line.advice


def test_whom_the_hub_runs_as(stopped: Settings) -> None:
    line = look(stopped)["privilege"]
    assert (line.level is Level.WARNING) == (os.geteuid() == 0)


def test_a_settings_file_with_secrets_that_others_may_read(
    stopped: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "homeport.toml"
    file.write_text('[oidc]\nclient_secret = "x"\n')
    file.chmod(0o644)
    assert "chmod 600" in wrong(stopped)["settings file"].advice
    file.chmod(0o600)
    assert "settings file" not in wrong(stopped)


def test_every_node_of_a_cluster_is_asked(stopped: Settings) -> None:
    gone = [free_port(), free_port()]
    nodes = [{"host": "127.0.0.1", "mqtt_port": port, "client_port": 1} for port in gone]
    nodes[1]["client_port"], nodes[1]["route_port"] = 2, 3
    clustered = Settings.model_validate(
        {"data_dir": stopped.data_dir, "broker": {"kind": "nats-cluster", "nodes": nodes}}
    )
    lines = list(connections.check_broker(Case(clustered, {}, True, compose.now())))
    assert [line.level for line in lines] == [Level.PROBLEM] * 2
    assert all(
        f"127.0.0.1:{port} does not answer" in str(line)
        for port, line in zip(gone, lines, strict=True)
    )


def test_a_brokers_certificate_that_ends_soon_is_told(stopped: Settings) -> None:
    at, port = compose.now(), free_port()
    authority = CertificateAuthority.load_or_create(
        stopped.pki_dir, at, PkiSettings(server_days=20)
    )
    pair = save_pair(authority.issue_server(["127.0.0.1"], at), stopped.run_dir, "broker")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)

    def answer() -> None:
        with listener.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as secure:
            secure.recv(256)
            secure.sendall(b"\x20\x02\x00\x00")
            secure.recv(256)

    settings = stopped.model_copy(
        update={
            "mqtt": MqttSettings(port=port),
            "broker": BrokerSettings(kind="mosquitto"),
        }
    )
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = threading.Thread(target=answer, daemon=True)
        server.start()
        (line,) = connections.check_broker(Case(settings, {}, True, at))
        server.join()
    assert line.level is Level.WARNING
    assert "ends in 20 days" in line.seen
