/* The providers of an ocicrypt configuration, and a call of one: as a program or over gRPC. */
#include "keyprovider/keyprovider.h"

#include "keyprovider/message.h"
#include "keyprovider/program.h"
#include "keyprovider/remote.h"
#include "util/text.h"

#include <stdlib.h>
#include <string.h>

enum { CONFIG_MAX = 1 << 20, ARGS_MAX = 256 };

struct prop_kp_config {
    json_t *root; /* or NULL: none */
    const json_t *providers;
    char *path;
};

static int no_config(struct prop_kp_config **ret, struct prop_err *err)
{
    *ret = prop_zalloc(sizeof(**ret));
    return *ret ? 0 : prop_err_nomem(err);
}

static int read_config(const char *path, struct prop_kp_config *c, struct prop_err *err)
{
    struct { json_t *providers; } top = { NULL };
    static const struct prop_json_field fields[] = {
        { "key-providers", PROP_JSON_OBJECT, 0, PROP_JSON_NULLABLE },
    };
    int rc = prop_json_parse_file(path, CONFIG_MAX, &c->root, err);
    if (rc == 0)
        rc = prop_json_read(c->root, path, fields, PROP_ARRAY_LEN(fields), &top, err);
    if (rc == 0) {
        c->providers = top.providers;
        c->path = prop_strdup(path);
        return c->path ? 0 : prop_err_nomem(err);
    }
    if (rc == PROP_E_INPUT && err)
        err->id = "keyprovider-config";
    return prop_err_wrap(err, "key provider configuration");
}

int prop_kp_config_load(const char *path, struct prop_kp_config **ret, struct prop_err *err)
{
    struct prop_kp_config *c = NULL;
    const char *from = path ? path : getenv("OCICRYPT_KEYPROVIDER_CONFIG");
    int rc = no_config(&c, err);
    if (rc == 0 && from && *from)
        rc = read_config(from, c, err);
    if (rc != 0) {
        prop_kp_config_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void prop_kp_config_free(struct prop_kp_config *c)
{
    if (!c)
        return;
    json_decref(c->root);
    prop_free(c->path);
    prop_free(c);
}

bool prop_kp_config_has(const struct prop_kp_config *c, const char *name)
{
    return json_is_object(json_object_get(c->providers, name));
}

/* --- a call ----------------------------------------------------------------------------------- */

static int bad_entry(struct prop_err *err, const char *what)
{
    return prop_err_set_id(err, PROP_E_INPUT, "keyprovider-config", "its configuration: %s", what);
}

static int call_program(const json_t *cmd, const struct prop_secret *request,
                        struct prop_secret **ret, struct prop_err *err)
{
    const char *argv[ARGS_MAX + 2] = { json_string_value(json_object_get(cmd, "path")) };
    const json_t *args = json_object_get(cmd, "args");
    size_t i;
    json_t *arg;
    if (!argv[0] || !*argv[0])
        return bad_entry(err, "cmd has no path");
    if ((args && !json_is_array(args) && !json_is_null(args)) || json_array_size(args) > ARGS_MAX)
        return bad_entry(err, "cmd's args are no list of strings");
    json_array_foreach (args, i, arg) {
        argv[i + 1] = json_string_value(arg);
        if (!argv[i + 1])
            return bad_entry(err, "cmd's args are no list of strings");
    }
    return prop_kp_program_run(argv, request, PROP_KP_PROGRAM_MS, ret, err);
}

/* ocicrypt in Go takes cmd before grpc; the other kinds exist in the Rust library only. */
static int dispatch(const json_t *entry, enum prop_kp_op op, const struct prop_secret *request,
                    struct prop_secret **ret, struct prop_err *err)
{
    const json_t *cmd = json_object_get(entry, "cmd");
    const char *grpc = json_string_value(json_object_get(entry, "grpc"));
    const json_t *tls = json_object_get(entry, "grpc-tls");
    if (cmd && !json_is_null(cmd))
        return call_program(cmd, request, ret, err);
    if (grpc && tls && !json_is_null(tls)) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "provider-tls",
                              "gRPC under TLS ('grpc-tls') is not supported");
        return prop_err_hint(err, "let a tunnel on this machine speak TLS to it, and name the "
                                  "tunnel's loopback port in 'grpc'");
    }
    if (grpc)
        return prop_kp_remote_call(grpc, op, request, PROP_KP_REMOTE_MS, ret, err);
    if (json_object_get(entry, "ttrpc") || json_object_get(entry, "native"))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "provider-kind",
                               "only programs ('cmd') and 'grpc' are called");
    return bad_entry(err, "neither cmd nor grpc");
}

static int call(const struct prop_kp_config *c, const char *name, enum prop_kp_op op,
                const char *const *params, size_t n_params, const void *data, size_t len,
                struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *request = NULL;
    prop_auto_secret struct prop_secret *reply = NULL;
    char shown[128];
    (void)prop_printable(name, strlen(name), shown, sizeof shown);
    if (!prop_kp_config_has(c, name)) {
        (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-provider",
                              "no key provider '%s' is configured%s%s%s", shown,
                              c->path ? " in '" : "", c->path ? c->path : "", c->path ? "'" : "");
        return prop_err_hint(err, "name it in the file of OCICRYPT_KEYPROVIDER_CONFIG: "
                                  "{\"key-providers\":{\"NAME\":{\"cmd\":{\"path\":\"...\"}}}}");
    }
    int rc = prop_kp_request_write(op, name, params, n_params, data, len, &request, err);
    if (rc == 0)
        rc = dispatch(json_object_get(c->providers, name), op, request, &reply, err);
    if (rc == 0)
        rc = prop_kp_reply_read(reply, op, ret, err);
    return rc == 0 ? 0 : prop_err_wrap(err, "key provider '%s'", shown);
}

int prop_kp_wrap(const struct prop_kp_config *c, const char *name, const char *const *params,
                 size_t n_params, const struct prop_secret *privopts, struct prop_buf *annotation,
                 struct prop_err *err)
{
    prop_auto_secret struct prop_secret *bytes = NULL;
    int rc = call(c, name, PROP_KP_WRAP, params, n_params, prop_secret_data(privopts),
                  prop_secret_len(privopts), &bytes, err);
    return rc == 0 ? prop_buf_add(annotation, prop_secret_data(bytes), prop_secret_len(bytes), err)
                   : rc;
}

int prop_kp_unwrap(const struct prop_kp_config *c, const char *name, const char *const *params,
                   size_t n_params, const void *annotation, size_t len, struct prop_secret **ret,
                   struct prop_err *err)
{
    return call(c, name, PROP_KP_UNWRAP, params, n_params, annotation, len, ret, err);
}
