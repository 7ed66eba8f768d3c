/* The verb: run the checks, print a line each. */
#include "cmd/propkey/doctor.h"
#include "cmd/propkey/verbs.h"

#include "http/http.h"
#include "util/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct doctor_opts {
    struct prop_kbs_opts kbs;
};

static const struct prop_opt options[] = {
    PROP_KBS_OPTIONS(struct doctor_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct doctor_opts, kbs),
    PROP_KBS_TEE_OPTION(struct doctor_opts, kbs),
    PROP_OPT_END
};

static const char *const words[] = { "ok", "warn", "fail" };

void propkey_doctor_say(struct propkey_doctor *d, enum propkey_health h, const char *name,
                        const char *fmt, ...)
{
    char raw[600], text[1200];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    (void)prop_printable(raw, n < 0 ? 0 : strlen(raw), text, sizeof text);
    (void)json_array_append_new(d->checks, json_pack("{s:s,s:s,s:s}", "name", name, "status",
                                                     words[h], "text", text));
    d->failed = d->failed || h == PROPKEY_FAIL;
}

bool propkey_doctor_is(const struct prop_err *err, const char *id)
{
    return strcmp(prop_err_id(err), id) == 0;
}

enum propkey_health propkey_doctor_insecure(const struct propkey_doctor *d)
{
    return d->loopback ? PROPKEY_WARN : PROPKEY_FAIL;
}

static void print_checks(const json_t *doc, void *stream)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(doc, "checks"), i, c)
        (void)fprintf(stream, "%-4s %s: %s\n", json_string_value(json_object_get(c, "status")),
                      json_string_value(json_object_get(c, "name")),
                      json_string_value(json_object_get(c, "text")));
}

static void examine(struct propkey_doctor *d)
{
    char host[256];
    d->loopback = prop_url_host(prop_kbs_url(d->k), host, sizeof host, NULL) == 0 &&
                  prop_host_is_loopback(host);
    if (!propkey_doctor_server(d))
        return;
    propkey_doctor_admin(d);
    propkey_doctor_guests(d);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct doctor_opts *o = opts;
    struct prop_kbs_config c;
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_json json_t *checks = json_array();
    struct propkey_doctor d = { .cli = cli, .o = &o->kbs, .checks = checks, .family = "not known" };
    if (!checks)
        return prop_err_nomem(err);
    enum prop_tee tee = PROP_TEE_NONE;
    struct prop_err no_tee = PROP_ERR_INIT; /* that there is none is a line of the report */
    int rc = prop_kbs_opts_config(&o->kbs, &c, err);
    if (rc == 0 && prop_kbs_opts_tee(&o->kbs, &tee, &no_tee) == PROP_E_USAGE) {
        *err = no_tee;
        rc = PROP_E_USAGE;
    }
    if (rc < 0)
        return rc;
    c.tls_facts = true;
    rc = prop_kbs_new(&c, &k, err);
    if (rc < 0)
        return rc;
    d.k = k;
    examine(&d);
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:s,s:b,s:s,s:O}", "kbs", prop_kbs_url(k), "server", d.family, "healthy",
                  !d.failed, "admin_token_form", prop_kbs_admin_form(k), "checks", checks);
    if (!doc)
        return prop_err_nomem(err);
    if (d.failed)
        prop_cli_set_status(cli, 1);
    return prop_cli_result(cli, doc, print_checks, err);
}

const struct prop_verb propkey_verb_doctor = {
    "doctor", "", "look a key broker over: reachable, safe, and will it take what we send",
    "One line per check: ok, warn or fail, its name, what was found. Nothing is changed:\n"
    "questions are GETs, and a handshake with sample evidence, which asks for a resource that\n"
    "does not exist. Exit status 1 when a check fails. Proxies are those of the environment\n"
    "(https_proxy, http_proxy, no_proxy), never for loopback.\n"
    "\n"
    "  propkey doctor --kbs https://kbs.example.com --ca-cert ca.pem --admin-key admin.key",
    options, sizeof(struct doctor_opts), 0, 0, run
};
