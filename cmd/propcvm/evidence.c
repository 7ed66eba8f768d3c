/* propcvm evidence: what this machine would attest with. */
#include "cmd/propcvm/verbs.h"

#include "crypto/digest.h"
#include "tee/evidence.h"
#include "util/mem.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct evidence_opts {
    const char *tee;
    const char *bind;
};

static const struct prop_opt options[] = {
    { "tee", 0, PROP_OPT_STRING, "auto|sample|snp|tdx", "evidence to ask for",
      offsetof(struct evidence_opts, tee), "PROP_TEE", "auto", false },
    { "bind", 0, PROP_OPT_STRING, "TEXT", "bind it to the SHA-384 of this text",
      offsetof(struct evidence_opts, bind), NULL, "", false },
    PROP_OPT_END
};

static void print_human(const json_t *doc, void *stream)
{
    prop_auto_free char *text = prop_json_compact(json_object_get(doc, "evidence"));

    (void)fprintf(stream, "%s\n", text ? text : "");
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct evidence_opts *o = opts;
    enum prop_tee tee = PROP_TEE_NONE;
    struct prop_digest bound;
    prop_auto_json json_t *evidence = NULL;
    char digest[PROP_DIGEST_TEXT];
    int rc = prop_tee_choose(o->tee, &tee, err);

    if (rc == 0)
        rc = prop_digest_of(PROP_SHA384, o->bind, strlen(o->bind), &bound, err);
    if (rc == 0)
        rc = prop_tee_evidence(tee, bound.bytes, bound.len, &evidence, err);
    if (rc)
        return rc;
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:s,s:O}", "tee", prop_tee_name(tee), "report_data",
                  prop_digest_hex(&bound, digest), "evidence", evidence);
    return doc ? prop_cli_result(cli, doc, print_human, err) : prop_err_nomem(err);
}

const struct prop_verb propcvm_verb_evidence = {
    "evidence", "[--bind TEXT]", "print this machine's attestation evidence",
    "The evidence is what a key broker would be sent, bound to the SHA-384 of TEXT.\n"
    "Sample evidence proves nothing and is made with --tee sample only.",
    options, sizeof(struct evidence_opts), 0, 0, run
};
