"""How propcvm serve is configured, and how it says that it is not."""
import json

import pytest

from helpers.mqtt_manager import CHANNEL, KEY, PROPLET, TENANT, Broker, Manager, Proplet
from test_propcvm_serve import broker, file  # noqa: F401 (fixture)

NAMES = {"PROPLET_TENANT_ID": TENANT, "PROPLET_CHANNEL_ID": CHANNEL, "PROPLET_ENTITY_ID": PROPLET, "PROPLET_API_KEY": KEY}
OLD = {"PROPLET_DOMAIN_ID": TENANT, "PROPLET_CHANNEL_ID": CHANNEL, "PROPLET_CLIENT_ID": PROPLET, "PROPLET_CLIENT_KEY": KEY}


def refused(box, status, *args, env=NAMES):
    r = box.run("propcvm", "serve", "--json", "--metrics-listen", "off", *args, env=env, ok=status)
    assert KEY not in r.err and r.out == ""
    return r.error()


def works(box, broker, *args, **kw):  # noqa: F811
    m = Manager(broker)
    p = Proplet(box, broker, "--mqtt-address", broker.address, *args, identity=False, **kw)
    m.alive()
    assert m.run(file=file("add.wasm"), inputs=["1", "2"])["results"] == "3\n"
    assert KEY not in p.log()
    environ = open(f"/proc/{p.pid}/environ", "rb").read()
    assert KEY.encode() not in environ and b"PROPLET_" in environ
    assert KEY.encode() not in open(f"/proc/{p.pid}/cmdline", "rb").read()
    assert p.stop() == 0
    m.close()


def test_variables_of_both_generations(box, broker):  # noqa: F811
    works(box, broker, env=NAMES, name="new")
    works(box, broker, env=OLD, name="old")
    # the newer name wins
    works(box, broker, env={**OLD, **NAMES, "PROPLET_DOMAIN_ID": "x", "PROPLET_CLIENT_KEY": "y"}, name="both")


def test_options_and_key_files(box, broker, tmp_path):  # noqa: F811
    (box / "key").write_text(KEY + "\n")
    (box / "key").chmod(0o600)
    ids = ("--tenant-id", TENANT, "--channel-id", CHANNEL, "--entity-id", PROPLET)
    marker = {"PROPLET_LOG_LEVEL": "info"}
    works(box, broker, *ids, "--api-key-file", "key", env=marker, name="flags")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "proplet_api_key").write_text(KEY)
    (credentials / "proplet_api_key").chmod(0o400)
    works(box, broker, "--domain-id", TENANT, "--channel-id", CHANNEL, "--client-id", PROPLET,
          env={**marker, "CREDENTIALS_DIRECTORY": str(credentials)}, name="credentials")
    (box / "key").chmod(0o644)
    assert refused(box, 5, *ids, "--api-key-file", "key", env={})["code"] == "key-file-mode"
    assert refused(box, 8, *ids, "--api-key-file", "none", env={})["code"] == "not-found"
    (box / "key").write_text("\n")
    (box / "key").chmod(0o600)
    assert refused(box, 3, *ids, "--api-key-file", "key", env={})["code"] == "bad-api-key"


def test_the_toml_file(box, broker):  # noqa: F811
    section = f'tenant_id = "{TENANT}"\nentity_id = "{PROPLET}"\napi_key = "{KEY}"\nchannel_id = "{CHANNEL}"\n'
    (box / "config.toml").write_text(f"[manager]\nx = 1\n[proplet]\n{section}")
    (box / "other.toml").write_text("[proplet2]\n" + section.replace("tenant_id", "domain_id").replace("entity_id", "client_id")
                                    .replace("api_key", "client_key"))
    works(box, broker, env={"PROPLET_LOG_LEVEL": "info"}, name="toml")
    works(box, broker, env={"PROPLET_CONFIG_FILE": "other.toml", "PROPLET_CONFIG_SECTION": "proplet2"}, name="other")
    # what is set counts more than what the file says
    (box / "config.toml").write_text("[proplet]\n" + section.replace(CHANNEL, "wrong"))
    works(box, broker, env={"PROPLET_CHANNEL_ID": CHANNEL}, name="mixed")


def test_start_up_errors(box):
    """The words other proplets use, and their exit status."""
    e = refused(box, 1, env={})
    assert e["message"] == "config file 'config.toml' not accessible: No such file or directory"
    for name in ("tenant_id/PROPLET_TENANT_ID", "entity_id/PROPLET_ENTITY_ID", "api_key/PROPLET_API_KEY",
                 "channel_id/PROPLET_CHANNEL_ID"):
        assert name in e["hint"]
    (box / "config.toml").write_text("[manager]\n")
    assert refused(box, 1, env={})["message"] == "config section 'proplet' not found in TOML file"
    (box / "config.toml").write_text('[proplet]\ntenant_id = "t"\napi_key = ""\nchannel_id = 7\n')
    assert refused(box, 1, env={})["message"] == ("missing required proplet configuration: entity_id/PROPLET_ENTITY_ID, "
                                                  "api_key/PROPLET_API_KEY, channel_id/PROPLET_CHANNEL_ID")
    (box / "config.toml").write_text("[proplet\n")
    assert "config.toml" in refused(box, 1, env={})["message"]


@pytest.mark.parametrize("code, status, args", [
    ("mqtt-address", 3, ["--mqtt-address", "http://h"]),
    ("mqtt-plain", 5, ["--mqtt-address", "tcp://mqtt.example.com"]),
    ("mqtt-client-cert", 2, ["--mqtt-client-cert", "x"]),
    ("mqtt-name", 2, ["--tenant-id", "a/b"]),
    ("mqtt-name", 2, ["--entity-id", "+"]),
    ("bad-option-value", 2, ["--max-tasks", "0"]),
    ("bad-option-value", 2, ["--heartbeat", "x"]),
    ("bad-option-value", 2, ["--log-level", "loud"]),
    ("bad-option-value", 2, ["--log-format", "xml"]),
    ("bad-option-value", 2, ["--mqtt-qos", "3"]),
    ("io-error", 7, ["--mqtt-ca", "none.pem"]),
])
def test_settings_that_cannot_be(box, code, status, args):
    r = box.run("propcvm", "serve", "--json", "--metrics-listen", "off", *args, env=NAMES, ok=None, timeout=60)
    assert KEY not in r.err
    assert (r.error()["code"], r.returncode) == (code, status) or code == "io-error" and r.returncode == 7, r.err


def test_metrics_stay_on_this_machine(box):
    for listen, code in (("0.0.0.0:0", "listen-not-loopback"), ("[::]:0", "listen-not-loopback"), ("x", "listen"),
                         ("127.0.0.1:99999", "listen")):
        r = box.run("propcvm", "serve", "--json", "--metrics-listen", listen, env=NAMES, ok=2, timeout=60)
        assert r.error()["code"] == code


def test_what_is_ignored_is_said(box, broker):  # noqa: F811
    p = Proplet(box, broker, env={"PROPLET_LIVELINESS_INTERVAL": "10s", "PROPLET_HTTP_ENABLED": "yes",
                                  "PROPLET_PLUGIN_DIR": "/x", "PROPLET_USB_ENABLED": "no", "PROPLET_MQTT_QOS": "7"})
    p.says("PROPLET_LIVELINESS_INTERVAL has no effect: .* so 3 counts")
    p.says("PROPLET_HTTP_ENABLED has no effect")
    p.says("PROPLET_PLUGIN_DIR has no effect")
    assert "PROPLET_USB_ENABLED" not in p.log()
    assert p.stop() == 0


def test_show_config_has_no_secret(box):
    r = box.run("propcvm", "serve", "--show-config", env={**NAMES, "PROPLET_MQTT_ADDRESS": "tls://h"})
    assert "tls://h" in r.out and KEY not in r.out


def test_a_tee_that_is_asked_for(box):
    """Where it is not there, nothing else is taken instead; where it is, a key broker is wanted."""
    r = box.run("propcvm", "serve", "--json", "--metrics-listen", "off", "--tee", "snp", env=NAMES, ok=None, timeout=60)
    if r.returncode == 1:
        assert r.error()["message"].startswith("KBS URI must be configured when TEE is detected")
    else:
        assert r.returncode == 9 and "snp" in r.error()["message"].lower()
