/* propkey admin-token: a token to hand to scripts and to other tools. */
#include "cmd/cli/kbs_opts.h"
#include "cmd/propkey/verbs.h"

#include "keys/keyfile.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

enum { TOKEN_MAX = 16 << 10 };

static const struct prop_opt options[] = {
    { "admin-key", 0, PROP_OPT_STRING, "FILE", "Ed25519 private key (PEM) to sign with",
      offsetof(struct prop_kbs_opts, admin_key), "PROP_ADMIN_KEY", "admin.key", false },
    { "issuer", 0, PROP_OPT_STRING, "NAME", "issuer (iss)", offsetof(struct prop_kbs_opts, issuer),
      NULL, "propkey", false },
    { "audience", 0, PROP_OPT_STRING, "NAME", "audience (aud); without it, none",
      offsetof(struct prop_kbs_opts, audience), NULL, NULL, false },
    { "role", 0, PROP_OPT_STRING, "NAME", "role", offsetof(struct prop_kbs_opts, role), NULL,
      "admin", false },
    { "lifetime", 0, PROP_OPT_DURATION, "TIME", "how long it is good for",
      offsetof(struct prop_kbs_opts, lifetime_ms), NULL, "2h", false },
    PROP_OPT_END
};

static void print_token(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%s\n", json_string_value(json_object_get(doc, "token")));
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct prop_kbs_opts *o = opts;
    struct prop_kbs_config c = { .issuer = o->issuer, .audience = o->audience, .role = o->role,
                                 .lifetime_s = o->lifetime_ms / 1000 };
    prop_auto_pkey struct prop_pkey *key = NULL;
    struct prop_buf token = PROP_BUF_INIT(TOKEN_MAX);
    char until[21];
    if (c.lifetime_s == 0)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                               "--lifetime takes a second or more");
    int rc = prop_keyfile_private(o->admin_key, NULL, &key, NULL, err);
    if (rc < 0)
        return prop_err_wrap(err, "admin key");
    rc = prop_kbs_admin_token(key, &c, &token, err);
    if (rc < 0)
        return rc == PROP_E_USAGE ? rc : prop_err_wrap(err, "admin key '%s'", o->admin_key);
    prop_rfc3339(prop_wall_time() + (time_t)c.lifetime_s, until);
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:s}", "token", prop_buf_str(&token), "expires", until);
    prop_wipe(token.data, token.len);
    prop_buf_release(&token);
    return doc ? prop_cli_result(cli, doc, print_token, err) : prop_err_nomem(err);
}

const struct prop_verb propkey_verb_admin_token = {
    "admin-token", "", "sign an admin token and print it",
    "The token is as good as the key until it expires: write it to a file of mode 0600.\n"
    "\n"
    "  (umask 077; propkey admin-token --admin-key admin.key > admin.token)",
    options, sizeof(struct prop_kbs_opts), 0, 0, run
};
