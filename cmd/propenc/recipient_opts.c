/* -r, --key and what belongs to them, turned into recipients and openers. */
#include "cmd/propenc/recipient_opts.h"

#include "cmd/propenc/recipient_kek.h"
#include "keyprovider/keyprovider.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

#define AGENT "provider:attestation-agent"

/* May any of the arguments name a key provider of a configuration? */
static bool names_provider(const struct prop_strs *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const char *at = strstr(s->items[i], "provider:");
        if (at && !prop_starts_with(at, AGENT ":") && strcmp(at, AGENT) != 0)
            return true;
    }
    return false;
}

/* The configuration is read where it was named, or where an argument needs it: a broken one of the
 * environment must not stop who does not use it. */
static int load_providers(struct propenc_recipient_opts *o, struct prop_err *err)
{
    if (o->providers)
        return 0;
    if (!o->provider_config && !names_provider(&o->recipients) &&
        !names_provider(&o->encryption_keys) && !names_provider(&o->keys) &&
        !names_provider(&o->decryption_keys))
        return 0;
    return prop_kp_config_load(o->provider_config, &o->providers, err);
}

/* The CoCo key provider's name is ours, since what we write is what it writes, without a daemon; a
 * configuration named for this very call says otherwise. */
static bool agent_is_external(const struct propenc_recipient_opts *o)
{
    return o->provider_config && o->providers &&
           prop_kp_config_has(o->providers, "attestation-agent");
}

static int begin(struct prop_cli *cli, struct propenc_recipient_opts *o, struct prop_err *err)
{
    o->cli = cli;
    return load_providers(o, err);
}

/* skopeo splits its options at commas, as CSV does: "a,b" in double quotes is one. Ours are taken
 * as they are. Calls `add` for each part. */
static int each_part(const char *text, int (*add)(void *to, const char *part, struct prop_err *err),
                     void *to, struct prop_err *err)
{
    prop_auto_buf struct prop_buf part = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    bool quoted = false;
    int rc = 0;
    for (const char *p = text; rc == 0; p++) {
        if (*p == 0 || (*p == ',' && !quoted)) {
            rc = add(to, prop_buf_str(&part), err);
            prop_buf_clear(&part);
            if (*p == 0)
                break;
        } else if (*p == '"' && (quoted || part.len == 0)) {
            quoted = !quoted;
        } else {
            rc = prop_buf_add(&part, p, 1, err);
        }
    }
    return rc;
}

static int add_key(void *to, const char *text, struct prop_err *err)
{
    return prop_openers_add(to, text, err);
}

static int add_recipient(void *to, const char *text, struct prop_err *err)
{
    return prop_recipients_add(to, text, err);
}

/* Ours as they are, then skopeo's in parts. */
static int add_all(const struct prop_strs *ours, const struct prop_strs *skopeos,
                   int (*add)(void *to, const char *text, struct prop_err *err), void *to,
                   struct prop_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < ours->n && rc == 0; i++)
        rc = add(to, ours->items[i], err);
    for (size_t i = 0; i < skopeos->n && rc == 0; i++)
        rc = each_part(skopeos->items[i], add, to, err);
    return rc;
}

/* --- what opens it --- */

static int no_key(struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "no-key", "no key was given");
    return prop_err_hint(err, "--key PRIVATE-KEY.pem, --key KEK-FILE, or --kbs URL where the key "
                         "broker has it; 'propenc inspect' tells which");
}

static bool has_kbs(const struct propenc_recipient_opts *o)
{
    return o->kbs.kbs && *o->kbs.kbs;
}

int propenc_fill_openers(struct prop_cli *cli, struct propenc_recipient_opts *o, bool required,
                         struct prop_openers **ret, struct prop_err *err)
{
    prop_auto_openers struct prop_openers *to = NULL;
    int rc = begin(cli, o, err);
    if (rc != 0)
        return rc;
    if (o->keys.n + o->decryption_keys.n == 0 && !has_kbs(o)) {
        *ret = NULL;
        return required ? no_key(err) : 0;
    }
    if ((rc = prop_openers_new(&to, err)) != 0)
        return rc;
    prop_openers_allow_a256ctr(to, o->allow_ctr);
    prop_openers_set_providers(to, o->providers, agent_is_external(o));
    if (has_kbs(o))
        prop_openers_set_kek_source(to, propenc_kek_fetch, o);
    if ((rc = add_all(&o->keys, &o->decryption_keys, add_key, to, err)) != 0)
        return rc;
    *ret = PROP_TAKE(to);
    return 0;
}

/* --- who is to open it --- */

static int check_recipients(const struct propenc_recipient_opts *o, struct prop_recipients *to,
                            struct prop_err *err)
{
    if (prop_recipients_count(to) == 0) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "no-recipient", "no recipient was given");
        return prop_err_hint(err, "-r jwe:PUBKEY.pem, or -r " AGENT ":keypath=FILE::"
                             "keyid=kbs:///repo/type/tag, or --generate for a new key");
    }
    if (!o->generate || json_array_size(o->made) > 0)
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "generate-unused",
                          "--generate makes no key: no recipient is without one");
    return prop_err_hint(err, "-r " AGENT ":keyid=kbs:///repo/type/tag takes the new key");
}

/* Warnings as they arise, each once. */
static void say_warnings(struct prop_cli *cli, const struct prop_recipients *to)
{
    size_t i;
    json_t *text;
    json_array_foreach((json_t *)(uintptr_t)prop_recipients_warnings(to), i, text)
        prop_cli_warn(cli, "%s", json_string_value(text));
}

int propenc_fill_recipients(struct prop_cli *cli, struct propenc_recipient_opts *o,
                            const struct prop_openers *openers, bool dry_run,
                            struct prop_recipients **ret, struct prop_err *err)
{
    prop_auto_recipients struct prop_recipients *to = NULL;
    const struct prop_kek_supply supply = {
        .fetch = has_kbs(o) ? propenc_kek_fetch : NULL,
        .generate = o->generate ? propenc_kek_generate : NULL,
        .ctx = o,
    };
    int rc;
    if ((rc = begin(cli, o, err)) != 0 || (rc = prop_recipients_new(&to, err)) != 0)
        return rc;
    o->dry_run = dry_run;
    prop_recipients_set_supply(to, &supply);
    prop_recipients_allow_a256ctr(to, o->allow_ctr);
    prop_recipients_set_openers(to, openers);
    prop_recipients_set_providers(to, o->providers, agent_is_external(o));
    if ((rc = add_all(&o->recipients, &o->encryption_keys, add_recipient, to, err)) != 0)
        return rc;
    if (o->generate && prop_recipients_count(to) == 0 &&
        (rc = prop_recipients_add(to, AGENT, err)) != 0)
        return rc;
    if ((rc = check_recipients(o, to, err)) != 0)
        return rc;
    say_warnings(cli, to);
    *ret = PROP_TAKE(to);
    return 0;
}

int propenc_report_made(const struct propenc_recipient_opts *o, json_t *doc, struct prop_err *err)
{
    if (json_array_size(o->made) == 0)
        return 0;
    propenc_kek_note_image(o, json_string_value(json_object_get(doc, "destination")),
                           json_string_value(json_object_get(doc, "digest")));
    return json_object_set(doc, "keks", o->made) == 0 ? 0 : prop_err_nomem(err);
}

void propenc_recipient_opts_release(struct propenc_recipient_opts *o)
{
    prop_kbs_free(o->client);
    prop_kp_config_free(o->providers);
    json_decref(o->made);
    o->client = NULL;
    o->providers = NULL;
    o->made = NULL;
}
