/* propenc keyprovider: an ocicrypt key provider for attestation-agent packets. One request on
 * standard input, or the gRPC service with --listen, a drop-in for coco_keyprovider. */
#include "cmd/propenc/verbs.h"

#include "cmd/cli/kbs_opts.h"
#include "cmd/propenc/keyprovider_agent.h"
#include "cmd/propenc/keyprovider_daemon.h"
#include "keyprovider/keyprovider.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REQUEST_MAX = 4 << 20 };

struct keyprovider_opts {
    const char *listen, *socket, *name, *auth_private_key;
    struct prop_kbs_opts kbs;
    struct prop_strs keks;
    bool allow_ctr, replace_key, daemon, any_user;
};

static const struct prop_opt options[] = {
    { "listen", 0, PROP_OPT_STRING, "ADDR",
      "serve gRPC on unix:PATH or 127.0.0.1:PORT (0 picks one)",
      offsetof(struct keyprovider_opts, listen), NULL, NULL, false },
    { "any-user", 0, PROP_OPT_FLAG, NULL,
      "serve every user of this machine, not only this one and root",
      offsetof(struct keyprovider_opts, any_user), NULL, NULL, false },
    { "kek", 0, PROP_OPT_LIST, "FILE", "unwrap with this 32-byte KEK (repeatable)",
      offsetof(struct keyprovider_opts, keks), NULL, NULL, false },
    { "name", 0, PROP_OPT_STRING, "NAME", "what the ocicrypt configuration calls this provider",
      offsetof(struct keyprovider_opts, name), NULL, "attestation-agent", false },
    { "replace-key", 0, PROP_OPT_FLAG, NULL,
      "let an upload overwrite another key of the same name",
      offsetof(struct keyprovider_opts, replace_key), NULL, NULL, false },
    { "allow-a256ctr", 0, PROP_OPT_FLAG, NULL,
      "make and take packets wrapped with A256CTR, which have no integrity",
      offsetof(struct keyprovider_opts, allow_ctr), NULL, NULL, false },
    PROP_KBS_OPTIONS(struct keyprovider_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct keyprovider_opts, kbs),
    PROP_KBS_TEE_OPTION(struct keyprovider_opts, kbs),
    { "socket", 's', PROP_OPT_STRING, "IP:PORT", "coco_keyprovider's name for --listen",
      offsetof(struct keyprovider_opts, socket), NULL, NULL, true },
    { "auth-private-key", 'a', PROP_OPT_STRING, "FILE", "coco_keyprovider's name for --admin-key",
      offsetof(struct keyprovider_opts, auth_private_key), NULL, NULL, true },
    { "daemon", 'd', PROP_OPT_FLAG, NULL, "go on in the background",
      offsetof(struct keyprovider_opts, daemon), NULL, NULL, true },
    PROP_OPT_END
};

/* --- setting up ------------------------------------------------------------------------------- */

/* coco_keyprovider's spellings onto ours. */
static int take_aliases(struct prop_cli *cli, struct keyprovider_opts *o, struct prop_err *err)
{
    if (o->socket && o->listen)
        return prop_err_set_id(err, PROP_E_USAGE, "option-repeated",
                               "--socket and --listen mean the same");
    if (o->socket) { /* and who may ask is as there */
        o->listen = o->socket;
        o->any_user = true;
    }
    if (o->auth_private_key && prop_cli_given(cli, "admin-key"))
        return prop_err_set_id(err, PROP_E_USAGE, "option-repeated",
                               "--auth-private-key and --admin-key mean the same");
    if (o->auth_private_key)
        o->kbs.admin_key = o->auth_private_key;
    if (o->daemon && !o->listen)
        return prop_err_set_id(err, PROP_E_USAGE, "daemon",
                               "--daemon needs an address to listen on");
    return 0;
}

/* A machine without a TEE can wrap; only unwrapping through the key broker needs one. */
static int choose_tee(const struct prop_kbs_opts *o, enum prop_tee *ret, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_kbs_opts_tee(o, ret, &inner);
    if (rc != 0 && (!o->tee || strcmp(o->tee, "auto") == 0) &&
        strcmp(prop_err_id(&inner), "no-tee") == 0) {
        *ret = PROP_TEE_NONE;
        return 0;
    }
    if (rc != 0 && err)
        *err = inner;
    return rc;
}

static int open_broker(const struct keyprovider_opts *o, struct propenc_agent *a,
                       struct prop_err *err)
{
    if (!o->kbs.kbs || !*o->kbs.kbs) {
        if (!o->auth_private_key)
            return 0;
        (void)prop_err_set_id(err, PROP_E_USAGE, "no-kbs",
                              "--auth-private-key is of no use without a key broker");
        return prop_err_hint(err, "give --kbs URL or set PROP_KBS_URL");
    }
    int rc = prop_kbs_opts_open(&o->kbs, &a->kbs, err);
    if (rc == 0)
        rc = choose_tee(&o->kbs, &a->tee, err);
    a->may_upload = rc == 0 && (o->kbs.admin_key || o->kbs.admin_token);
    return rc;
}

static int set_up(const struct keyprovider_opts *o, struct propenc_agent *a, struct prop_err *err)
{
    a->allow_ctr = o->allow_ctr;
    a->replace_key = o->replace_key;
    int rc = open_broker(o, a, err);
    for (size_t i = 0; rc == 0 && i < o->keks.n; i++)
        rc = propenc_agent_add_kek(a, o->keks.items[i], err);
    return rc;
}

/* --- one request on standard input ------------------------------------------------------------ */

static int answer_one(const struct prop_kp_provider *p, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *request = NULL;
    prop_auto_secret struct prop_secret *reply = NULL;
    if (isatty(STDIN_FILENO)) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "terminal",
                              "a key provider request is read from standard input");
        return prop_err_hint(err, "ocicrypt's tools start this; for a server, --listen ADDR");
    }
    int rc = prop_file_read_secret("-", REQUEST_MAX, PROP_SECRET_FILE_ANY_MODE, &request, err);
    if (rc == 0)
        rc = prop_kp_answer(p, PROP_KP_ANY, request, &reply, err);
    if (rc != 0)
        return rc;
    /* Not through stdio, whose buffer would keep it. */
    if (prop_write_all(STDOUT_FILENO, prop_secret_data(reply), prop_secret_len(reply)) != 0)
        return prop_err_sys(err, PROP_E_IO, "write to standard output");
    return 0;
}

/* --- the service ------------------------------------------------------------------------------ */

struct service {
    struct prop_cli *cli;
    bool any_user;
    int ready; /* of --daemon; -1 = none */
};

static void on_ready(void *ctx, const char *address)
{
    const struct service *s = ctx;
    struct prop_err err = PROP_ERR_INIT;
    if (s->any_user && !prop_starts_with(address, "unix:"))
        prop_cli_warn(s->cli, "every user of this machine can ask at %s; with --listen only this "
                              "one", address);
    printf("listening on %s\n", address);
    if (fflush(stdout) != 0) {
        prop_cli_warn(s->cli, "standard output cannot be written, so nobody knows where to "
                              "connect");
        prop_stop_request(SIGTERM);
    }
    if (s->ready >= 0 && propenc_daemon_ready(s->ready, &err) != 0) {
        prop_cli_warn(s->cli, "%s", err.message);
        prop_stop_request(SIGTERM);
    }
}

static void on_call(void *ctx, const char *line)
{
    const struct service *s = ctx;
    prop_cli_note(s->cli, "%s", line);
}

static int serve(struct prop_cli *cli, const struct keyprovider_opts *o,
                 const struct prop_kp_provider *p, struct prop_err *err)
{
    struct service s = { cli, o->any_user, -1 };
    const struct prop_kp_serve how = { .listen = o->listen, .any_user = o->any_user, .provider = p,
                                       .ready = on_ready, .log = on_call, .ctx = &s };
    int status = -1;
    if (o->daemon) {
        int rc = propenc_daemon_start(&status, &s.ready, err);
        if (rc != 0)
            return rc;
        if (status >= 0) { /* the parent */
            prop_cli_set_status(cli, status);
            return 0;
        }
    }
    return prop_kp_serve(&how, err);
}

static int run_keyprovider(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct keyprovider_opts *o = opts;
    struct propenc_agent agent = { .kbs = NULL };
    const struct prop_kp_provider provider = { .name = o->name, .wrap = propenc_agent_wrap,
                                               .unwrap = propenc_agent_unwrap, .ctx = &agent };
    int rc = take_aliases(cli, o, err);
    if (rc == 0)
        rc = set_up(o, &agent, err);
    if (rc == 0)
        rc = o->listen ? serve(cli, o, &provider, err) : answer_one(&provider, err);
    propenc_agent_release(&agent);
    return rc;
}

static const char details[] =
    "Without --listen: one request of ocicrypt's exec protocol on standard input, the\n"
    "reply on standard output. Named in the file of OCICRYPT_KEYPROVIDER_CONFIG as\n"
    "\n"
    "  {\"key-providers\": {\"attestation-agent\": {\"cmd\": {\"path\": \"propenc\",\n"
    "      \"args\": [\"keyprovider\", \"--kbs\", \"https://kbs.example.com\",\n"
    "               \"--admin-key\", \"admin.key\"]}}}}\n"
    "\n"
    "With --listen: ocicrypt's gRPC service, as coco_keyprovider --socket, until SIGTERM, for\n"
    "this user and root (coco_keyprovider's --socket, taken too, is for every user).\n"
    "\n"
    "  propenc keyprovider --listen 127.0.0.1:50000 --kbs https://kbs.example.com\n"
    "\n"
    "Wrapping: provider:attestation-agent:keypath=FILE::keyid=kbs:///REPO/TYPE/TAG. Without\n"
    "keypath the key of that name is used, or made, kept and uploaded; nothing is wrapped\n"
    "before the key broker has taken the key. Unwrapping: with --kek, with a key that\n"
    "this machine keeps, or with one that --kbs gives out after attestation.";

const struct prop_verb propenc_verb_keyprovider = {
    "keyprovider", "[--listen ADDR]", "wrap and unwrap layer keys for ocicrypt's tools", details,
    options, sizeof(struct keyprovider_opts), 0, 0, run_keyprovider
};
