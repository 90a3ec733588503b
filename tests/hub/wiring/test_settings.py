"""Settings: their sources, their errors, and what is shown of them."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from hub.config import BillingSettings, ConfigurationError, Settings, load
from hub.services.state import Place

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder and an environment without settings."""
    import os

    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("HOMEPORT_"):
            monkeypatch.delenv(name)


def test_defaults_run_on_this_machine_only(tmp_path: Path) -> None:
    settings = load(None)
    assert (settings.api.host, settings.mqtt.host) == ("127.0.0.1", "127.0.0.1")
    assert settings.data_dir == tmp_path / "data"
    assert settings.database_url.get_secret_value() == f"sqlite:///{tmp_path}/data/homeport.db"
    assert settings.device_brokers == (("localhost", 8883),)


def test_the_environment_is_stronger_than_the_file_and_the_file_than_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "other.toml"
    file.write_text('log_level = "debug"\n[mqtt]\nport = 1\nhost = "0.0.0.0"\n')
    monkeypatch.setenv("HOMEPORT_MQTT__PORT", "2")
    settings = load(file)
    assert settings.log_level == "debug"
    assert (settings.mqtt.host, settings.mqtt.port) == ("0.0.0.0", 2)  # noqa: S104  a comparison
    assert settings.api.port == 8443


def test_the_file_of_the_working_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "homeport.toml").write_text("[api]\nport = 0\n")
    assert load(None).api.port == 0


def test_public_hosts_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_PUBLIC_HOSTS", "hub.example.org, 192.0.2.7")
    assert load(None).public_hosts == ("hub.example.org", "192.0.2.7")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("spelling = 1", "spelling is not a setting"),
        ("[mqtt]\nprot = 1", r"mqtt\.prot is not a setting"),
        ("[mqtt]\nport = 99999", r"mqtt\.port: input should be less than or equal to 65535"),
        ('log_level = "loud"', "log_level: input should be 'debug'"),
        ('[broker]\nkind = "nats-cluster"', 'broker: kind = "nats-cluster" and nodes go together'),
        (
            '[broker]\nkind = "nats-cluster"\nnodes = [{host = "a"}, {host = "a", mqtt_port = 1}]',
            "two of nodes have the same host and port",
        ),
        ("public_hosts = []", "public_hosts: needs at least one"),
        ("[pki]\ndevice_days = 0", r"pki\.device_days: input should be greater than 0"),
        ("not toml", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        load(file)
    assert "\n" not in caught.value.detail
    assert str(file) in caught.value.detail


def test_the_documented_cluster_spreads_devices_over_its_nodes() -> None:
    settings = load(ROOT / "docs" / "operations" / "cluster" / "homeport.toml", {})
    assert settings.ingest.workers == 2
    place = Place(settings.device_brokers, "https://hub.example")
    firsts = {place.brokers_for(f"{shard:02x}")[0] for shard in range(256)}
    assert firsts == {("127.0.0.1", port) for port in (8883, 8884, 8885)}
    assert sorted(place.brokers_for("ff")) == sorted(settings.device_brokers)


def test_a_missing_file_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "name", ["HOMEPORT_SPELLING", "HOMEPORT_MQTT__PROT", "HOMEPORT_DATA_DIR__X", "HOMEPORT_"]
)
def test_an_unknown_variable_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigurationError, match=f"{name} names no setting"):
        load(None)


def test_secrets_are_neither_shown_nor_repeated_in_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://hub:hunter2@db.example.org/hub"
    monkeypatch.setenv("HOMEPORT_DATABASE__URL", url)
    settings = load(None)
    assert settings.database_url.get_secret_value() == url
    assert "hunter2" not in json.dumps(settings.public())
    assert "hunter2" not in repr(settings)
    file = tmp_path / "hub.toml"
    file.write_text('[database]\nurl = ["hunter2"]\n')
    monkeypatch.delenv("HOMEPORT_DATABASE__URL")
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert "hunter2" not in caught.value.detail


def test_settings_do_not_change_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().log_level = "debug"  # type: ignore[misc]


def test_what_collects_money_is_told_apart_from_a_demo() -> None:
    with pytest.raises(ValidationError, match=r"stripe needs billing\.stripe_key"):
        Settings(billing=BillingSettings(kind="stripe"))
    stripe = BillingSettings(kind="stripe", stripe_key=SecretStr("sk_x"))
    with pytest.raises(ValidationError, match="collects nothing"):
        Settings(demo=True, billing=stripe)
    assert "sk_x" not in str(Settings(billing=stripe).public())
    for wrong in ({"currency": "EURO"}, {"zone": "Mars/Base"}):
        with pytest.raises(ValidationError):
            BillingSettings.model_validate(wrong)
