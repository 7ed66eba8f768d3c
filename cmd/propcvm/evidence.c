/* propcvm evidence: what this machine would attest with, what that says, and what we think of it. */
#include "cmd/propcvm/verbs.h"

#include "cmd/cli/kbs_opts.h"
#include "crypto/digest.h"
#include "tee/check.h"
#include "tee/evidence.h"
#include "tee/fields.h"
#include "tee/initdata.h"
#include "util/file.h"
#include "util/mem.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct evidence_opts {
    const char *tee, *bind, *init_data, *output;
    bool allow_debug, force;
};

#define OPT(name, kind, arg, help, member, def)                                                    \
    { name, 0, kind, arg, help, offsetof(struct evidence_opts, member), NULL, def, false }

static const struct prop_opt options[] = {
    { "tee", 0, PROP_OPT_STRING, "auto|sample|snp|tdx", "evidence to ask for",
      offsetof(struct evidence_opts, tee), "PROP_TEE", "auto", false },
    OPT("bind", PROP_OPT_STRING, "TEXT", "bind it to the SHA-384 of this text", bind, ""),
    OPT("init-data", PROP_OPT_STRING, "FILE", "check that the launch bound this document", init_data,
        NULL),
    OPT("allow-debug", PROP_OPT_FLAG, NULL, "debugging of the guest is no fault", allow_debug, NULL),
    { "output", 'o', PROP_OPT_STRING, "FILE", "write the evidence itself here, as JSON",
      offsetof(struct evidence_opts, output), NULL, NULL, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace FILE if it is there",
      offsetof(struct evidence_opts, force), NULL, NULL, false },
    PROP_OPT_END
};

static void print_value(const char *name, const json_t *value, FILE *out)
{
    if (json_is_string(value)) {
        (void)fprintf(out, "  %-18s %s\n", name, json_string_value(value));
        return;
    }
    if (json_is_boolean(value)) {
        (void)fprintf(out, "  %-18s %s\n", name, json_is_true(value) ? "yes" : "no");
        return;
    }
    prop_auto_free char *text = prop_json_compact(value);
    (void)fprintf(out, "  %-18s %s\n", name, text ? text : "");
}

static void print_human(const json_t *doc, void *stream)
{
    const char *name = NULL;
    json_t *v = NULL;
    size_t i = 0;

    (void)fprintf(stream, "%s evidence, bound to %s\n",
                  json_string_value(json_object_get(doc, "tee")),
                  json_string_value(json_object_get(doc, "report_data")));
    json_object_foreach(json_object_get(doc, "summary"), name, v)
        print_value(name, v, stream);
    json_array_foreach(json_object_get(doc, "checks"), i, v) {
        bool ok = json_is_true(json_object_get(v, "ok"));
        bool fatal = json_is_true(json_object_get(v, "fatal"));
        (void)fprintf(stream, "  %-7s %-16s %s\n", ok ? "ok" : fatal ? "FAILED" : "warning",
                      json_string_value(json_object_get(v, "check")),
                      json_string_value(json_object_get(v, "detail")));
    }
}

static int read_init_data(const char *path, struct prop_initdata *ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_TEE_INITDATA_MAX);
    int rc = prop_file_read(path, &text, err);

    return rc ? rc : prop_initdata_read(text.data, text.len, path, ret, err);
}

static int make_doc(const struct prop_tee_ask *ask, const struct prop_digest *bound,
                    const struct prop_tee_answer *a, bool ok, json_t **ret, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    prop_auto_json json_t *checks = prop_tee_checks_json(&a->checks);
    prop_auto_json json_t *summary = a->fields ? prop_tee_fields_json(a->fields) : json_object();

    *ret = json_pack("{s:s,s:s,s:b,s:O,s:O,s:O}", "tee", prop_tee_name(ask->tee), "report_data",
                     prop_digest_hex(bound, digest), "ok", (int)ok, "checks", checks, "summary",
                     summary, "evidence", a->json);
    return *ret ? 0 : prop_err_nomem(err);
}

static int write_out(const struct evidence_opts *o, const json_t *evidence, struct prop_err *err)
{
    prop_auto_free char *text = prop_json_compact(evidence);

    return text ? prop_file_write(o->output, text, strlen(text), 0644, o->force, err)
                : prop_err_nomem(err);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct evidence_opts *o = opts;
    struct prop_tee_ask ask = { .allow_debug = o->allow_debug };
    struct prop_initdata init_data;
    struct prop_digest bound;
    prop_auto_tee_answer struct prop_tee_answer a = PROP_TEE_ANSWER_INIT;
    prop_auto_json json_t *doc = NULL;
    int rc = prop_tee_choose(o->tee, &ask.tee, err);

    if (rc == 0 && o->init_data) {
        rc = read_init_data(o->init_data, &init_data, err);
        ask.init_data = &init_data;
    }
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA384, o->bind, strlen(o->bind), &bound, err);
    if (rc)
        return rc;
    memcpy(ask.report_data, bound.bytes, sizeof ask.report_data);
    rc = prop_tee_evidence(&ask, &a, err);
    if (rc)
        return rc;
    bool ok = prop_tee_checks_verdict(&a.checks, NULL) == 0;
    if (ok && o->init_data) /* a TD's quote alone would be its host's word */
        rc = prop_tee_check_init_data(ask.tee, &init_data, err);
    if (rc)
        return rc;
    rc = make_doc(&ask, &bound, &a, ok, &doc, err);
    if (rc == 0 && o->output)
        rc = write_out(o, a.json, err);
    if (rc == 0)
        rc = prop_cli_result(cli, doc, print_human, err);
    if (rc == 0 && !ok)
        prop_cli_set_status(cli, 1); /* it would not be sent */
    return rc;
}

const struct prop_verb propcvm_verb_evidence = {
    "evidence", "[--bind TEXT]", "print this machine's attestation evidence, and check it",
    "The evidence is what a key broker would be sent, bound to the SHA-384 of TEXT: with --json as\n"
    "the member \"evidence\", or with -o in a file of its own. The checks are those that are made\n"
    "before any evidence is sent, because a key broker does not say why it refuses; exit status 1\n"
    "when one of them fails.\n"
    "Sample evidence proves nothing and is made with --tee sample only.",
    options, sizeof(struct evidence_opts), 0, 0, run
};
