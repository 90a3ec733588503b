"""What `homeport broker nats-conf` writes; the servers themselves run in `tests/e2e/test_cluster.py`."""

import datetime as dt
import re
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from hub.config import BrokerNode, BrokerSettings, Settings
from hub.ports.broker.nats_cluster import write_cluster
from hub.wiring import compose

NODES = tuple(
    BrokerNode(host=f"10.0.0.{number}", public_host=f"mqtt-{number}.example.org")
    for number in (1, 2, 3)
)


def written(tmp_path: Path) -> list[Path]:
    broker = BrokerSettings(kind="nats-cluster", nodes=NODES)
    settings = Settings(data_dir=tmp_path / "data", broker=broker)
    return write_cluster(compose.nats_cluster(settings, tmp_path / "nats"))


def test_each_node_gets_a_folder_that_only_its_owner_reads(tmp_path: Path) -> None:
    files = written(tmp_path)
    assert [file.parent.name for file in files] == ["node-1", "node-2", "node-3"]
    for file in files:
        assert {path.stat().st_mode & 0o777 for path in file.parent.iterdir()} == {0o600}
        assert file.parent.stat().st_mode & 0o777 == 0o700


def test_nodes_know_the_others_and_one_password_for_routes(tmp_path: Path) -> None:
    texts = [file.read_text() for file in written(tmp_path)]
    found = [re.findall(r"nats-route://node:(\S+)@([\d.]+):6222", text) for text in texts]
    assert [[host for _, host in routes] for routes in found] == [
        ["10.0.0.2", "10.0.0.3"],
        ["10.0.0.1", "10.0.0.3"],
        ["10.0.0.1", "10.0.0.2"],
    ]
    assert len({password for routes in found for password, _ in routes}) == 1
    assert all('"stream_replicas": 3' in text for text in texts)
    again = [file.read_text() for file in written(tmp_path)]
    assert (
        again == texts
    )  # with new certificates, but the same secrets: one node at a time may take it


def test_the_certificate_names_the_node_and_serves_both_ends_of_a_route(tmp_path: Path) -> None:
    file = written(tmp_path)[1]
    certificate = x509.load_pem_x509_certificate((file.parent / "server.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mqtt-2.example.org"]
    assert [str(found) for found in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.2"]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc > dt.timedelta(90)
