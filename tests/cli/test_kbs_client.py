"""propkey called as kbs-client: every recorded command line of that tool, run again and compared."""
import base64
import http.server
import json
import os
import pathlib
import re
import shlex
import subprocess
import threading

import pytest

from conftest import BIN, SHARED, shared

OK_REGO = 'package policy\nimport rego.v1\ntrust_claims := {"executables": 3, "hardware": 2, "configuration": 2}\n'
BAD_REGO = "package policy\nallow if {"
SECRET = b"0123456789abcdef0123456789abcdef"
SAMPLE = {"PROP_TEE": "sample"}


class Case:
    """One recorded run: command line, stdout, stderr, exit status."""

    def __init__(self, text):
        line, _, rest = text.partition("\n[stdout]\n")
        self.argv = shlex.split(line)[1:]
        out, _, rest = rest.partition("[stderr]\n")
        err, _, status = rest.rpartition("[exit ")
        self.out, self.err, self.status = out, err, int(status.split("]")[0])

    @property
    def error(self):
        """stderr from the "Error:" or "error:" line on, which is what the tool says at its end."""
        m = re.search(r"^(Error|error): ", self.err, re.M)
        return self.err[m.start():] if m else ""

    def __str__(self):
        return " ".join(self.argv)


def recorded(name):
    path = SHARED / "protocol" / "transcripts" / name
    if not path.exists():
        return []
    parts = re.split(r"^\$ kbs-client ?", path.read_text(), flags=re.M)[1:]
    return [Case("kbs-client " + p) for p in parts]


CLI = recorded("kbs-client-cli.txt")
HELP = recorded("kbs-client-help.txt")

# Recorded runs whose output differs, and why; (words that must all stand in the command line).
OWN_OUTPUT = [
    (("set-resource", "res.bin"), "a secret is not echoed without --show-secret"),
    (("set-resource-policy", "--affirming"), "our preset text"),
    (("set-resource-policy", "--allow-all"), "our preset text"),
    (("set-resource-policy", "--deny-all"), "our preset text"),
    (("attest",), "a token is new each time"),
]
# Error texts that are a debug print of that tool's HTTP library: ours begin alike.
OWN_ERROR = {
    "http request failed: get failed": "Error: http request failed: get failed: ",
    "RCAR handshake failed": "Error: RCAR handshake failed: Unable to get token",
}


def prepare(box, k):
    (box / "admin.token").write_bytes(box.run("propkey", "admin-token", "--admin-key", k.admin_key).stdout)
    os.chmod(box / "admin.token", 0o600)
    (box / "res.bin").write_bytes(SECRET)
    os.chmod(box / "res.bin", 0o600)
    (box / "ok.rego").write_text(OK_REGO)
    (box / "bad.rego").write_text(BAD_REGO)
    box.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "tee.pem")
    box.run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "tee8.pem")
    box.run("openssl", "rsa", "-traditional", "-in", "tee8.pem", "-out", "tee1.pem")
    for f in ("tee.pem", "tee8.pem", "tee1.pem"):
        os.chmod(box / f, 0o600)


def kc(box, *argv, ok=True, env=None, cwd=None):
    return box.run("kbs-client", *argv, ok=ok, env={**SAMPLE, **(env or {})}, cwd=cwd)


def at(argv, url):
    return [a.replace("http://127.0.0.1:8080", url) for a in argv]


def has_own_output(case):
    return case.status == 0 and any(all(w in case.argv for w in words) for words, _ in OWN_OUTPUT)


def check_own_output(case, r):
    if "set-resource" in case.argv:
        assert r.out.startswith("Set resource success \n resource: ")
        assert base64.b64encode(SECRET).decode() not in r.out + r.err
    elif "set-resource-policy" in case.argv:
        first, second = r.out.split("\n", 1)
        assert first == case.out.split("\n", 1)[0]
        text = base64.b64decode(second.removeprefix(" policy: ").strip(), validate=True).decode()
        assert "package policy" in text
    else:
        assert r.out.count(".") == 2 and r.out.endswith("\n")


def check_error(case, r, url):
    want = case.error.replace("http://127.0.0.1:8080", url)
    for word, prefix in OWN_ERROR.items():
        if word in want:
            assert prefix in r.err
            return
    assert r.err.endswith(want), (r.err, want)


def test_the_recording_in_its_order(box, kbs):
    """One server, all recorded lines one after the other, as they were recorded."""
    if not CLI:
        pytest.skip("not there: PROP_SHARED/protocol/transcripts/kbs-client-cli.txt")
    prepare(box, kbs)
    for case in CLI:
        r = kc(box, *at(case.argv, kbs.url), ok=None)
        assert r.returncode == case.status, f"{case}\n{r.err}"
        if has_own_output(case):
            check_own_output(case, r)
            if "attest" in case.argv and "--tee-key-file" in case.argv:
                (box / "tok").write_text(r.out)
        else:
            assert r.out == case.out, str(case)
        if case.status:
            check_error(case, r, kbs.url)
        assert "Failed to read: kbs/config" not in case.err or "Failed to read: kbs/config" in r.err


def structure(text):
    """A help text without its sentences: usage line, headings, names of commands, options, arguments."""
    usage = re.search(r"^Usage: .*$", text, re.M).group(0)
    names = re.findall(r"^ {2,8}(-\w, --[\w-]+|--[\w-]+(?: <\w+>)?|[<\[]\w+[>\]]|[a-z][a-z-]+)(?=  |$)", text, re.M)
    return usage, [h for h in ("Commands:", "Arguments:", "Options:") if f"\n{h}\n" in text], set(names)


@pytest.mark.parametrize("case", HELP, ids=str)
def test_help_has_the_recorded_structure(box, case):
    r = kc(box, *case.argv, ok=case.status)
    if "--version" in case.argv:
        assert r.out == case.out
        return
    mine, theirs = (r.out, case.out) if case.status == 0 else (r.err, case.err)
    assert (r.out == "") == (case.out == "")
    usage, headings, names = structure(mine)
    assert (usage, headings) == structure(theirs)[:2]
    assert structure(theirs)[2] <= names
    assert names - structure(theirs)[2] <= {"--auth-private-key <AUTH_PRIVATE_KEY>", "--show-secret"}


def test_without_the_recording_a_working_day(box, kbs):
    """The common commands, with what a script looks at."""
    prepare(box, kbs)
    admin = ("--url", kbs.url, "config", "--admin-token-file", "admin.token")
    r = kc(box, *admin, "set-resource", "--path", "default/key/k", "--resource-file", "res.bin", "--show-secret")
    assert r.out == f"Set resource success \n resource: {base64.b64encode(SECRET).decode()}\n"
    assert kc(box, *admin, "set-resource-policy", "--allow-all").out.startswith("Set resource policy success \n policy: ")
    assert kc(box, "--url", kbs.url, "get-resource", "--path", "default/key/k").out.strip() == base64.b64encode(SECRET).decode()
    token = kc(box, "--url", kbs.url, "attest", "--tee-key-file", "tee1.pem").out
    (box / "tok").write_text(token)
    r = kc(box, "--url", kbs.url + "/", "get-resource", "--path", "default/key/k", "--attestation-token", "tok",
           "--tee-key-file", "tee1.pem")
    assert base64.b64decode(r.out) == SECRET
    assert kc(box, *admin, "delete-resource", "--path=default/key/k").out == "Delete resource success\n"
    r = kc(box, "--url", kbs.url, "get-resource", "--path", "default/key/k", ok=1)
    assert r.out == "" and r.err.endswith("Error: request unauthorized\n")
    r = kc(box, *admin, "delete-resource", "--path", "default/key/k", ok=1)
    assert r.err.startswith('Error: Request Failed, Response: "{\\"type\\":\\"https://')


def test_the_key_of_v0_20_signs(box, kbs):
    prepare(box, kbs)
    config = ("--url", kbs.url, "config", "--auth-private-key", kbs.admin_key)
    kc(box, *config, "set-resource", "--path", "a/b/c", "--resource-file", "res.bin")
    r = kc(box, *config, "--admin-token-file", "admin.token", "set-resource", "--path", "a/b/c", "--resource-file",
           "res.bin", ok=2)
    assert r.err.startswith("error: the argument '--auth-private-key <AUTH_PRIVATE_KEY>' cannot be used with "
                            "'--admin-token-file <ADMIN_TOKEN_FILE>'\n\nUsage: kbs-client config --auth-private-key")
    r = kc(box, "--url", kbs.url, "config", "--auth-private-key", "tee8.pem", "delete-resource", "--path", "a/b/c", ok=1)
    assert "Ed25519" in r.err


def test_a_server_that_demands_an_audience_is_a_refusal(box, kbs_factory):
    k = kbs_factory("--audience", "kbs")
    r = kc(box, "--url", k.url, "config", "--auth-private-key", k.admin_key, "set-resource-policy", "--deny-all", ok=1)
    assert "AdminAuthAccess" in r.err


def test_where_a_token_is_looked_for(box, kbs):
    prepare(box, kbs)
    token = (box / "admin.token").read_text()
    delete = ("--url", kbs.url, "config", "set-resource", "--path", "a/b/c", "--resource-file", box / "res.bin")
    r = kc(box, *delete, ok=1)
    assert r.err.startswith("Failed to read: kbs/config/docker-compose/admin-token\n")
    assert "kbs-client: warning: no admin token" in r.err and "Bearer header" in r.err
    trustee = box.home / ".trustee"
    trustee.mkdir()
    (trustee / "admin-token").write_text(f"\n  {token}  \n")
    assert "Failed to read: kbs/config" in kc(box, *delete).err
    near = box / "kbs" / "config" / "docker-compose"
    near.mkdir(parents=True)
    (near / "admin-token").write_text("no.such.token")
    assert "Cannot verify token" in kc(box, *delete, ok=1).err  # the one in the working folder goes first
    (near / "admin-token").write_text(token)
    assert "Failed to read" not in kc(box, *delete).err


def test_a_token_file_that_others_can_read_is_a_warning(box, kbs):
    prepare(box, kbs)
    os.chmod(box / "admin.token", 0o644)
    argv = ("--url", kbs.url, "config", "--admin-token-file", "admin.token", "set-resource-policy", "--deny-all")
    r = kc(box, *argv)
    assert "can be read by others (mode 644)" in r.err
    assert "can be read" not in kc(box, *argv, env={"RUST_LOG": "error"}).err


def test_default_uploads_the_default_policy(box, kbs):
    prepare(box, kbs)
    config = ("--url", kbs.url, "config", "--admin-token-file", "admin.token")
    shown = kc(box, *config, "set-resource-policy", "--default").out.split("policy: ")[1]
    deny = kc(box, *config, "set-resource-policy", "--deny-all").out.split("policy: ")[1]
    assert shown != deny and "sample" in base64.b64decode(shown).decode()


def test_sample_evidence_has_to_be_asked_for(box, kbs):
    for argv in (("attest",), ("get-resource", "--path", "a/b/c")):
        r = box.run("kbs-client", "--url", kbs.url, *argv, ok=1)
        assert r.out == "" and "Error: " in r.err and "PROP_TEE=sample" in r.err


def test_init_data_is_the_last_word(box, kbs):
    init = 'algorithm = "sha384"\nversion = "0.1.0"\n[data]\n"a.toml" = "x = 1"\n'
    token = kc(box, "--url", kbs.url, "attest", init).out
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert "a.toml" in json.dumps(claims)


@pytest.mark.parametrize("argv,first", [
    (["--nope"], "error: unexpected argument '--nope' found"),
    (["nope"], "error: unrecognized subcommand 'nope'"),
    (["config", "--url", "x"], "error: unexpected argument '--url' found"),
    (["config", "nope"], "error: unrecognized subcommand 'nope'"),
    (["--url"], "error: a value is required for '--url <URL>' but none was supplied"),
    (["--url", "--cert-file"], "error: a value is required for '--url <URL>' but none was supplied"),
    (["--url", "a", "--url", "b"], "error: the argument '--url <URL>' cannot be used multiple times"),
    (["config", "set-resource", "--path", "a"],
     "error: the following required arguments were not provided:\n  --resource-file <RESOURCE_FILE>\n\n"
     "Usage: kbs-client config set-resource --path <PATH> --resource-file <RESOURCE_FILE>\n"),
    (["config", "set-sample-reference-value", "a"],
     "error: the following required arguments were not provided:\n  <VALUE>\n\n"
     "Usage: kbs-client config set-sample-reference-value [OPTIONS] <NAME> <VALUE>\n"),
    (["attest", "a", "b"], "error: unexpected argument 'b' found"),
    (["get-resource"], "error: the following required arguments were not provided:\n  --path <PATH>\n"),
    (["config", "set-resource-policy", "--allow-all=1"],
     "error: unexpected value '1' for '--allow-all' found; no more were expected"),
    (["config", "set-sample-reference-value", "a", "-1"], "error: unexpected argument '-1' found"),
    (["help", "nope"], "error: unrecognized subcommand 'nope'"),
])
def test_mistakes_are_refused_as_its_parser_does(box, argv, first):
    r = kc(box, *argv, ok=2)
    assert r.out == "" and r.err.startswith(first)
    assert r.err.endswith("\nFor more information, try '--help'.\n")


@pytest.mark.parametrize("words", [["attest"], ["config", "--auth-private-key", "admin.key", "delete-resource", "--path", "a/b/c"]])
def test_a_password_in_the_url_is_not_repeated(box, words):
    box.run("propkey", "admin-keygen")
    r = kc(box, "--url", "http://user:pa55word@127.0.0.1:1", *words, ok=1, env={"PROP_TEE": "sample"})
    assert "user name" in r.err and "pa55word" not in r.err + r.out


def test_help_of_a_command_by_word_and_by_flag(box):
    assert kc(box, "help", "config", "set-resource").out == kc(box, "config", "set-resource", "-h").out
    assert kc(box, "help").out == kc(box, "--help").out
    assert kc(box, "-V").out == "KBS client 0.1.0\n"


@pytest.mark.parametrize("argv,stored", [
    (["a", "x y"], '["x y"]'), (["a", "x", "--as-single-value"], '"x"'), (["a", "7", "--as-integer"], "[7]"),
    (["a", "+7", "--as-single-value", "--as-integer"], "7"), (["--as-bool", "a", "false"], "[false]"),
    (["--as-integer", "--", "a", "-7"], "[-7]"), (["a", 'q"\\'], '["q\\"\\\\"]'),
])
def test_reference_values(box, kbs, argv, stored):
    prepare(box, kbs)
    config = ("--url", kbs.url, "config", "--admin-token-file", "admin.token")
    assert kc(box, *config, "set-sample-reference-value", *argv).out == "Reference Values Updated\n"
    shown = kc(box, *config, "get-reference-value", "--id", "a").out
    assert shown == json.dumps(stored) + "\n"  # for such texts Rust's debug form is JSON's


@pytest.mark.parametrize("argv,message", [
    (["a", "", "--as-integer"], "cannot parse integer from empty string"),
    (["a", "2147483648", "--as-integer"], "number too large to fit in target type"),
    (["--as-integer", "--", "a", "-2147483649"], "number too small to fit in target type"),
    (["a", "1x", "--as-integer"], "invalid digit found in string"),
    (["a", "True", "--as-bool"], "provided string was not `true` or `false`"),
])
def test_reference_values_that_are_none(box, kbs, argv, message):
    prepare(box, kbs)
    r = kc(box, "--url", kbs.url, "config", "--admin-token-file", "admin.token", "set-sample-reference-value", *argv, ok=1)
    assert r.out == "" and r.err == f"Error: {message}\n"


def test_tls_with_its_certificate(box, kbs_factory):
    k = kbs_factory("--tls")
    prepare(box, k)
    argv = ("config", "--admin-token-file", "admin.token", "set-resource-policy", "--deny-all")
    kc(box, "--url", k.url, "--cert-file", k.ca, *argv)
    r = kc(box, "--url", k.url, *argv, ok=1)
    assert r.out == "" and r.err.startswith("Error: error sending request for url (https://") and "Caused by:" in r.err
    r = kc(box, "--url", k.url, "--cert-file", "nosuch", *argv, ok=1)
    assert r.err == "Error: No such file or directory (os error 2)\n"


def test_propkey_knows_what_was_done_under_the_other_name(box, kbs):
    prepare(box, kbs)
    config = ("--url", kbs.url, "config", "--admin-token-file", "admin.token")
    kc(box, *config, "set-resource", "--path", "default/key/k", "--resource-file", "res.bin")
    box.run("propkey", "gen", "other.kek")
    r = box.run("propkey", "set", "default/key/k", "other.kek", "--kbs", kbs.url, "--admin-key", kbs.admin_key, "--json",
                ok=None)
    assert r.error()["code"] == "key-in-use"
    r = kc(box, *config, "set-resource", "--path", "default/key/k", "--resource-file", "other.kek")
    assert "held another key" in r.err  # that tool overwrites, and so do we; but not in silence


class Recorder:
    """A server that keeps what it is sent and says yes to everything."""

    def __init__(self):
        outer = self
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.seen.append((self.command, self.path, self.headers.get("Content-Type"),
                                   self.headers.get("Authorization"), body.decode("latin-1")))
                self.send_response(200)
                self.send_header("Content-Length", "5")
                self.end_headers()
                self.wfile.write(b'["1"]')

            do_GET = do_POST = do_DELETE = any

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def wire():
    """The recorded admin requests: method, path, content type, body."""
    text = shared("protocol", "transcripts", "kbs-client-wire.txt").read_text()
    for part in text.split("\n>>> ")[1:]:
        head, _, rest = part.partition("\n\n")
        body = rest.partition("\n\n<<< ")[0].strip("\n")
        method, path, _ = head.splitlines()[0].split()
        headers = dict(h.split(": ", 1) for h in head.splitlines()[1:])
        if "authorization" in headers:
            yield method, path, headers.get("content-type"), "Bearer", body


def test_the_same_requests_on_the_wire(box):
    """Each admin command sends what was recorded of the real client, byte for byte of the body."""
    recorder = Recorder()
    (box / "tok").write_text("  a.b.c \n")
    os.chmod(box / "tok", 0o600)
    (box / "res.bin").write_bytes(SECRET)
    (box / "ok.rego").write_text(OK_REGO)
    config = ("--url", recorder.url, "config", "--admin-token-file", "tok")
    for argv in (["set-resource", "--path", "default/key/k1", "--resource-file", "res.bin"],
                 ["set-attestation-policy", "--policy-file", "ok.rego"],
                 ["set-sample-reference-value", "svn", "1"], ["get-reference-value", "--id", "svn"],
                 ["delete-resource", "--path", "default/key/zz"]):
        kc(box, *config, *argv)
    recorder.server.shutdown()
    theirs = [r for r in wire() if r[1] != "/kbs/v0/resource-policy"]
    assert [r[3] for r in recorder.seen] == ["Bearer a.b.c"] * 5
    assert [(m, p, t, "Bearer", b) for m, p, t, _, b in recorder.seen] == theirs


def real_kbs_client():
    for folder in os.environ["PATH"].split(":"):
        path = pathlib.Path(folder) / "kbs-client"
        if os.access(path, os.X_OK) and path.resolve().name != "propkey":
            return path
    pytest.skip("peer not installed: kbs-client")


def test_the_real_one_says_the_same(box, kbs):
    real = real_kbs_client()
    prepare(box, kbs)
    config = ["--url", kbs.url, "config", "--admin-token-file", "admin.token"]
    for argv in ([*config, "set-sample-reference-value", "svn", "1"], [*config, "get-reference-value", "--id", "svn"],
                 [*config, "get-reference-value", "--id", "nosuch"], [*config, "set-resource-policy"],
                 [*config, "set-resource", "--path", "a/b/c"], ["--version"]):
        theirs, ours = box.run(real, *argv, ok=None), kc(box, *argv, ok=None)
        assert (theirs.returncode, theirs.out) == (ours.returncode, ours.out)


@pytest.mark.parametrize("body,shown", [
    (b'a"b\\c', r'"a\"b\\c"'), (b"tab\there\nnl\r", r'"tab\there\nnl\r"'), (b"nul\x00esc\x1b", r'"nul\0esc\u{1b}"'),
    ("caf\u00e9 \U0001f600".encode(), '"caf\u00e9 \U0001f600"'), (b"bad\xff", '"bad\ufffd"'), ("zero\u200bwidth".encode(), r'"zero\u{200b}width"'),
    (b"it's", '"it\'s"'), (b"", '""'),
])
def test_bodies_are_shown_as_rust_does(box, body, shown):
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    r = kc(box, "--url", f"http://127.0.0.1:{server.server_port}", "config", "get-reference-value", "--id", "x", ok=1)
    server.shutdown()
    assert r.err.endswith(f"Error: Request Failed, Response: {shown}\n")


def test_the_hidden_verb(box):
    assert box.run("propkey", "kbs-client", "--version").out == "KBS client 0.1.0\n"


def test_installed_beside_propkey():
    assert pathlib.Path(BIN / "kbs-client").resolve() == pathlib.Path(BIN / "propkey").resolve()


def test_output_that_cannot_be_written_is_a_failure(box):
    with open("/dev/full", "wb") as full:
        p = subprocess.run([BIN / "kbs-client", "--version"], stdout=full, stderr=subprocess.PIPE, env=box.env)
    assert p.returncode == 1
