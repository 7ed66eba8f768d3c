"""publish --measured: the guests a measurement file names may have the key, and only they."""
import json

from test_verify import verify, token

A, B = "ab" * 48, "cd" * 48


def rules(doc):
    return doc["policy"]["rules"]


def measured(box, name="m.json", **values):
    (box / name).write_text(json.dumps(values))
    return box / name


def test_a_rule_of_its_own(pub, box):
    doc = pub.json("--measured", measured(box, launch_digest=A), "--replace-policy", "--kid", "t/k/1")
    assert rules(doc) == [{"resource": "t/k/1", "tee": "snp", "measurement": [A]}]
    assert doc["proof"]["policy"].startswith("admits who was named")
    verify(box, pub.dst, "--kbs", pub.url, "--token", token(box, "good", "snp", measurement=A),
           "--deny-token", token(box, "bad", "snp", measurement=B))
    assert pub.json("--measured", "m.json", "--kid", "t/k/1")["policy"]["changed"] is False


def test_it_pins_the_rules_given(pub, box):
    f = measured(box, measurements=[{"launch_digest": A}, {"mr_td": B, "rtmr_1": A}])
    doc = pub.json("--measured", f, "--allow", "tee=snp,tier=affirming", "--replace-policy")
    snp, tdx = rules(doc)
    assert snp["measurement"] == [A] and snp["tier"] == "affirming"
    assert tdx["measurement"] == [B] and tdx["rtmr_1"] == [A] and "tier" not in tdx
    # too wide by itself, not when it is pinned; and a pin of its own stays what it is
    doc = pub.json("--measured", measured(box, launch_digest=A), "--allow", "tee=snp", dst=pub.dst + "2")
    assert rules(doc)[0]["measurement"] == [A] and "allow_any_guest" not in rules(doc)[0]
    doc = pub.json("--measured", "m.json", "--allow", f"tee=snp,measurement=sha384:{B}", dst=pub.dst + "3")
    assert [r["measurement"] for r in rules(doc)] == [[B]]


def test_refused_before_anything(pub, box):
    pub.fails(8, "not-found", "--measured", "none.json", "--replace-policy")
    pub.fails(3, "bad-measurement", "--measured", measured(box, launch="x"), "--replace-policy")
    pub.fails(2, "bad-allow", "--measured", measured(box, launch_digest=A), "--allow", "tee=tdx",
              "--replace-policy")


def test_a_document_that_wants_values(pub, box):
    text = 'version = 1\n[[rule]] # ours\nresource = "a/b/*"\ntee = "tdx"\nmeasured = true\n'
    (box / "p.toml").write_text(text)
    args = ("--policy-doc", "p.toml", "--replace-policy", "--kid", "t/k/1")
    e = pub.fails(3, "not-measured", *args, "--allow", "tee=snp,tier=affirming")
    assert "--measured" in e["hint"]
    f = measured(box, measurements=[{"mr_td": B}])
    doc = pub.json(*args, "--allow", "tee=snp,tier=affirming", "--measured", f)
    assert (box / "p.toml").read_text().startswith(text)
    # again, with the ledger's copy to compare with
    again = pub.json("--policy-doc", "p.toml", "--kid", "t/k/1", "--allow", "tee=snp,tier=affirming",
                     "--measured", f)
    assert again["policy"]["digest"] == doc["policy"]["digest"] and again["unchanged"] is True
