#include "vm/guestconf.h"

#include "util/mem.h"
#include "util/text.h"
#include "vm/guestdir.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define VERSION 1

static int bad(struct prop_err *err, const char *why)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-configuration",
                           "the guest's configuration: %s", why);
}

static int version_check(const json_t *json, const char *what, struct prop_err *err)
{
    json_int_t version = 0;
    const struct prop_json_field fields[] = {
        { "version", PROP_JSON_INT, 0, PROP_JSON_REQUIRED },
    };
    int rc = prop_json_read(json, what, fields, 1, &version, err);

    if (rc == 0 && version != VERSION)
        rc = prop_err_set(err, PROP_E_UNSUPPORTED, "'%s' is of version %lld, this is %d", what,
                          (long long)version, VERSION);
    return rc;
}

static void name_it(int rc, struct prop_err *err)
{
    if (rc == PROP_E_INPUT && err && err->id == NULL)
        err->id = "bad-configuration";
}

/* ---- image.json ---------------------------------------------------------------------------- */

int prop_guest_image_parse(const char *text, size_t len, struct prop_guest_image *ret,
                           struct prop_err *err)
{
    static const struct prop_json_field fields[] = {
        { "tee", PROP_JSON_STRING, offsetof(struct prop_guest_image, tee), PROP_JSON_REQUIRED },
        { "init_data", PROP_JSON_STRING, offsetof(struct prop_guest_image, init_data),
          PROP_JSON_NULLABLE },
        { "console_result", PROP_JSON_BOOL, offsetof(struct prop_guest_image, console_result), 0 },
        { "secrets_from_host", PROP_JSON_ARRAY,
          offsetof(struct prop_guest_image, secrets_from_host), PROP_JSON_REQUIRED },
        { "modules", PROP_JSON_ARRAY, offsetof(struct prop_guest_image, modules),
          PROP_JSON_REQUIRED },
    };
    struct prop_guest_image i = {.json = NULL};
    int rc = prop_json_parse(text, len, "image.json", &i.json, err);

    if (rc == 0)
        rc = version_check(i.json, "image.json", err);
    if (rc == 0)
        rc = prop_json_read(i.json, "image.json", fields, PROP_ARRAY_LEN(fields), &i, err);
    name_it(rc, err);
    if (rc)
        prop_guest_image_release(&i);
    else
        *ret = i;
    return rc;
}

void prop_guest_image_release(struct prop_guest_image *i)
{
    json_decref(i->json);
    *i = (struct prop_guest_image){.json = NULL};
}

/* ---- propcvm.json -------------------------------------------------------------------------- */

static bool all_texts(const json_t *list)
{
    size_t i = 0;
    const json_t *v = NULL;

    json_array_foreach(list, i, v)
        if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
            return false;
    return true;
}

static bool map_of_texts(json_t *map)
{
    const char *k = NULL;
    json_t *v = NULL;

    if (map == NULL)
        return true;
    json_object_foreach(map, k, v)
        if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
            return false;
    return true;
}

static bool is_ipv4(const char *text)
{
    struct in_addr a;

    return text && inet_pton(AF_INET, text, &a) == 1;
}

static int read_network(const json_t *net, struct prop_guest_conf *c, struct prop_err *err)
{
    const char *mode = json_string_value(json_object_get(net, "mode"));
    size_t i = 0;
    const json_t *v = NULL;
    char address[20] = "";
    unsigned bits = 33;
    char end = 0;

    if (net == NULL || (mode && strcmp(mode, "dhcp") == 0))
        return 0;
    if (mode == NULL || strcmp(mode, "static") != 0)
        return bad(err, "'network.mode' is neither 'dhcp' nor 'static'");
    c->net_static = true;
    c->address = json_string_value(json_object_get(net, "address"));
    c->gateway = json_string_value(json_object_get(net, "gateway"));
    c->dns = json_object_get(net, "dns");
    if (c->address == NULL || sscanf(c->address, "%15[0-9.]/%2u%c", address, &bits, &end) != 2 ||
        bits > 32 || !is_ipv4(address))
        return bad(err, "'network.address' is no ADDRESS/BITS of IPv4");
    if (c->gateway && !is_ipv4(c->gateway))
        return bad(err, "'network.gateway' is no IPv4 address");
    if (c->dns && !json_is_array(c->dns))
        return bad(err, "'network.dns' is no list of IPv4 addresses");
    json_array_foreach(c->dns, i, v)
        if (!is_ipv4(json_string_value(v)))
            return bad(err, "'network.dns' is no list of IPv4 addresses");
    return 0;
}

static int read_conf(const json_t *data, struct prop_guest_conf *c, struct prop_err *err)
{
    static const struct prop_json_field fields[] = {
        { "name", PROP_JSON_STRING, offsetof(struct prop_guest_conf, name), PROP_JSON_REQUIRED },
        { "argv", PROP_JSON_ARRAY, offsetof(struct prop_guest_conf, argv), PROP_JSON_REQUIRED },
        { "env", PROP_JSON_OBJECT, offsetof(struct prop_guest_conf, env), PROP_JSON_NULLABLE },
        { "secrets", PROP_JSON_OBJECT, offsetof(struct prop_guest_conf, secrets),
          PROP_JSON_NULLABLE },
    };
    static const struct prop_json_field kbs_fields[] = {
        { "url", PROP_JSON_STRING, offsetof(struct prop_guest_conf, kbs_url), PROP_JSON_REQUIRED },
        { "cert", PROP_JSON_STRING, offsetof(struct prop_guest_conf, kbs_cert),
          PROP_JSON_NULLABLE },
    };
    const json_t *text = json_object_get(data, PROP_INITDATA_PROPCVM);
    const char *verb = NULL;

    if (!json_is_string(text))
        return bad(err, "init-data without '" PROP_INITDATA_PROPCVM "'");
    int rc = prop_json_parse(json_string_value(text), json_string_length(text),
                             PROP_INITDATA_PROPCVM, &c->json, err);
    if (rc == 0)
        rc = version_check(c->json, PROP_INITDATA_PROPCVM, err);
    if (rc == 0)
        rc = prop_json_read(c->json, PROP_INITDATA_PROPCVM, fields, PROP_ARRAY_LEN(fields), c, err);
    const json_t *kbs = json_object_get(c->json, "kbs");
    if (rc == 0 && kbs && !json_is_null(kbs))
        rc = prop_json_read(kbs, "kbs", kbs_fields, PROP_ARRAY_LEN(kbs_fields), c, err);
    if (rc)
        return rc;
    verb = json_string_value(json_array_get(c->argv, 0));
    if (!all_texts(c->argv) || verb == NULL ||
        (strcmp(verb, "run") != 0 && strcmp(verb, "serve") != 0))
        return bad(err, "'argv' is no command of 'run' or 'serve'");
    if (!map_of_texts(c->env) || !map_of_texts(c->secrets))
        return bad(err, "'env' and 'secrets' hold texts");
    if (prop_guest_name_check(c->name, NULL) != 0)
        return bad(err, "'name' is malformed");
    c->task = json_string_value(json_object_get(data, PROP_INITDATA_TASK));
    return read_network(json_object_get(c->json, "network"), c, err);
}

int prop_guest_conf_read(const json_t *data, struct prop_guest_conf *ret, struct prop_err *err)
{
    struct prop_guest_conf c = PROP_GUEST_CONF_INIT;
    int rc = read_conf(data, &c, err);

    name_it(rc, err);
    if (rc)
        prop_guest_conf_release(&c);
    else
        *ret = c;
    return rc;
}

void prop_guest_conf_release(struct prop_guest_conf *c)
{
    json_decref(c->json);
    *c = (struct prop_guest_conf)PROP_GUEST_CONF_INIT;
}

/* ---- writing the document ------------------------------------------------------------------ */

/* A TOML basic string on one line; every text can be written that way (TOML 1.0, String). */
static int put_escaped(struct prop_buf *out, const char *text, struct prop_err *err)
{
    int rc = prop_buf_puts(out, "\"", err);

    for (const char *p = text; rc == 0 && *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            rc = prop_buf_printf(out, err, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            rc = prop_buf_printf(out, err, "\\u%04X", c);
        else
            rc = prop_buf_add(out, p, 1, err);
    }
    return rc ? rc : prop_buf_puts(out, "\"", err);
}

/* Several lines as they are where TOML can hold them so (a multi-line literal string). */
static int put_text(struct prop_buf *out, const char *text, struct prop_err *err)
{
    bool plain = strstr(text, "'''") == NULL && (!*text || text[strlen(text) - 1] != '\'');

    for (const char *p = text; plain && *p; p++)
        plain = (unsigned char)*p >= 0x20 ? *p != 0x7f : *p == '\n' || *p == '\t';
    return plain ? prop_buf_printf(out, err, "'''\n%s'''", text) : put_escaped(out, text, err);
}

static int put_entry(struct prop_buf *out, const char *name, const char *text, struct prop_err *err)
{
    int rc = prop_buf_printf(out, err, "\"%s\" = ", name);

    if (rc == 0)
        rc = put_text(out, text, err);
    return rc ? rc : prop_buf_puts(out, "\n", err);
}

/* aa.toml and cdh.toml, which say the same to two agents under different names. */
static int put_agents(struct prop_buf *out, const char *url, const char *cert, struct prop_err *err)
{
    static const struct { const char *file, *head, *cert; } agents[] = {
        { "aa.toml", "[token_configs]\n[token_configs.kbs]\nurl = ", "cert = " },
        { "cdh.toml", "[kbc]\nname = \"cc_kbc\"\nurl = ", "kbs_cert = " },
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(agents); i++) {
        prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_INITDATA_MAX);
        rc = prop_buf_puts(&text, agents[i].head, err);
        if (rc == 0)
            rc = put_escaped(&text, url, err);
        if (rc == 0 && cert) {
            rc = prop_buf_printf(&text, err, "\n%s", agents[i].cert);
            if (rc == 0)
                rc = put_escaped(&text, cert, err);
        }
        if (rc == 0)
            rc = prop_buf_puts(&text, "\n", err);
        if (rc == 0)
            rc = put_entry(out, agents[i].file, prop_buf_str(&text), err);
    }
    return rc;
}

int prop_guest_conf_document(const json_t *conf, const char *task, struct prop_buf *out,
                             struct prop_err *err)
{
    const json_t *kbs = json_object_get(conf, "kbs");
    const char *url = json_string_value(json_object_get(kbs, "url"));
    prop_auto_free char *text = prop_json_sorted(conf);
    prop_auto_free char *line = text ? prop_asprintf("%s\n", text) : NULL;

    if (line == NULL)
        return prop_err_nomem(err);
    int rc = prop_buf_puts(out, "version = \"0.1.0\"\nalgorithm = \"sha384\"\n\n[data]\n", err);
    if (rc == 0 && url)
        rc = put_agents(out, url, json_string_value(json_object_get(kbs, "cert")), err);
    if (rc == 0)
        rc = put_entry(out, PROP_INITDATA_PROPCVM, line, err);
    if (rc == 0 && task)
        rc = put_entry(out, PROP_INITDATA_TASK, task, err);
    return rc;
}

/* ---- what may be asked of a guest ---------------------------------------------------------- */

/* Set by init, or naming a file of the host, or a way around the evidence. */
static const char *const not_there[] = {
    "--kbs", "--ca-cert", "--tee", "--json", "--insecure-http", "--client-cert", "--client-key",
    "--key", "--decryption-key", "--quiet", "--verbose", "--help", "--version", "--show-config",
};

int prop_guest_argv_check(const char *const *argv, size_t n, struct prop_err *err)
{
    if (n == 0 || (strcmp(argv[0], "run") != 0 && strcmp(argv[0], "serve") != 0)) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "guest-command",
                              "the guest runs '%s', which is neither 'run' nor 'serve'",
                              n ? argv[0] : "");
        return prop_err_hint(err, "for example: propcvm vm build -o guest -- run HOST/NAME:TAG");
    }
    for (size_t i = 1; i < n && strcmp(argv[i], "--") != 0; i++) {
        size_t len = strcspn(argv[i], "=");
        for (size_t k = 0; k < PROP_ARRAY_LEN(not_there); k++) {
            if (len != strlen(not_there[k]) || strncmp(argv[i], not_there[k], len) != 0)
                continue;
            (void)prop_err_set_id(err, PROP_E_USAGE, "guest-command",
                                  "'%s' is not the guest's to be told there", not_there[k]);
            return prop_err_hint(err, "--kbs, --ca-cert and --tee are options of `vm build` itself, in "
                                      "front of '--'");
        }
    }
    return 0;
}

int prop_guest_kbs_check(const char *url, struct prop_err *err)
{
    if (!strstr(url, "://127.") && !strstr(url, "://localhost") && !strstr(url, "://[::1]"))
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "kbs-loopback",
                          "'%s' is the guest itself, seen from inside", url);
    return prop_err_hint(err, "this host's loopback is 10.0.2.2 in a VM with QEMU's user network");
}

int prop_guest_env_check(const char *text, struct prop_err *err)
{
    size_t len = strcspn(text, "=");

    if (!prop_starts_with(text, "PROPLET_") || text[len] != '=')
        return prop_err_set_id(err, PROP_E_USAGE, "guest-variable",
                               "'%.*s': a guest gets variables of the form PROPLET_NAME=VALUE only",
                               (int)len, text);
    if ((len >= 7 && strncmp(text + len - 7, "API_KEY", 7) == 0) ||
        (len >= 10 && strncmp(text + len - 10, "CLIENT_KEY", 10) == 0)) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "guest-secret",
                              "'%.*s' is a secret, and an image holds none", (int)len, text);
        return prop_err_hint(err, "--secret api-key=kbs:///repo/type/tag: the guest fetches it after it "
                                  "attested; or --secret-from-host api-key");
    }
    return 0;
}

int prop_guest_secret_check(const char *name, struct prop_err *err)
{
    if (strcmp(name, "api-key") == 0)
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "guest-secret", "'%s' is no secret a guest asks for",
                          name);
    return prop_err_hint(err, "'api-key': the proplet's key for the MQTT broker");
}
