/* The sample verifiers. What they claim is fixed, as in the real server: nothing is measured. */
#include "kbsd/verify.h"

#include "crypto/digest.h"
#include "engine/toml.h"
#include "kbsd/token.h"
#include "tee/binding.h"
#include "util/encode.h"

#include <string.h>

enum prop_kbsd_tee prop_kbsd_tee_kind(const char *name)
{
    static const struct {
        const char *name;
        enum prop_kbsd_tee kind;
    } known[] = {
        { "sample", PROP_KBSD_TEE_SAMPLE },       { "sampledevice", PROP_KBSD_TEE_SAMPLEDEVICE },
        { "az-snp-vtpm", PROP_KBSD_TEE_FOREIGN }, { "az-tdx-vtpm", PROP_KBSD_TEE_FOREIGN },
        { "nvidia", PROP_KBSD_TEE_FOREIGN },      { "sgx", PROP_KBSD_TEE_FOREIGN },
        { "snp", PROP_KBSD_TEE_FOREIGN },         { "tdx", PROP_KBSD_TEE_FOREIGN },
        { "cca", PROP_KBSD_TEE_FOREIGN },         { "csv", PROP_KBSD_TEE_FOREIGN },
        { "se", PROP_KBSD_TEE_NO_CHALLENGE },     { "hygondcu", PROP_KBSD_TEE_FOREIGN },
        { "nvidia-dpu", PROP_KBSD_TEE_FOREIGN },  { "nvidiadpu", PROP_KBSD_TEE_FOREIGN },
        { "tpm", PROP_KBSD_TEE_FOREIGN },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(known); i++)
        if (strcmp(name, known[i].name) == 0)
            return known[i].kind;
    return PROP_KBSD_TEE_UNKNOWN;
}

/* TOML inside a TOML string becomes an object; text that does not parse stays text. */
static int expand_toml(json_t *claims, const char *name, struct prop_err *err)
{
    const char *text = json_string_value(json_object_get(claims, name));
    prop_auto_json json_t *value = NULL;

    if (text == NULL || prop_toml_parse(text, strlen(text), name, &value, NULL) != 0)
        return 0;
    return json_object_set(claims, name, value) == 0 ? 0 : prop_err_nomem(err);
}

/* The JSON after "policy_data := " at the end of an agent policy takes the policy's place. */
static int expand_agent_policy(json_t *claims, struct prop_err *err)
{
    static const char start[] = "policy_data := {";
    const char *text = json_string_value(json_object_get(claims, "policy.rego"));
    const char *at = text != NULL ? strstr(text, start) : NULL;
    prop_auto_json json_t *value = NULL;

    if (at == NULL)
        return 0;
    at += strlen(start) - 1;
    if (prop_json_parse(at, strlen(at), "policy_data", &value, NULL) != 0)
        return 0;
    (void)json_object_del(claims, "policy.rego");
    return json_object_set(claims, "agent_policy_claims", value) == 0 ? 0 : prop_err_nomem(err);
}

static int init_data_digest(const char *algorithm, const char *body, struct prop_digest *ret,
                            struct prop_err *err)
{
    static const enum prop_hash_alg algs[] = { PROP_SHA256, PROP_SHA384, PROP_SHA512 };

    for (size_t i = 0; i < PROP_ARRAY_LEN(algs); i++)
        if (strcmp(algorithm, prop_hash_name(algs[i])) == 0)
            return prop_digest_of(algs[i], body, strlen(body), ret, err);
    return prop_err_set(err, PROP_E_UNSUPPORTED, "init-data algorithm '%s'", algorithm);
}

struct init_data {
    struct prop_digest digest; /* len 0: no init-data */
    json_t *claims;            /* owned */
};

static int read_init_data(const json_t *doc, struct init_data *ret, struct prop_err *err)
{
    struct { const char *format, *body; } in = { NULL, NULL };
    struct { const char *version, *algorithm; json_t *data; } t = { NULL, NULL, NULL };
    static const struct prop_json_field in_fields[] = {
        { "format", PROP_JSON_STRING, 0, PROP_JSON_REQUIRED },
        { "body", PROP_JSON_STRING, sizeof(char *), PROP_JSON_REQUIRED },
    };
    static const struct prop_json_field t_fields[] = {
        { "version", PROP_JSON_STRING, 0, PROP_JSON_REQUIRED },
        { "algorithm", PROP_JSON_STRING, sizeof(char *), PROP_JSON_REQUIRED },
        { "data", PROP_JSON_OBJECT, 2 * sizeof(char *), PROP_JSON_REQUIRED },
    };
    prop_auto_json json_t *toml = NULL;
    const char *name;
    json_t *value;

    int rc = prop_json_read(doc, "init-data", in_fields, PROP_ARRAY_LEN(in_fields), &in, err);
    if (rc != 0)
        return rc;
    if (strcmp(in.format, "toml") != 0)
        return prop_err_set(err, PROP_E_UNSUPPORTED, "init-data format '%s'", in.format);
    rc = prop_toml_parse(in.body, strlen(in.body), "init-data", &toml, err);
    if (rc == 0)
        rc = prop_json_read(toml, "init-data", t_fields, PROP_ARRAY_LEN(t_fields), &t, err);
    if (rc != 0)
        return rc;
    json_object_foreach(t.data, name, value) {
        if (!json_is_string(value))
            return prop_err_set(err, PROP_E_INPUT, "init-data value '%s' is not a string", name);
    }
    rc = init_data_digest(t.algorithm, in.body, &ret->digest, err);
    static const char *const toml_members[] = { "cdh.toml", "aa.toml" };
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(toml_members); i++)
        rc = expand_toml(t.data, toml_members[i], err);
    if (rc == 0)
        rc = expand_agent_policy(t.data, err);
    if (rc == 0)
        ret->claims = json_incref(t.data);
    return rc;
}

struct sample { const char *svn, *report_data; };

static int read_sample(const json_t *evidence, const json_t *runtime, struct sample *ret,
                       struct prop_err *err)
{
    static const struct prop_json_field fields[] = {
        { "svn", PROP_JSON_STRING, offsetof(struct sample, svn), PROP_JSON_REQUIRED },
        { "report_data", PROP_JSON_STRING, offsetof(struct sample, report_data), 0 },
    };
    prop_auto_buf struct prop_buf got = PROP_BUF_INIT(PROP_HASH_MAX);
    struct prop_digest want;

    *ret = (struct sample){ NULL, "" };
    int rc = prop_json_read(evidence, "sample evidence", fields, PROP_ARRAY_LEN(fields), ret, err);
    if (rc == 0)
        rc = prop_b64_decode(PROP_B64_STD, ret->report_data, strlen(ret->report_data),
                             "report_data", &got, err);
    if (rc == 0)
        rc = prop_tee_report_data(json_string_value(json_object_get(runtime, "nonce")),
                                  json_object_get(runtime, "tee-pubkey"),
                                  json_string_value(json_object_get(runtime,
                                                                    "additional-evidence")),
                                  &want, err);
    if (rc == 0 && (got.len != want.len || memcmp(got.data, want.bytes, want.len) != 0))
        rc = prop_err_set_id(err, PROP_E_VERIFY, "report-data",
                             "report_data is not the digest of nonce, key and additional evidence");
    return rc;
}

static int annotate(const struct sample *s, bool device, const json_t *runtime,
                    const struct init_data *init, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *out = json_pack("{s:s,s:O}", "report_data", s->report_data,
                                           "runtime_data_claims", runtime);
    prop_auto_json json_t *claims =
        device ? json_pack("{s:s}", "svn", s->svn)
               : json_pack("{s:b,s:s,s:{s:i,s:i},s:s}", "debug", 0, "launch_digest", "abcde",
                           "platform_version", "major", 1, "minor", 4, "svn", s->svn);
    if (out == NULL || claims == NULL ||
        json_object_set(out, device ? "sampledevice" : "sample", claims) != 0)
        return prop_err_nomem(err);
    if (init->digest.len != 0 && !device) {
        prop_auto_free char *text = prop_b64_encode(PROP_B64_STD, init->digest.bytes,
                                                    init->digest.len);
        if (text == NULL || json_object_set_new(out, "init_data", json_string(text)) != 0 ||
            json_object_set(out, "init_data_claims", init->claims) != 0)
            return prop_err_nomem(err);
    }
    *ret = prop_kbsd_sorted(out);
    return *ret != NULL ? 0 : prop_err_nomem(err);
}

int prop_kbsd_verify(const char *tee, const json_t *evidence, const json_t *runtime,
                     const json_t *init_data, json_t **ret_annotated,
                     enum prop_kbsd_class *ret_class, struct prop_err *err)
{
    enum prop_kbsd_tee kind = prop_kbsd_tee_kind(tee);
    struct init_data init = { .digest = { .len = 0 }, .claims = NULL };
    struct sample s;
    bool device = kind == PROP_KBSD_TEE_SAMPLEDEVICE;

    if (kind != PROP_KBSD_TEE_SAMPLE && !device)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-verifier",
                               "no verifier for evidence of '%s' here", tee);
    int rc = init_data != NULL ? read_init_data(init_data, &init, err) : 0;
    if (rc == 0)
        rc = read_sample(evidence, runtime, &s, err);
    if (rc == 0)
        rc = annotate(&s, device, runtime, &init, ret_annotated, err);
    if (rc == 0)
        *ret_class = device ? PROP_KBSD_GPU : PROP_KBSD_CPU;
    json_decref(init.claims);
    return rc;
}
