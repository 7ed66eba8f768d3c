"""propcvm detect and evidence, and attesting with hardware evidence: recorded reports and quotes, given out by a
machine of files (tests/helpers/stand_in.c). Nothing here ran on SEV or TDX hardware."""
import base64
import hashlib
import json
import os
import subprocess
import sys

import pytest

from conftest import BIN, BUILD, ROOT, SHARED, shared

sys.path.insert(0, str(ROOT / "tests" / "helpers"))
from rcar_proxy import RcarProxy  # noqa: E402

STAND_IN = BUILD / "stand-in"
PATH = "default/key/addition"
KID = f"kbs:///{PATH}"
ALLOW = 'package policy\nimport rego.v1\ndefault allow := false\nallow if data.plugin == "resource"\n'
SNP_NONCE, QUOTE_NONCE, QUOTE_RTMR = 0x50, 568, 376
ERRORS = "https://github.com/confidential-containers/kbs/errors/"


def measure(name):
    return json.loads(shared("fixtures", "measure", name).read_text())


class Machine:
    """A folder that plays the kernel's report interface."""

    def __init__(self, box, name):
        self.box, self.root = box, box / name
        self.recorded = self.root / ".recorded"
        self.recorded.mkdir(parents=True)

    def put(self, name, data):
        (self.recorded / name).write_bytes(data if isinstance(data, bytes) else data.encode())

    def run(self, tool, *args, ok=True, how="--tsm-root", **kw):
        if not (STAND_IN / tool).exists():
            pytest.skip(f"not built: stand-in/{tool}")
        r = self.box.run(STAND_IN / tool, *args, how, self.root, ok=ok, **kw)
        assert [p.name for p in self.root.iterdir()] == [".recorded"]  # no request slot is left behind
        return r


def snp_machine(box, report="snp-report-v3-genoa.json", certs=True):
    doc, m = measure(report), Machine(box, "snp")
    m.doc = doc
    m.report = bytearray(base64.b64decode(doc["report_base64"]))
    m.put("provider", "sev_guest\n")
    m.put("outblob", bytes(m.report))
    m.put("nonce-at", str(SNP_NONCE))
    if certs:
        m.put("auxblob", base64.b64decode(doc["cert_table_base64"]))
    return m


def tdx_machine(box, log=None):
    doc, m = measure("tdx-quote-v4.json"), Machine(box, "tdx")
    m.doc = doc
    m.quote = bytearray(base64.b64decode(doc["quote_base64"]))
    m.put("provider", "tdx_guest\n")
    m.put("nonce-at", str(QUOTE_NONCE))
    if log is not None:  # with the registers that this log replays to
        for i in range(4):
            m.quote[QUOTE_RTMR + 48 * i:QUOTE_RTMR + 48 * (i + 1)] = bytes.fromhex(log[f"rtmr{i}"])
        m.put("ccel", base64.b64decode(log["log_base64"]) + bytes(100))
    m.put("outblob", bytes(m.quote))
    return m


@pytest.fixture
def snp(box):
    return snp_machine(box)


@pytest.fixture
def tdx(box):
    return tdx_machine(box)


@pytest.fixture
def proxies():
    started = []

    def start(*args, **kw):
        started.append(RcarProxy(*args, **kw))
        return started[-1]
    yield start
    for p in started:
        p.stop()


def check(doc, name):
    return next(c for c in doc["checks"] if c["check"] == name)


# --- the installed tools ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("tool, verb", [("propcvm", ["detect"]), ("propcvm", ["evidence"]), ("propcvm", ["run", "x"]),
                                        ("propkey", ["attest"])])
def test_the_installed_tools_know_no_other_machine(box, tool, verb):
    for option in ("--tsm-root", "--sev-device"):
        r = box.run(tool, *verb, option, "x", "--json", ok=2)
        assert r.error()["code"] == "unknown-option"
        assert option not in box.run(tool, *verb[:1], "--help").out
    marks = (b"--tsm-root", b"--sev-device", b"/.recorded/")
    assert not any(m in (BIN / tool).read_bytes() for m in marks)
    if (STAND_IN / tool).exists():
        assert all(m in (STAND_IN / tool).read_bytes() for m in marks)


def test_detect_says_what_it_looked_for(box):
    r = box.run("propcvm", "detect", "--json", ok=None)
    doc = r.json()
    assert doc["tee"] in ("none", "snp", "tdx") and r.returncode == (1 if doc["tee"] == "none" else 0)
    tests = [s["test"] for s in doc["signs"]]
    for sign in ("/sys/kernel/config", "/sys/kernel/config/tsm/report", "/dev/sev-guest", "/dev/tdx_guest",
                 "/sys/devices/platform/sev-guest", "/proc/cpuinfo", "CPUID 0x21", "MSR 0xc0010131"):
        assert sign in tests
    if doc["tee"] == "none" and doc["active"] is None:
        assert box.run("propcvm", "detect", ok=1).out.startswith("none\n")


def test_the_environment_makes_no_tee(box):
    if box.run("propcvm", "detect", ok=None).returncode == 0:
        pytest.skip("this machine is a confidential VM")
    for env in ({"PROP_TEE": "snp"}, {"PROP_TEE": "tdx"}, {"AA_SAMPLE_ATTESTER_TEST": "1"}, {"ENABLE_SAMPLE_DEVICE": "1"}):
        assert box.run("propcvm", "detect", "--json", env=env, ok=1).json()["tee"] == "none"
        assert box.run("propcvm", "evidence", "--json", env=env, ok=9).error()["code"] == "no-tee"
    box.run("propcvm", "evidence", env={"PROP_TEE": "sample"})
    assert box.run("propcvm", "evidence", "--tee", "Sample", "--json", ok=2).error()["code"] == "bad-tee"


def test_sample_evidence_is_bound_to_its_text(box):
    doc = box.run("propcvm", "evidence", "--tee", "sample", "--bind", "hello", "--json").json()
    want = hashlib.sha384(b"hello").digest()
    assert doc["report_data"] == want.hex() and doc["ok"] and doc["checks"] == []
    assert base64.b64decode(doc["evidence"]["report_data"]) == want


# --- SNP ----------------------------------------------------------------------------------------------------------

def with_nonce(recorded, text):
    """The recorded evidence as it has to look when it is bound to this text."""
    want = json.loads(json.dumps(recorded))
    want["attestation_report"]["report_data"] = list(hashlib.sha384(text).digest() + bytes(16))
    return want


def test_snp_is_found(snp):
    doc = snp.run("propcvm", "detect", "--json").json()
    assert doc["tee"] == "snp" and doc["by"] == str(snp.root)
    assert snp.run("propcvm", "detect").out.startswith("snp\n")
    assert snp.run("propcvm", "evidence", "--tee", "tdx", "--json", ok=9).error()["code"] == "no-tee"


@pytest.mark.parametrize("how", ["--tsm-root", "--sev-device"])
def test_snp_evidence_is_what_was_recorded(snp, how):
    """Through configfs-tsm, and through the device of older kernels with its two steps."""
    doc = snp.run("propcvm", "evidence", "--bind", "hello", "--json", how=how).json()
    assert doc["tee"] == "snp" and doc["ok"]
    assert doc["evidence"] == with_nonce(snp.doc["evidence"], b"hello")
    shape = json.loads(shared("protocol", "transcripts", "kbs-snp-evidence-shape.json").read_text())
    assert list(doc["evidence"]) == list(shape)
    assert list(doc["evidence"]["attestation_report"]) == list(shape["attestation_report"])
    assert doc["summary"]["measurement"] == snp.doc["verifier_claims"]["measurement"]
    assert all(c["ok"] for c in doc["checks"]), doc["checks"]
    table = snp.run("propcvm", "evidence", "--bind", "hello", how=how).out
    assert snp.doc["verifier_claims"]["measurement"] in table and "ok      report-data" in table


def test_snp_evidence_in_a_file(snp):
    out = snp.box / "e.json"
    snp.run("propcvm", "evidence", "-o", out, "--bind", "x")
    assert json.loads(out.read_text()) == with_nonce(snp.doc["evidence"], b"x")
    assert snp.run("propcvm", "evidence", "-o", out, "--json", ok=7).error()["code"] == "file-exists"
    snp.run("propcvm", "evidence", "-o", out, "-f", "--bind", "y")
    assert json.loads(out.read_text()) == with_nonce(snp.doc["evidence"], b"y")


def test_a_report_that_is_not_ours(snp):
    (snp.recorded / "nonce-at").unlink()
    r = snp.run("propcvm", "evidence", "--json", ok=1)
    assert not r.json()["ok"] and check(r.json(), "report-data")["ok"] is False
    assert "FAILED  report-data" in snp.run("propcvm", "evidence", ok=1).out


@pytest.mark.parametrize("offset, value, name, code", [
    (0x000, 2, "report-version", "snp-report-version"),
    (0x030, 2, "vmpl", "snp-vmpl"),
    (0x00a, 0x0b, "debug", "debug-guest"),
    (0x048, 7 << 2, "signed", "snp-unsigned"),
])
def test_reports_that_are_not_sent(snp, kbs, proxies, offset, value, name, code):
    proxy = proxies(kbs.port)
    if offset == 0:  # version 2 has no processor numbers
        snp.report[0x188:0x18b] = bytes(3)
    snp.report[offset] = value
    snp.put("outblob", bytes(snp.report))
    doc = snp.run("propcvm", "evidence", "--json", ok=1).json()
    assert [c["check"] for c in doc["checks"] if c["fatal"] and not c["ok"]] == [name]
    e = snp.run("propkey", "attest", "--kbs", proxy.url, "--json", ok=None).error()
    assert e["code"] == code and e["hint"] and not proxy.said("attest")


def test_debug_is_allowed_where_it_is_said(snp, kbs, proxies):
    snp.report[0x00a] = 0x0b
    snp.put("outblob", bytes(snp.report))
    assert snp.run("propcvm", "evidence", "--allow-debug", "--json").json()["ok"]
    proxy = proxies(kbs.port)
    image = encrypted(snp.box, kbs)
    for args, code in (([], "debug-guest"), (["--allow-debug"], "attestation-error")):
        e = snp.run("propcvm", "run", image, "--kbs", proxy.url, "--json", *args, ok=None).error()
        assert e["code"] == code
    assert len(proxy.said("attest")) == 1


def test_a_report_newer_than_this_tool(snp):
    snp.report[0x04c] = 1
    snp.put("outblob", bytes(snp.report))
    e = snp.run("propcvm", "evidence", "--json", ok=9).error()
    assert e["code"] == "snp-report-layout" and "update" in e["hint"]
    snp.report[0x04c] = 0
    for data in (b"", bytes(snp.report[:-1]), bytes(snp.report) + b"\0"):
        snp.put("outblob", data)
        assert snp.run("propcvm", "evidence", "--json", ok=3).error()["message"]


def test_a_host_without_certificates(box, kbs):
    m = snp_machine(box, certs=False)
    doc = m.run("propcvm", "evidence", "--json").json()
    assert doc["ok"] and doc["evidence"]["cert_chain"] is None
    assert "AMD's key service" in check(doc, "certificates")["detail"]
    e = m.run("propkey", "attest", "--kbs", kbs.url, "--json", ok=5).error()
    assert e["code"] == "attestation-error" and "AMD's key service" in e["hint"]
    m.put("auxblob", b"\1" * 40)
    assert m.run("propcvm", "evidence", "--json", ok=3).error()["code"] == "snp-cert-table"


def test_other_providers(snp):
    snp.put("provider", "arm_cca_guest\n")
    assert snp.run("propcvm", "evidence", "--json", ok=9).error()["code"] == "no-tee"


# --- TDX ----------------------------------------------------------------------------------------------------------

def test_tdx_evidence_is_what_was_recorded(tdx):
    assert tdx.run("propcvm", "detect", "--json").json()["tee"] == "tdx"
    r = tdx.run("propcvm", "evidence", "--bind", "hello", "--json", ok=1)  # recorded in a TD with debugging
    assert check(r.json(), "debug")["ok"] is False
    doc = tdx.run("propcvm", "evidence", "--bind", "hello", "--allow-debug", "--json").json()
    quote = base64.b64decode(doc["evidence"]["quote"])
    want = hashlib.sha384(b"hello").digest() + bytes(16)
    assert quote == bytes(tdx.quote[:QUOTE_NONCE]) + want + bytes(tdx.quote[QUOTE_NONCE + 64:])
    assert doc["evidence"]["cc_eventlog"] is None and list(doc["evidence"]) == list(tdx.doc["evidence"])
    assert doc["summary"]["mr_td"] == tdx.doc["parsed"]["body"]["mr_td"]
    assert not check(doc, "event-log")["ok"]


def test_tdx_logs(box):
    logs = measure("eventlog.json")
    m = tdx_machine(box, logs["captured"][0])
    doc = m.run("propcvm", "evidence", "--allow-debug", "--json").json()
    assert doc["evidence"]["cc_eventlog"] == logs["captured"][0]["evidence_cc_eventlog"]
    assert check(doc, "event-log")["ok"] and doc["summary"]["events"] == len(logs["captured"][0]["events"])
    # With runtime events behind it, in RTMR3.
    aael = b"".join(bytes.fromhex(a["entry_hex"]) for a in logs["aael"])
    m.put("aael", aael)
    doc = m.run("propcvm", "evidence", "--allow-debug", "--json").json()
    assert doc["evidence"]["cc_eventlog"] is None and "not replay" in check(doc, "event-log")["detail"]
    m.quote[QUOTE_RTMR + 144:QUOTE_RTMR + 192] = bytes.fromhex(logs["aael_rtmr3_after_all"])
    m.put("outblob", bytes(m.quote))
    sent = base64.b64decode(m.run("propcvm", "evidence", "--allow-debug", "--json").json()["evidence"]["cc_eventlog"])
    assert sent == base64.b64decode(logs["captured"][0]["log_base64"]) + aael + b"\xff" * 8
    # Without a log of the firmware's, behind a header of our own.
    (m.recorded / "ccel").unlink()
    for i in range(3):
        m.quote[QUOTE_RTMR + 48 * i:QUOTE_RTMR + 48 * (i + 1)] = bytes(48)
    m.put("outblob", bytes(m.quote))
    sent = base64.b64decode(m.run("propcvm", "evidence", "--allow-debug", "--json").json()["evidence"]["cc_eventlog"])
    assert sent == bytes.fromhex(logs["no_ccel_header_hex"]) + aael + b"\xff" * 8


def test_a_quote_that_is_none(tdx):
    for data in (b"", bytes(tdx.quote[:600]), b"\3" + bytes(tdx.quote[1:])):
        tdx.put("outblob", data)
        assert tdx.run("propcvm", "evidence", "--json", ok=3).error()["code"] == "tdx-quote"


# --- init-data ----------------------------------------------------------------------------------------------------

def register(td, value):
    """What the TD reads of itself: no host is asked for that."""
    folder = td.recorded / "measurements"
    folder.mkdir(exist_ok=True)
    (folder / "mrconfigid").write_bytes(bytes(value))


def test_a_quote_is_not_believed_about_init_data(box, kbs, proxies):
    """The host makes the quote: one that names the document it handed over proves nothing in here."""
    proxy = proxies(kbs.port, translate=True)
    case = measure("initdata.json")["cases"][0]
    td, doc = tdx_machine(box), box / "init.toml"
    doc.write_text(case["toml"])
    raw, pin = bytearray(td.quote), bytes.fromhex(case["tdx_mrconfigid"])
    raw[168] = 0
    raw[232:232 + len(pin)] = pin
    td.put("outblob", bytes(raw))
    for value, code in ((None, "no-tdx-guest"), (bytes(48), "init-data-mismatch"), (pin.ljust(48, b"\0"), None)):
        if value is not None:
            register(td, value)
        before = len(proxy.requests)
        r = td.run("propkey", "attest", "--init-data", doc, "--kbs", proxy.url, "--json", ok=None)
        own = td.run("propcvm", "evidence", "--init-data", doc, "--json", ok=None)
        if code:
            assert r.error()["code"] == own.error()["code"] == code and len(proxy.requests) == before
        else:
            assert r.returncode == own.returncode == 0 and len(proxy.requests) > before


def test_init_data_is_checked_before_anybody_is_asked(box, kbs, proxies):
    proxy = proxies(kbs.port, translate=True)
    cases = measure("initdata.json")
    snp, td = snp_machine(box), tdx_machine(box)
    doc = box / "init.toml"
    for case in cases["cases"]:
        doc.write_text(case["toml"])
        for m, offset, pin, flags in ((snp, 0x0c0, "snp_host_data", []), (td, 232, "tdx_mrconfigid", ["--allow-debug"])):
            raw = bytearray(m.report if m is snp else m.quote)
            m.put("outblob", bytes(raw))
            if m is td:
                register(td, raw[232:280])
            before = len(proxy.requests)
            r = m.run("propcvm", "evidence", "--init-data", doc, "--json", *flags, ok=1)
            assert not check(r.json(), "init-data")["ok"]
            e = m.run("propkey", "attest", "--init-data", doc, "--kbs", proxy.url, "--json", ok=4).error()
            assert e["code"] == "init-data-mismatch" and len(proxy.requests) == before
            value = bytes.fromhex(case[pin])
            raw[offset:offset + len(value)] = value
            if m is td:
                raw[168] = 0  # td_attributes: no debugging
                register(td, raw[232:280])
            m.put("outblob", bytes(raw))
            assert check(m.run("propcvm", "evidence", "--init-data", doc, "--json", *flags).json(), "init-data")["ok"]
            m.run("propkey", "attest", "--init-data", doc, "--kbs", proxy.url)
            assert proxy.sent()[-1]["init-data"] == case["attestation_init_data"]
    for case in cases["must_refuse"]:
        doc.write_text(case["toml"])
        before = len(proxy.requests)
        assert snp.run("propcvm", "evidence", "--init-data", doc, "--json", ok=None).error()["message"]
        e = snp.run("propkey", "attest", "--init-data", doc, "--kbs", proxy.url, "--json", ok=None).error()
        assert e["code"] in ("bad-init-data", "init-data-algorithm") and len(proxy.requests) == before


# --- the whole way ------------------------------------------------------------------------------------------------

def encrypted(box, kbs):
    """An image whose key lies at the key broker, which gives it to whoever attests."""
    kek = box / "kek"
    kek.write_bytes(os.urandom(32))
    kek.chmod(0o600)
    admin = ("--kbs", kbs.url, "--admin-key", kbs.admin_key)
    (box / "allow.rego").write_text(ALLOW)
    box.run("propkey", "set", PATH, kek, *admin)
    box.run("propkey", "policy", "set", "allow.rego", "--allow-wider", *admin)
    box.run("propenc", "encrypt", ROOT / "examples/modules/add.wasm", "oci:img:v1", "-r",
            f"provider:attestation-agent:keypath={kek}::keyid={KID}::algorithm=A256GCM")
    return "oci:img:v1"


@pytest.mark.parametrize("key_type, kty, crv", [("p256", "EC", "P-256"), ("p521", "EC", "P-521"), ("rsa", "RSA", None)])
def test_run_with_snp_evidence(snp, kbs, proxies, key_type, kty, crv):
    """Evidence as recorded but for the nonce, bound to key and nonce; a key comes back; the module runs."""
    proxy = proxies(kbs.port, translate=True)
    image = encrypted(snp.box, kbs)
    r = snp.run("propcvm", "run", image, "--kbs", proxy.url, "--tee-key-type", key_type, "--invoke", "add", "--", "10", "20")
    assert r.out.strip() == "30"
    body = proxy.sent()[0]
    assert list(body) == ["init-data", "runtime-data", "tee-evidence"] and body["init-data"] is None
    jwk = body["runtime-data"]["tee-pubkey"]
    assert jwk["kty"] == kty and jwk.get("crv") == crv
    runtime = {**body["runtime-data"], "additional-evidence": ""}
    bound = hashlib.sha384(json.dumps(runtime, sort_keys=True, separators=(",", ":")).encode()).digest()
    want = json.loads(json.dumps(snp.doc["evidence"]))
    want["attestation_report"]["report_data"] = list(bound + bytes(16))
    assert body["tee-evidence"] == {"primary_evidence": want, "additional_evidence": ""}
    assert json.loads(proxy.said("auth")[0][3])["tee"] == "snp"


def test_run_with_tdx_evidence(box, kbs, proxies):
    log = measure("eventlog.json")["captured"][0]
    m = tdx_machine(box, log)
    proxy = proxies(kbs.port, translate=True)
    image = encrypted(box, kbs)
    args = ("run", image, "--kbs", proxy.url, "--invoke", "add")
    assert m.run("propcvm", *args, "--json", "--", "10", "20", ok=105).error()["code"] == "debug-guest"
    assert m.run("propcvm", *args, "--allow-debug", "--", "10", "20").out.strip() == "30"
    e = proxy.sent()[0]["tee-evidence"]["primary_evidence"]
    assert e["cc_eventlog"] == log["evidence_cc_eventlog"]


def test_a_key_broker_that_takes_no_hardware_evidence(snp, kbs, proxies):
    """propkbs has no verifier for it, and says what a real one says of evidence it does not take."""
    proxy = proxies(kbs.port)
    image = encrypted(snp.box, kbs)
    e = snp.run("propcvm", "run", image, "--kbs", proxy.url, "--json", ok=105).error()
    assert e["code"] == "attestation-error"
    refusal = shared("protocol", "transcripts", "kbs-rcar-attest-wrong-report-data.http").read_text().strip().splitlines()[-1]
    (attest,) = proxy.said("attest")  # no evidence is offered twice
    assert attest[4] == 401 and json.loads(attest[5]) == json.loads(refusal)
    assert [r[1].rsplit("/", 1)[1] for r in proxy.requests] == ["auth", "attest"]


def test_without_the_nonce_nothing_is_sent(snp, kbs, proxies):
    (snp.recorded / "nonce-at").unlink()
    proxy = proxies(kbs.port)
    image = encrypted(snp.box, kbs)
    e = snp.run("propcvm", "run", image, "--kbs", proxy.url, "--json", ok=104).error()
    assert e["code"] == "report-data"
    assert snp.run("propkey", "attest", "--kbs", proxy.url, "--json", ok=4).error()["code"] == "report-data"
    assert not proxy.said("attest")


def test_a_sample_device_goes_along(box, kbs, proxies):
    proxy = proxies(kbs.port)
    env = {"ENABLE_SAMPLE_DEVICE": "1"}
    image = encrypted(box, kbs)
    box.run("propcvm", "run", image, "--kbs", proxy.url, "--tee", "sample", "--invoke", "add", "--", "1", "2", env=env)
    additional = json.loads(proxy.sent()[0]["tee-evidence"]["additional_evidence"])
    assert additional["sampledevice"]["svn"] == "2"
    claims = json.loads(proxy.said("attest")[0][5])["token"].split(".")[1]
    ear = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert sorted(ear["submods"]) == ["cpu0", "gpu0"]


def test_options_that_are_wrong(box, kbs):
    image = encrypted(box, kbs)
    run = ("propcvm", "run", image, "--kbs", kbs.url, "--tee", "sample", "--json")
    assert box.run(*run, "--tee-key-type", "p384", ok=2).error()["code"] == "bad-tee-key-type"
    assert box.run(*run, "--init-data", "nowhere.toml", ok=None).error()["code"] == "not-found"
    (box / "bad.toml").write_text("version = 1\n")
    assert box.run(*run, "--init-data", "bad.toml", ok=None).error()["code"] == "bad-init-data"


# --- the pinned certificate -----------------------------------------------------------------------------------------

CA = """[ca]
default_ca = d
[d]
database = {0}/index
serial = {0}/serial
new_certs_dir = {0}
default_md = sha256
policy = p
x509_extensions = x
[p]
commonName = supplied
[x]
subjectAltName = IP:127.0.0.1
basicConstraints = CA:FALSE
"""


def long_ago(box, name):
    """A self-signed certificate for 127.0.0.1 that was over years ago, and its key."""
    folder = box / name
    folder.mkdir()
    (folder / "index").write_text("")
    (folder / "serial").write_text("01\n")
    (folder / "ca.conf").write_text(CA.format(folder))
    key, csr, crt = folder / "key.pem", folder / "csr.pem", folder / "crt.pem"
    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, cwd=folder)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr,
            "-subj", "/CN=kbs")
    openssl("ca", "-batch", "-selfsign", "-config", "ca.conf", "-keyfile", key, "-in", csr, "-out", crt, "-notext",
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
    return crt, key


def test_a_pinned_certificate_counts_whatever_the_clock_says(box, kbs, proxies):
    crt, key = long_ago(box, "old")
    other, _ = long_ago(box, "other")
    proxy = proxies(kbs.port, tls=(crt, key))
    image = encrypted(box, kbs)
    run = ("propcvm", "run", image, "--kbs", proxy.url, "--tee", "sample", "--invoke", "add", "--json")
    assert box.run(*run, "--ca-cert", crt, "--", "10", "20").json()["results"] is not None
    # Another one does not, nor does it count without being named, nor outside of a guest.
    assert box.run(*run, "--ca-cert", other, "--", "10", "20", ok=106).error()["code"] == "tls"
    assert box.run(*run, "--", "10", "20", ok=106).error()["code"] == "tls"
    e = box.run("propkey", "attest", "--tee", "sample", "--kbs", proxy.url, "--ca-cert", crt, "--json", ok=6).error()
    assert e["code"] == "tls" and "expired" in e["message"]


def test_proxies_of_the_environment_are_ignored(box, kbs):
    image = encrypted(box, kbs)
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY")}
    r = box.run("propcvm", "run", image, "--kbs", kbs.url, "--tee", "sample", "--invoke", "add", "--", "1", "2",
                env={**nowhere, "no_proxy": "", "NO_PROXY": ""})
    assert r.out.strip() == "3"
