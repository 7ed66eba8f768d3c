/* The work of `propcvm init`. In this order: nothing from outside is used before it was checked. */
#include "cmd/propcvm/init.h"

#include "cmd/cli/cli.h"
#include "crypto/digest.h"
#include "engine/toml.h"
#include "kbs/kbs.h"
#include "tee/evidence.h"
#include "tee/initdata.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"
#include "vm/guestconf.h"
#include "vm/guestdir.h"
#include "vm/init.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NETWORK_MS 20000
#define REPORT_MS 2000
#define ARGS_MAX 512
#define INIT_DATA_FILE PROP_GUEST_RUN "/initdata.toml"
#define ROOTS "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"

struct work {
    struct prop_guest_image image;
    struct prop_guest_conf conf;
    struct prop_buf document;      /* the init-data */
    enum prop_tee tee;
    struct prop_lease lease;
    struct prop_secret *api_key;   /* NULL = none */
    char key_path[32];
    int result_fd, log_fd;         /* -1 = none */
    int power_fd;                  /* the power button; -1 = none */
    json_t *phases;
};

static void phase(struct work *w, const char *name)
{
    (void)json_object_set_new(w->phases, name, json_integer((json_int_t)prop_init_uptime_ms()));
}

static void say(const char *line)
{
    (void)dprintf(STDERR_FILENO, "propcvm-init: %s\n", line);
}

/* ---- what this image is, and what this guest is for ---------------------------------------- */

static int read_image(struct work *w, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    int rc = prop_file_read("/" PROP_GUEST_IMAGE_JSON, &text, err);

    return rc ? rc : prop_guest_image_parse(prop_buf_str(&text), text.len, &w->image, err);
}

/* With a pinned document the host's copy adds nothing, but another one tells that something is wrong. */
static int check_pinned(const struct work *w, const struct prop_buf *from_host, struct prop_err *err)
{
    struct prop_digest d;
    char hex[PROP_DIGEST_TEXT];
    int rc = prop_digest_of(PROP_SHA384, w->document.data, w->document.len, &d, err);

    if (rc)
        return rc;
    if (strcmp(prop_digest_hex(&d, hex), w->image.init_data) != 0)
        return prop_err_set_id(err, PROP_E_VERIFY, "init-data-mismatch",
                               "the image's init-data is not the one it was built with");
    if (from_host->len && (from_host->len != w->document.len ||
                           memcmp(from_host->data, w->document.data, from_host->len) != 0))
        return prop_err_set_id(err, PROP_E_VERIFY, "init-data-mismatch",
                               "the host handed over other init-data than the image was built with");
    return 0;
}

static int read_document(struct work *w, struct prop_err *err)
{
    prop_auto_buf struct prop_buf from_host = PROP_BUF_INIT(PROP_INITDATA_MAX);
    struct prop_err none = PROP_ERR_INIT;
    int rc = prop_init_fwcfg(PROP_FWCFG_INIT_DATA, &from_host, &none);

    if (w->image.init_data) {
        rc = prop_file_read("/" PROP_GUEST_INITDATA, &w->document, err);
        return rc ? rc : check_pinned(w, &from_host, err);
    }
    if (rc) {
        (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-init-data",
                              "this image needs init-data, and the host handed over none");
        return PROP_E_NOTFOUND;
    }
    return prop_buf_add(&w->document, from_host.data, from_host.len, err);
}

/* Before anything in it is believed: does the launch bind it? (attestation.md 7.1) */
static int check_document(struct work *w, struct prop_err *err)
{
    struct prop_initdata init_data;
    int rc = prop_tee_choose(w->image.tee, &w->tee, err);

    if (rc)
        return rc;
    if (w->tee == PROP_TEE_SAMPLE) {
        say("the configuration is unauthenticated: this image was built for sample evidence");
        return 0;
    }
    rc = prop_initdata_read(w->document.data, w->document.len, "init-data", &init_data, err);
    return rc ? rc : prop_tee_check_init_data(w->tee, &init_data, err);
}

static int read_conf(struct work *w, struct prop_err *err)
{
    prop_auto_json json_t *doc = NULL;
    int rc = prop_toml_parse(prop_buf_str(&w->document), w->document.len, "init-data", &doc, err);

    if (rc == 0)
        rc = prop_guest_conf_read(json_object_get(doc, "data"), &w->conf, err);
    if (rc == 0)
        rc = prop_file_write(INIT_DATA_FILE, w->document.data, w->document.len, 0600, true, err);
    if (rc == 0 && w->conf.kbs_cert)
        rc = prop_file_write(PROP_GUEST_KBS_CERT, w->conf.kbs_cert, strlen(w->conf.kbs_cert), 0600,
                             true, err);
    if (rc == 0 && w->conf.task)
        rc = prop_file_write(PROP_GUEST_TASK, w->conf.task, strlen(w->conf.task), 0600, true, err);
    if (rc == 0 && sethostname(w->conf.name, strlen(w->conf.name)) != 0)
        say("the host name could not be set");
    return rc;
}

/* ---- secrets ------------------------------------------------------------------------------- */

static int fetch_secret(struct work *w, const char *uri, struct prop_err *err)
{
    const struct prop_kbs_config config = {
        .url = w->conf.kbs_url,
        .ca_cert = w->conf.kbs_cert ? PROP_GUEST_KBS_CERT : NULL,
        .no_proxy = true,
    };
    const struct prop_kbs_attest how = {
        .tee = w->tee, .init_data = prop_buf_str(&w->document),
    };
    prop_auto_kbs struct prop_kbs *kbs = NULL;
    struct prop_resource_id id;
    int rc = prop_resource_id_parse(uri, false, &id, err);

    if (rc == 0 && w->conf.kbs_url == NULL)
        rc = prop_err_set_id(err, PROP_E_INPUT, "bad-configuration",
                             "a secret of the key broker, and no key broker");
    if (rc == 0)
        rc = prop_kbs_new(&config, &kbs, err);
    return rc ? rc : prop_kbs_get_resource(kbs, &how, &id, &w->api_key, err);
}

static bool from_host(const struct work *w, const char *name)
{
    size_t i = 0;
    const json_t *v = NULL;

    json_array_foreach(w->image.secrets_from_host, i, v)
        if (json_is_string(v) && strcmp(json_string_value(v), name) == 0)
            return true;
    return false;
}

static int get_secrets(struct work *w, struct prop_err *err)
{
    const char *uri = json_string_value(json_object_get(w->conf.secrets, "api-key"));
    int rc = 0;

    if (uri)
        rc = fetch_secret(w, uri, err);
    else if (from_host(w, "api-key"))
        rc = prop_init_fwcfg_secret(PROP_FWCFG_SECRET_PREFIX "api-key", PROP_LIMIT_KEY_FILE,
                                    &w->api_key, err);
    return rc ? prop_err_wrap(err, "the secret 'api-key'") : 0;
}

/* ---- the workload -------------------------------------------------------------------------- */

static bool is_serve(const struct work *w)
{
    return strcmp(json_string_value(json_array_get(w->conf.argv, 0)), "serve") == 0;
}

/* The key in memory that only its descriptor names, for `serve --api-key-file`. It is inherited, so it
 * must not be closed on exec. */
static int key_file(const struct prop_secret *key, char ret_path[32], struct prop_err *err)
{
    int fd = memfd_create("api-key", MFD_ALLOW_SEALING);

    if (fd < 0 || fchmod(fd, 0600) != 0 ||
        prop_write_all(fd, prop_secret_data(key), prop_secret_len(key)) != 0)
        return prop_err_sys(err, PROP_E_IO, "memory for a secret");
    (void)snprintf(ret_path, 32, "/proc/self/fd/%d", fd);
    return 0;
}

/* argv of the workload: the verb, what init knows, then what the configuration says. */
static int make_argv(struct work *w, const char *argv[ARGS_MAX], struct prop_err *err)
{
    size_t n = 0;
    size_t i = 0;
    const json_t *v = NULL;

    if (json_array_size(w->conf.argv) > ARGS_MAX - 16)
        return prop_err_set(err, PROP_E_LIMIT, "the workload has more than %d arguments",
                            ARGS_MAX - 16);
    argv[n++] = "propcvm";
    argv[n++] = json_string_value(json_array_get(w->conf.argv, 0));
    if (!is_serve(w))
        argv[n++] = "--json";
    if (w->conf.kbs_url) {
        argv[n++] = "--kbs";
        argv[n++] = w->conf.kbs_url;
        argv[n++] = "--tee";
        argv[n++] = prop_tee_name(w->tee);
        argv[n++] = "--init-data";
        argv[n++] = INIT_DATA_FILE;
        if (w->conf.kbs_cert) {
            argv[n++] = "--ca-cert";
            argv[n++] = PROP_GUEST_KBS_CERT;
        }
    }
    if (w->api_key) {
        int rc = key_file(w->api_key, w->key_path, err);
        if (rc)
            return rc;
        argv[n++] = "--api-key-file";
        argv[n++] = w->key_path;
    }
    json_array_foreach(w->conf.argv, i, v)
        if (i > 0)
            argv[n++] = json_string_value(v);
    argv[n] = NULL;
    return 0;
}

struct environment {
    char *items[ARGS_MAX];
    size_t n;
};

static int put_env(struct environment *e, char *item, struct prop_err *err)
{
    if (item == NULL)
        return prop_err_nomem(err);
    if (e->n + 1 == ARGS_MAX) {
        prop_free(item);
        return prop_err_set(err, PROP_E_LIMIT, "the workload has too many variables");
    }
    e->items[e->n++] = item;
    return 0;
}

static int make_env(const struct work *w, struct environment *e, struct prop_err *err)
{
    static const char *const fixed[] = { "PATH=/", "HOME=" PROP_GUEST_RUN, "TMPDIR=/tmp", ROOTS,
                                         "LANG=C.UTF-8" };
    const char *k = NULL;
    json_t *v = NULL;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(fixed); i++)
        rc = put_env(e, prop_strdup(fixed[i]), err);
    if (w->conf.env)
        json_object_foreach(w->conf.env, k, v)
            if (rc == 0 && prop_starts_with(k, "PROPLET_"))
                rc = put_env(e, prop_asprintf("%s=%s", k, json_string_value(v)), err);
    return rc;
}

static void env_release(struct environment *e)
{
    for (size_t i = 0; i < e->n; i++)
        prop_free(e->items[i]);
}

/* What the workload's last {"error":...} line says becomes the guest's own error. */
static void adopt_error(const char *tail, struct propcvm_end *end)
{
    const char *line = NULL;
    prop_auto_json json_t *doc = NULL;

    for (const char *p = strstr(tail, "{\"error\":"); p; p = strstr(p + 1, "{\"error\":"))
        line = p;
    if (line)
        (void)prop_json_parse(line, strcspn(line, "\n"), "the workload's error", &doc, NULL);
    const json_t *e = json_object_get(doc, "error");
    const char *code = json_string_value(json_object_get(e, "code"));
    const char *message = json_string_value(json_object_get(e, "message"));
    (void)prop_err_set_id(&end->why, PROP_E_REMOTE, "workload-failed", "%s",
                          message ? message : "the workload failed and gave no reason");
    if (code)
        (void)prop_printable(code, strlen(code), end->code, sizeof end->code);
}

static int run_workload(struct work *w, struct propcvm_end *end, struct prop_err *err)
{
    const char *argv[ARGS_MAX];
    struct environment env = {.n = 0};
    struct prop_init_child c = {
        .log_fd = w->log_fd, .console_fd = w->image.console_result ? STDERR_FILENO : -1,
        .power_fd = w->power_fd, .keep_out = !is_serve(w),
    };
    int rc = make_argv(w, argv, err);

    if (rc == 0)
        rc = make_env(w, &env, err);
    if (rc == 0) {
        c.argv = (char *const *)(uintptr_t)argv;
        c.env = env.items;
        rc = prop_init_child_run(&c, err);
    }
    env_release(&env);
    if (rc == 0) {
        end->status = WIFEXITED(c.status) ? WEXITSTATUS(c.status) : 128 + WTERMSIG(c.status);
        if (c.keep_out && c.out.len &&
            prop_json_parse(prop_buf_str(&c.out), c.out.len, "the result", &end->result, NULL) != 0)
            end->result = NULL;
        if (end->status != 0 && end->result == NULL)
            adopt_error(c.tail, end);
    }
    prop_buf_release(&c.out);
    return rc;
}

/* ---- telling the host ---------------------------------------------------------------------- */

/* A result that can reach nobody is not worth a key. */
static int open_reports(struct work *w, struct prop_err *err)
{
    struct prop_err why = PROP_ERR_INIT;

    (void)prop_init_report_open(PROP_REPORT_LOG, REPORT_MS, &w->log_fd, NULL);
    if (is_serve(w))
        w->power_fd = prop_init_power_open();
    if (prop_init_report_open(PROP_REPORT_RESULT, REPORT_MS, &w->result_fd, &why) == 0 ||
        w->image.console_result || is_serve(w))
        return 0;
    if (err)
        *err = why;
    return (int)why.code;
}

static void send_line(int fd, const json_t *doc)
{
    prop_auto_free char *text = prop_json_compact(doc);

    if (text && prop_write_all(fd, text, strlen(text)) == 0)
        (void)prop_write_all(fd, "\n", 1);
}

/* The channel of results is the authority: only init writes to it, and its last line is the end. */
static void report(const struct work *w, const struct propcvm_end *end)
{
    const json_t *results = json_object_get(end->result, "results");
    prop_auto_json json_t *last = json_pack("{s:o}", PROP_REPORT_END, propcvm_end_doc(end));

    if (w->image.console_result && json_is_string(results)) {
        size_t len = json_string_length(results);
        prop_auto_free char *text = prop_strndup(json_string_value(results), len);
        if (text)
            prop_init_console_result(STDOUT_FILENO, text, strlen(text));
    }
    if (w->result_fd >= 0 && end->result)
        send_line(w->result_fd, end->result);
    if (w->result_fd >= 0 && last)
        send_line(w->result_fd, last);
    if (w->result_fd >= 0 && shutdown(w->result_fd, SHUT_WR) == 0) { /* vsock: until the host has it */
        struct pollfd p = {.fd = w->result_fd, .events = POLLIN};
        (void)poll(&p, 1, REPORT_MS);
    }
}

static void keep_lease(const struct work *w)
{
    if (is_serve(w) && w->lease.seconds && fork() == 0)
        prop_init_keep_lease(w->lease);
}

/* ---- in order ------------------------------------------------------------------------------ */

static int set_up(struct work *w, struct prop_err *err)
{
    int rc = read_image(w, err);

    phase(w, "init_ms");
    if (rc == 0)
        rc = prop_init_modules(w->image.modules, err);
    prop_init_configfs();
    prop_init_harden();
    phase(w, "modules_ms");
    if (rc == 0)
        rc = read_document(w, err);
    if (rc == 0)
        rc = check_document(w, err);
    if (rc == 0)
        rc = read_conf(w, err);
    phase(w, "configuration_ms");
    if (rc == 0)
        rc = open_reports(w, err);
    if (rc == 0)
        rc = prop_init_network(&w->conf, NETWORK_MS, &w->lease, err);
    phase(w, "network_ms");
    if (rc == 0)
        rc = get_secrets(w, err);
    return rc;
}

void propcvm_init_work(struct propcvm_end *end)
{
    struct work w = {.document = PROP_BUF_INIT(PROP_INITDATA_MAX), .result_fd = -1, .log_fd = -1,
                     .power_fd = -1, .phases = json_object()};
    int rc = set_up(&w, &end->why);

    if (rc == 0) {
        keep_lease(&w);
        rc = run_workload(&w, end, &end->why);
        phase(&w, "workload_ms");
    }
    if (rc)
        end->status = prop_exit_code(&end->why);
    end->phases = w.phases;
    report(&w, end);
    prop_secret_free(w.api_key);
    prop_guest_conf_release(&w.conf);
    prop_guest_image_release(&w.image);
    prop_buf_release(&w.document);
}
