/* The guest's KEK source. A packet's kid is the registry's word: neither its host nor its path is
 * followed anywhere that the local configuration and the task did not name (propeller.md 7.6). */
#include "guest/keys.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "keys/keyfile.h"

double prop_guest_clock_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int check_kid(const struct prop_guest_keys *k, const struct prop_resource_id *kid,
                     struct prop_err *err)
{
    if (!k->g->kid || prop_resource_id_same(kid, &k->kid))
        return 0;
    return prop_err_set_id(err, PROP_E_DENIED, "kid-mismatch",
                           "the layer names the key '%s/%s/%s', allowed is '%s/%s/%s'", kid->repo,
                           kid->type, kid->tag, k->kid.repo, k->kid.type, k->kid.tag);
}

static int check_broker(const struct prop_guest_keys *k, const struct prop_resource_id *kid,
                        struct prop_err *err)
{
    if (!k->g->kbs) {
        prop_err_set_id(err, PROP_E_USAGE, "no-kbs",
                        "the layer's key '%s/%s/%s' lies at a key broker, and none is named",
                        kid->repo, kid->type, kid->tag);
        return prop_err_hint(err, "give --kbs URL or set PROP_KBS_URL");
    }
    if (k->g->attest.tee != PROP_TEE_NONE)
        return 0;
    prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-tee",
                    "this machine shows no sign of SEV-SNP or TDX");
    return prop_err_hint(err, "run inside a confidential VM; for tests, --tee sample sends "
                              "evidence that proves nothing");
}

static int fetch(void *ctx, const struct prop_resource_id *kid, struct prop_secret **ret,
                 struct prop_err *err)
{
    struct prop_guest_keys *k = ctx;
    prop_auto_secret struct prop_secret *value = NULL;
    char what[3 * PROP_RESOURCE_PART + 3];
    int rc = check_kid(k, kid, err);

    if (rc == 0)
        rc = check_broker(k, kid, err);
    if (rc)
        return rc;
    struct prop_resource_id wanted = *kid;
    if (!wanted.host[0]) /* a task or --kid that names a broker means that one: kbs/ compares */
        memcpy(wanted.host, k->kid.host, sizeof wanted.host);
    double start = prop_guest_clock_ms();
    rc = prop_kbs_get_resource(k->g->kbs, &k->g->attest, &wanted, &value, err);
    k->attest_ms += prop_guest_clock_ms() - start;
    (void)snprintf(what, sizeof what, "%s/%s/%s", kid->repo, kid->type, kid->tag);
    if (rc)
        return prop_err_wrap(err, "from %s", prop_kbs_url(k->g->kbs));
    rc = prop_kek_from_bytes(value, what, ret, err);
    if (rc == 0 && k->g->report)
        (void)snprintf(k->g->report->kid, sizeof k->g->report->kid, "%s", what);
    return rc;
}

int prop_guest_keys_open(struct prop_guest_keys *k, const struct prop_guest_run *g,
                         struct prop_openers **ret, struct prop_err *err)
{
    struct prop_openers *o = NULL;
    int rc = g->kid ? prop_resource_id_parse(g->kid, false, &k->kid, err) : 0;

    k->g = g;
    k->attest_ms = 0;
    if (rc == 0)
        rc = prop_openers_new(&o, err);
    for (size_t i = 0; rc == 0 && i < g->n_key_files; i++)
        rc = prop_openers_add(o, g->key_files[i], err);
    if (rc) {
        prop_openers_free(o);
        return rc;
    }
    /* Who names key files wants no other: a wrong one is an error, not a reason to ask the broker.
     * With neither, the source says what is missing. */
    if (g->n_key_files == 0)
        prop_openers_set_kek_source(o, fetch, k);
    *ret = o;
    return 0;
}
