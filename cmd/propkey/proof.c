/* Fetching back what was uploaded. */
#include "cmd/propkey/proof.h"

#include <stdio.h>
#include <string.h>

int propkey_proof_prepare(struct prop_cli *cli, const struct prop_kbs_opts *o,
                          struct propkey_proof *ret, struct prop_err *err)
{
    struct prop_err none = PROP_ERR_INIT;
    memset(ret, 0, sizeof(*ret));
    ret->how = "accepted";
    ret->tee = PROP_TEE_NONE;
    int rc = prop_kbs_opts_tee(o, &ret->tee, &none);
    if (rc == 0)
        return 0;
    ret->tee = PROP_TEE_NONE;
    if (!prop_cli_given(cli, "tee") || !o->tee || strcmp(o->tee, "auto") == 0)
        return 0;
    if (err)
        *err = none;
    return rc;
}

static int compare(const struct prop_secret *got, const struct prop_secret *value,
                   struct prop_err *err)
{
    if (prop_secret_equal(got, value))
        return 0;
    prop_err_set_id(err, PROP_E_VERIFY, "stored-differently",
                    "the key broker gives another value than the one just uploaded");
    return prop_err_hint(err, "somebody else may have uploaded under that name at the same moment");
}

int propkey_prove(struct prop_kbs *k, const struct prop_resource_id *id,
                  const struct prop_secret *value, struct propkey_proof *p, struct prop_err *err)
{
    struct prop_kbs_attest how = { .tee = p->tee };
    struct prop_err why = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *got = NULL;
    if (p->tee == PROP_TEE_NONE) {
        (void)snprintf(p->text, sizeof(p->text),
                       "the key broker took it (HTTP 200); that it gives it back was not tried, as "
                       "this machine has nothing to attest with");
        return 0;
    }
    int rc = prop_kbs_get_resource(k, &how, id, &got, &why);
    if (rc == 0) {
        p->how = "fetched";
        (void)snprintf(p->text, sizeof(p->text),
                       "fetched back with %s evidence and compared: the same value",
                       prop_tee_name(p->tee));
        return compare(got, value, err);
    }
    if (rc == PROP_E_NOTFOUND) {
        prop_err_set_id(err, PROP_E_REMOTE, "not-stored",
                        "the key broker took '%s/%s/%s' and does not have it", id->repo, id->type,
                        id->tag);
        return prop_err_hint(err, "only the server's log tells the cause: its store, or the name");
    }
    if (rc == PROP_E_INTERRUPTED || rc == PROP_E_NOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    if (rc == PROP_E_DENIED)
        (void)snprintf(p->text, sizeof(p->text),
                       "the key broker took it (HTTP 200); its policy does not give it to %s "
                       "evidence of this machine, so it was not compared", prop_tee_name(p->tee));
    else
        (void)snprintf(p->text, sizeof(p->text),
                       "the key broker took it (HTTP 200); fetching it back failed: %.300s",
                       why.message);
    return 0;
}

int propkey_proof_add(const struct propkey_proof *p, json_t *doc, struct prop_err *err)
{
    if (json_object_set_new(doc, "proof", json_string(p->how)) != 0 ||
        json_object_set_new(doc, "proof_text", json_string(p->text)) != 0)
        return prop_err_nomem(err);
    return 0;
}
