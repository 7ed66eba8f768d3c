/* Policies and reference values. The wording of refusals is the real server's, down to the text of
 * its base64 library. */
#include "kbsd/manage.h"

#include "kbsd/policy.h"
#include "util/encode.h"
#include "util/limits.h"

#include <string.h>

#define RVPS_VERSION "0.1.0"

/* Say what is wrong with base64url text that did not decode. */
static char *explain_base64(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        if (prop_b64_digit(PROP_B64_URL, text[i]) >= 0)
            continue;
        if (text[i] == '=' && strspn(text + i, "=") == len - i)
            return prop_strdup("Invalid padding");
        return prop_asprintf("Invalid symbol %u, offset %zu.", (unsigned)(unsigned char)text[i], i);
    }
    if (len % 4 == 1)
        return prop_asprintf("Invalid input length: %zu", len);
    return len == 0 ? prop_strdup("Invalid padding")
                    : prop_asprintf("Invalid last symbol %u, offset %zu.",
                                    (unsigned)(unsigned char)text[len - 1], len - 1);
}

/* jansson refuses what is not UTF-8, so a JSON string tells whether bytes are. */
static bool is_utf8(const struct prop_buf *b)
{
    prop_auto_json json_t *s = json_stringn(prop_buf_str(b), b->len);

    return s != NULL;
}

void prop_kbsd_set_resource_policy(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                   struct prop_kbsd_reply *r)
{
    static const char name[] = "ParsePolicyError";
    static const char lead[] = "Failed to parse policy: ";
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *doc = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_KBS_BODY);
    prop_auto_free char *detail = NULL;

    if (prop_json_parse(prop_buf_str(&q->body), q->body.len, "policy", &doc, &err) != 0) {
        prop_kbsd_refuse(r, name, &err, "%sIllegal SetPolicy Request Json", lead);
        return;
    }
    const json_t *policy = json_object_get(doc, "policy");
    if (!json_is_string(policy)) {
        prop_kbsd_refuse(r, name, NULL, policy == NULL
                         ? "%sNo `policy` field inside SetPolicy Request Json"
                         : "%s`policy` field is not a string in SetPolicy Request Json", lead);
        return;
    }
    const char *b64 = json_string_value(policy);
    if (prop_b64_decode(PROP_B64_URL, b64, strlen(b64), "policy", &text, &err) != 0) {
        prop_auto_free char *why = explain_base64(b64);
        prop_kbsd_refuse(r, name, &err, "%sFailed to decode policy: %s", lead,
                         why != NULL ? why : "");
        return;
    }
    if (!is_utf8(&text)) {
        prop_kbsd_refuse(r, name, NULL, "%sFailed to decode policy: invalid utf-8 sequence", lead);
        return;
    }
    if (prop_kbsd_policy_set_resource(k, prop_buf_str(&text), text.len, &detail, &err) == 0)
        prop_kbsd_reply_ok(r, NULL, NULL, 0);
    else
        prop_kbsd_refuse(r, "PolicyEngineError", &err,
                         "Policy engine error: Failed to load policy: %s",
                         detail != NULL ? detail : err.message);
}

void prop_kbsd_list_resource_policies(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                      struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *list = NULL;

    (void)q;
    int rc = prop_kbsdb_list(k->db, PROP_KBSDB_RESOURCE_POLICY, &list, &err);
    prop_auto_free char *text = rc == 0 ? prop_json_compact(list) : NULL;
    if (text != NULL)
        prop_kbsd_reply_ok(r, "application/json", text, strlen(text));
    else
        prop_kbsd_refuse(r, "PolicyEngineError", &err, "Policy engine error: policy storage error");
}

void prop_kbsd_set_attestation_policy(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                      struct prop_kbsd_reply *r)
{
    struct in { const char *id, *policy; } in = { NULL, NULL };
    static const struct prop_json_field fields[] = {
        { "policy_id", PROP_JSON_STRING, offsetof(struct in, id), PROP_JSON_REQUIRED },
        { "policy", PROP_JSON_STRING, offsetof(struct in, policy), PROP_JSON_REQUIRED },
    };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *doc = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_KBS_BODY);

    int rc = prop_json_parse(prop_buf_str(&q->body), q->body.len, "policy", &doc, &err);
    if (rc == 0)
        rc = prop_json_read(doc, "policy", fields, PROP_ARRAY_LEN(fields), &in, &err);
    if (rc == 0)
        rc = prop_b64_decode(PROP_B64_URL, in.policy, strlen(in.policy), "policy", &text, &err);
    if (rc == 0 && !is_utf8(&text))
        rc = prop_err_set(&err, PROP_E_INPUT, "policy is not UTF-8");
    if (rc == 0)
        rc = prop_kbsd_policy_set_attestation(k, in.id, prop_buf_str(&text), text.len, &err);
    if (rc == 0)
        prop_kbsd_reply_ok(r, NULL, NULL, 0);
    else
        prop_kbsd_refuse(r, "AttestationError", &err,
                         "Attestation error: Set Attestation Policy failed");
}

/* Store every member of the payload, all or none. */
static int store_values(struct prop_kbsd *k, json_t *values, struct prop_err *err)
{
    const char *name;
    json_t *value;
    int rc = prop_kbsdb_begin(k->db, err);

    if (rc != 0)
        return rc;
    json_object_foreach(values, name, value) {
        prop_auto_free char *text = prop_json_sorted(value);
        if (rc == 0 && (*name == '\0' || !prop_kbsd_key_fits(name, 0)))
            rc = prop_err_set(err, PROP_E_INPUT, "reference value '%.60s': name cannot be stored",
                              name);
        if (rc == 0)
            rc = text != NULL ? prop_kbsdb_put(k->db, PROP_KBSDB_REFERENCE_VALUE, name, text,
                                               strlen(text), err)
                              : prop_err_nomem(err);
    }
    if (rc == 0)
        rc = prop_kbsdb_commit(k->db, err);
    if (rc != 0)
        prop_kbsdb_rollback(k->db);
    return rc;
}

struct rvps_message { const char *version, *type, *payload; };

static int read_message(const json_t *doc, struct rvps_message *m, struct prop_err *err)
{
    static const struct prop_json_field fields[] = {
        { "version", PROP_JSON_STRING, offsetof(struct rvps_message, version), 0 },
        { "type", PROP_JSON_STRING, offsetof(struct rvps_message, type), PROP_JSON_REQUIRED },
        { "payload", PROP_JSON_STRING, offsetof(struct rvps_message, payload),
          PROP_JSON_REQUIRED },
    };
    *m = (struct rvps_message){ RVPS_VERSION, NULL, NULL };
    int rc = prop_json_read(doc, "message", fields, PROP_ARRAY_LEN(fields), m, err);
    if (rc == 0 && strcmp(m->version, RVPS_VERSION) != 0)
        rc = prop_err_set(err, PROP_E_UNSUPPORTED, "message version '%.40s'", m->version);
    /* `swid` and `corim` documents are the real server's business. */
    if (rc == 0 && strcmp(m->type, "sample") != 0)
        rc = prop_err_set(err, PROP_E_UNSUPPORTED, "message type '%.40s'", m->type);
    return rc;
}

void prop_kbsd_set_reference_values(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                    struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    struct rvps_message m;
    prop_auto_json json_t *doc = NULL;
    prop_auto_json json_t *values = NULL;
    prop_auto_buf struct prop_buf payload = PROP_BUF_INIT(PROP_LIMIT_KBS_BODY);

    if (!is_utf8(&q->body)) {
        prop_kbsd_refuse(r, "RvpsError", NULL, "RVPS configuration failed: Failed to parse "
                                               "reference value message");
        return;
    }
    int rc = prop_json_parse(prop_buf_str(&q->body), q->body.len, "message", &doc, &err);
    if (rc == 0)
        rc = read_message(doc, &m, &err);
    if (rc == 0)
        rc = prop_b64_decode(PROP_B64_STD, m.payload, strlen(m.payload), "payload", &payload, &err);
    if (rc == 0)
        rc = prop_json_parse(prop_buf_str(&payload), payload.len, "payload", &values, &err);
    if (rc == 0 && !json_is_object(values))
        rc = prop_err_set(&err, PROP_E_INPUT, "payload is not an object");
    if (rc == 0)
        rc = store_values(k, values, &err);
    if (rc == 0)
        prop_kbsd_reply_ok(r, "application/json", NULL, 0);
    else
        prop_kbsd_refuse(r, "RvpsError", &err, "RVPS configuration failed: Failed to register "
                                               "reference value: register reference value");
}

void prop_kbsd_get_reference_value(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                   struct prop_kbsd_reply *r)
{
    static const char lead[] = "RVPS configuration failed: Failed to get reference_values: ";
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *value = NULL;

    int rc = prop_kbsdb_get(k->db, PROP_KBSDB_REFERENCE_VALUE, q->rest, &value, &err);
    if (rc == 0)
        prop_kbsd_reply_ok(r, "application/json", prop_secret_data(value), prop_secret_len(value));
    else if (rc != PROP_E_NOTFOUND || *q->rest == '\0')
        prop_kbsd_refuse(r, "RvpsError", &err, "%squery reference values", lead);
    else
        prop_kbsd_refuse(r, "RvpsError", &err, "%sNo reference value found for the given id: %s",
                         lead, q->rest);
}
