/* kbs-client config ...: what an administrator does. Requests are made here and not by the kbs
 * room, since that tool checks nothing: any path goes out as typed, a refusal is shown as is. */
#include "cmd/propkey/kbs_client.h"

#include "cmd/propkey/kbs_client_wire.h"
#include "policy/preset.h"
#include "util/encode.h"
#include "util/json.h"
#include "util/limits.h"
#include "util/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* "Set ... success " and a second line, in that tool's spacing. */
static int print_b64(const char *first, const char *name, const void *data, size_t len,
                     struct prop_err *err)
{
    char *text = prop_b64_encode(PROP_B64_STD, data, len);
    if (!text)
        return prop_err_nomem(err);
    (void)printf("%s\n %s: %s\n", first, name, text);
    prop_wipe(text, strlen(text));
    prop_free(text);
    return 0;
}

int propkey_kc_set_resource(const struct propkey_kbs_client *c, struct prop_err *err)
{
    prop_auto_kc_wire struct propkey_kc_wire *w = NULL;
    prop_auto_secret struct prop_secret *value = NULL;
    prop_auto_free char *path = prop_asprintf("/resource/%s", c->path);
    if (!path)
        return prop_err_nomem(err);
    int rc = propkey_kc_open(c, &w, err);
    if (rc == 0)
        rc = propkey_kc_read_secret(c->resource_file, PROP_LIMIT_SECRET, &value);
    if (rc == 0)
        rc = propkey_kc_send(w, "POST", path, "application/octet-stream", prop_secret_data(value),
                             prop_secret_len(value), NULL, err);
    if (rc < 0)
        return rc;
    propkey_kc_note_resource(w, c->path, value);
    if (c->show_secret)
        return print_b64("Set resource success ", "resource", prop_secret_data(value),
                         prop_secret_len(value), err);
    (void)printf("Set resource success \n resource: (%zu bytes, not shown without --show-secret)\n",
                 prop_secret_len(value));
    return 0;
}

int propkey_kc_delete_resource(const struct propkey_kbs_client *c, struct prop_err *err)
{
    prop_auto_kc_wire struct propkey_kc_wire *w = NULL;
    prop_auto_free char *path = prop_asprintf("/resource/%s", c->path);
    if (!path)
        return prop_err_nomem(err);
    int rc = propkey_kc_open(c, &w, err);
    if (rc == 0)
        rc = propkey_kc_send(w, "DELETE", path, NULL, NULL, 0, NULL, err);
    if (rc < 0)
        return rc;
    propkey_kc_note_deleted(w, c->path);
    (void)puts("Delete resource success");
    return 0;
}

/* A policy in the form both endpoints take: {...,"policy":"<base64url>"}. Prints on success. */
static int send_policy(struct propkey_kc_wire *w, const char *path, json_t *body, const char *rego,
                       size_t len, const char *success, struct prop_err *err)
{
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_URL, rego, len);
    if (!b64 || json_object_set_new(body, "policy", json_string(b64)) < 0)
        return prop_err_nomem(err);
    int rc = propkey_kc_send_json(w, path, body, err);
    return rc < 0 ? rc : print_b64(success, "policy", rego, len, err);
}

static const char *preset_name(const struct propkey_kbs_client *c)
{
    return c->allow_all ? "allow-all" : c->deny_all ? "deny-all" : c->affirming ? "affirming"
           : c->standard ? "default" : NULL;
}

static int read_policy(const char *file, struct prop_secret **ret)
{
    return propkey_kc_read_text(file, PROP_LIMIT_KBS_BODY, ret);
}

int propkey_kc_set_resource_policy(const struct propkey_kbs_client *c, struct prop_err *err)
{
    prop_auto_kc_wire struct propkey_kc_wire *w = NULL;
    prop_auto_secret struct prop_secret *file = NULL;
    const char *preset = preset_name(c);
    int rc = propkey_kc_open(c, &w, err);
    if (rc < 0)
        return rc;
    if (!preset && !c->policy_file)
        return propkey_kc_error("No policy specified", NULL);
    if (c->policy_file)
        rc = read_policy(c->policy_file, &file);
    else
        rc = prop_secret_copy(prop_policy_preset(preset), strlen(prop_policy_preset(preset)), &file,
                              err);
    if (rc < 0)
        return rc;
    if (c->allow_all)
        propkey_kc_warn("allow-all hands every key to everybody who attests, with sample evidence "
                        "too");
    const char *rego = (const char *)prop_secret_data(file);
    prop_auto_json json_t *body = json_object();
    rc = send_policy(w, "/resource-policy", body, rego, prop_secret_len(file),
                     "Set resource policy success ", err);
    if (rc == 0)
        propkey_kc_note_policy(w, rego, prop_secret_len(file));
    return rc;
}

int propkey_kc_set_attestation_policy(const struct propkey_kbs_client *c, struct prop_err *err)
{
    prop_auto_kc_wire struct propkey_kc_wire *w = NULL;
    prop_auto_secret struct prop_secret *file = NULL;
    int rc = propkey_kc_open(c, &w, err);
    if (rc == 0)
        rc = read_policy(c->policy_file, &file);
    if (rc < 0)
        return rc;
    if (!c->id)
        propkey_kc_warn("no --id given: setting default_cpu");
    prop_auto_json json_t *body =
        json_pack("{s:s,s:s}", "type", c->type ? c->type : "rego", "policy_id",
                  c->id ? c->id : "default_cpu");
    return body ? send_policy(w, "/attestation-policy", body, (const char *)prop_secret_data(file),
                              prop_secret_len(file), "Set attestation policy success ", err)
                : prop_err_set(err, PROP_E_INPUT, "--type and --id must be UTF-8 text");
}

/* Rust's str::parse::<i32>, with its messages. */
static int parse_i32(const char *text, json_t **ret)
{
    const char *digits = text + (*text == '+' || *text == '-');
    if (!*text)
        return propkey_kc_error("cannot parse integer from empty string", NULL);
    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return propkey_kc_error("invalid digit found in string", NULL);
    errno = 0;
    long long n = strtoll(text, NULL, 10);
    if (errno == ERANGE || n > INT32_MAX || n < INT32_MIN)
        return propkey_kc_error(*text == '-' ? "number too small to fit in target type"
                                             : "number too large to fit in target type", NULL);
    *ret = json_integer(n);
    return 0;
}

static int reference_value(const struct propkey_kbs_client *c, json_t **ret, struct prop_err *err)
{
    json_t *value = NULL;
    int rc = 0;
    if (c->as_integer)
        rc = parse_i32(c->value, &value);
    else if (c->as_bool && strcmp(c->value, "true") != 0 && strcmp(c->value, "false") != 0)
        rc = propkey_kc_error("provided string was not `true` or `false`", NULL);
    else
        value = c->as_bool ? json_boolean(c->value[0] == 't') : json_string(c->value);
    if (rc < 0)
        return rc;
    if (!value)
        return prop_err_set(err, PROP_E_INPUT, "the value must be UTF-8 text");
    *ret = c->as_single_value ? value : json_pack("[o]", value);
    return *ret ? 0 : prop_err_nomem(err);
}

int propkey_kc_set_reference_value(const struct propkey_kbs_client *c, struct prop_err *err)
{
    prop_auto_kc_wire struct propkey_kc_wire *w = NULL;
    prop_auto_json json_t *value = NULL;
    int rc = propkey_kc_open(c, &w, err);
    if (rc == 0)
        rc = reference_value(c, &value, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *values = json_pack("{s:O}", c->name, value);
    prop_auto_free char *text = values ? prop_json_compact(values) : NULL;
    prop_auto_free char *b64 = text ? prop_b64_encode(PROP_B64_STD, text, strlen(text)) : NULL;
    prop_auto_json json_t *body = b64 ? json_pack("{s:s,s:s,s:s}", "payload", b64, "type", "sample",
                                                  "version", "0.1.0") : NULL;
    if (!body)
        return prop_err_set(err, PROP_E_INPUT, "the name must be UTF-8 text");
    rc = propkey_kc_send_json(w, "/reference-value", body, err);
    if (rc == 0)
        (void)puts("Reference Values Updated");
    return rc;
}

int propkey_kc_get_reference_value(const struct propkey_kbs_client *c, struct prop_err *err)
{
    prop_auto_kc_wire struct propkey_kc_wire *w = NULL;
    prop_auto_buf struct prop_buf answer = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    prop_auto_buf struct prop_buf shown = PROP_BUF_INIT(4 * PROP_LIMIT_KBS_ANSWER);
    prop_auto_free char *path = prop_asprintf("/reference-value/%s", c->id);
    if (!path)
        return prop_err_nomem(err);
    int rc = propkey_kc_open(c, &w, err);
    if (rc == 0)
        rc = propkey_kc_send(w, "GET", path, "application/json", NULL, 0, &answer, err);
    if (rc == 0)
        rc = propkey_kc_debug(prop_buf_str(&answer), answer.len, &shown, err);
    if (rc == 0)
        (void)printf("%s\n", prop_buf_str(&shown));
    return rc;
}
