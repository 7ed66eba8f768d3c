/* propkbs serve: run the development KBS in the foreground until a signal ends it. */
#include "cmd/propkbs/serve.h"

#include "kbsd/kbsd.h"
#include "util/file.h"
#include "util/stop.h"

#include <signal.h>
#include <stdio.h>

struct serve_opts {
    const char *listen, *state, *issuer, *audience, *token_key;
    struct prop_strs acl;
    uint64_t session_ms;
    bool tls, deny_all, test_ok;
};

static const struct prop_opt serve_options[] = {
    { .name = "listen", .kind = PROP_OPT_STRING, .arg = "HOST:PORT", .def = "127.0.0.1:8080",
      .help = "where to listen; port 0 picks a free one",
      .offset = offsetof(struct serve_opts, listen) },
    { .name = "state", .kind = PROP_OPT_STRING, .arg = "DIR",
      .help = "keys and database, made when absent (default: prop/kbs in the data folder)",
      .offset = offsetof(struct serve_opts, state), .env = "PROP_KBS_STATE" },
    { .name = "tls", .kind = PROP_OPT_FLAG,
      .help = "serve https under a CA of its own, DIR/ca.pem",
      .offset = offsetof(struct serve_opts, tls) },
    { .name = "issuer", .kind = PROP_OPT_STRING, .arg = "NAME",
      .help = "demand this `iss` of admin tokens", .offset = offsetof(struct serve_opts, issuer) },
    { .name = "audience", .kind = PROP_OPT_STRING, .arg = "NAME",
      .help = "demand this `aud` of admin tokens",
      .offset = offsetof(struct serve_opts, audience) },
    { .name = "acl", .kind = PROP_OPT_LIST, .arg = "ROLE=REGEX",
      .help = "what a role may do, ^/kbs...$ (repeatable; default: admin may do everything)",
      .offset = offsetof(struct serve_opts, acl) },
    { .name = "deny-all", .kind = PROP_OPT_FLAG, .help = "refuse every administrator",
      .offset = offsetof(struct serve_opts, deny_all) },
    { .name = "token-key", .kind = PROP_OPT_STRING, .arg = "FILE",
      .help = "EC P-256 key for attestation tokens (default: DIR/token.key, made when absent)",
      .offset = offsetof(struct serve_opts, token_key) },
    { .name = "session-timeout", .kind = PROP_OPT_DURATION, .arg = "TIME", .def = "5m",
      .help = "how long a handshake may take, whole minutes",
      .offset = offsetof(struct serve_opts, session_ms) },
    { .name = "i-know-this-is-a-test", .kind = PROP_OPT_FLAG,
      .help = "listen on addresses that other machines can reach",
      .offset = offsetof(struct serve_opts, test_ok) },
    PROP_OPT_END
};

/* Who started us waits for this line: when it cannot be told, there is nobody to serve. */
static void on_ready(void *ctx, const char *url)
{
    struct prop_cli *cli = ctx;

    printf("listening on %s\n", url);
    if (fflush(stdout) != 0) {
        prop_cli_warn(cli, "standard output cannot be written, so nobody knows where to connect");
        prop_stop_request(SIGTERM);
    }
}

static void on_answer(void *ctx, unsigned status, const char *line)
{
    struct prop_cli *cli = ctx;

    if (status >= 400 || prop_cli_verbose(cli))
        prop_cli_note(cli, "%s", line);
}

static int default_state(char **ret, struct prop_err *err)
{
    prop_auto_free char *data = NULL;
    int rc = prop_xdg_dir(PROP_XDG_DATA, &data, err);

    if (rc != 0)
        return rc;
    *ret = prop_path_join(data, "kbs");
    return *ret != NULL ? 0 : prop_err_nomem(err);
}

static int run_serve(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct serve_opts *o = opts;
    prop_auto_free char *dir = NULL;
    const uint64_t minute_ms = 60000;

    if (o->session_ms < minute_ms || o->session_ms % minute_ms != 0 ||
        o->session_ms > 1440 * minute_ms) {
        return prop_err_set_id(err, PROP_E_USAGE, "session-timeout",
                               "--session-timeout takes whole minutes, from 1m to 24h");
    }
    int rc = o->state == NULL ? default_state(&dir, err) : 0;
    if (rc != 0)
        return rc;
    const struct prop_kbsd_config config = {
        .listen = o->listen,
        .state_dir = o->state != NULL ? o->state : dir,
        .tls = o->tls,
        .issuer = o->issuer,
        .audience = o->audience,
        .acls = o->acl.items,
        .n_acls = o->acl.n,
        .deny_all = o->deny_all,
        .test_ok = o->test_ok,
        .token_key = o->token_key,
        .session_minutes = (unsigned)(o->session_ms / minute_ms),
        .log = on_answer,
        .log_ctx = cli,
    };
    prop_cli_warn(cli, "for development only: sample evidence is accepted and proves nothing, and "
                       "evidence of real hardware is not");
    return prop_kbsd_serve(&config, on_ready, cli, err);
}

const struct prop_verb propkbs_verb_serve = {
    "serve", "", "run a key broker service for development and tests",
    "Speaks the protocol of Trustee's KBS 0.4.0 and keeps everything in one folder: admin.key\n"
    "(sign admin tokens with it), admin.pub, token.key, kbs.db, with --tls also ca.pem and\n"
    "ca.key. The first line on standard output is 'listening on URL'. Ends on SIGINT or SIGTERM.\n"
    "\n"
    "  propkbs serve --state /tmp/kbs &\n"
    "  propkey --kbs http://127.0.0.1:8080 --admin-key /tmp/kbs/admin.key set default/key/k1 kek\n",
    serve_options, sizeof(struct serve_opts), 0, 0, run_serve
};
