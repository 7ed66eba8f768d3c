/* The engine of a build without Rust: says so. The tools that run modules are not built then. */
#include "engine/rego.h"
#include "engine/toml.h"
#include "engine/wasm.h"

static int no_engine(struct prop_err *err, const char *what)
{
    prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-engine", "%s: this build has no engine", what);
    return prop_err_hint(err, "build with Rust: make");
}

int prop_toml_parse(const char *text, size_t len, const char *what, json_t **ret,
                    struct prop_err *err)
{
    (void)text;
    (void)len;
    (void)ret;
    return no_engine(err, what);
}

int prop_rego_new(const char *name, const char *text, size_t len, struct prop_rego **ret,
                  char **ret_detail, struct prop_err *err)
{
    (void)name;
    (void)text;
    (void)len;
    (void)ret;
    (void)ret_detail;
    return no_engine(err, "policy");
}

int prop_rego_set_reference(struct prop_rego *r, char *(*lookup)(void *ctx, const char *name),
                            void *ctx, struct prop_err *err)
{
    (void)r;
    (void)lookup;
    (void)ctx;
    return no_engine(err, "policy");
}

int prop_rego_set_data(struct prop_rego *r, const json_t *data, struct prop_err *err)
{
    (void)r;
    (void)data;
    return no_engine(err, "policy");
}

int prop_rego_set_input(struct prop_rego *r, const json_t *input, struct prop_err *err)
{
    (void)r;
    (void)input;
    return no_engine(err, "policy");
}

int prop_rego_eval_rule(struct prop_rego *r, const char *rule, json_t **ret, struct prop_err *err)
{
    (void)r;
    (void)rule;
    (void)ret;
    return no_engine(err, "policy");
}

int prop_rego_describe(struct prop_rego *r, json_t **ret, struct prop_err *err)
{
    (void)r;
    (void)ret;
    return no_engine(err, "policy");
}

int prop_rego_outline(struct prop_rego *r, json_t **ret, struct prop_err *err)
{
    (void)r;
    (void)ret;
    return no_engine(err, "policy");
}

int prop_rego_extend(const struct prop_rego *r, const char *text, size_t len,
                     struct prop_rego **ret, struct prop_err *err)
{
    (void)r;
    (void)text;
    (void)len;
    (void)ret;
    return no_engine(err, "policy");
}

void prop_rego_free(struct prop_rego *r)
{
    (void)r;
}

const char *prop_engine_version(void)
{
    return "no engine";
}
