/* propcvm vm build: a guest that boots, from a kernel and this program. */
#include "cmd/propcvm/verbs.h"
#include "cmd/propcvm/vm_build_distro.h"
#include "cmd/propcvm/vm_run_opts.h"

#include "util/mem.h"
#include "util/text.h"
#include "vm/build.h"
#include "vm/guestconf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

struct build_opts {
    const char *out, *name, *kernel, *modules, *tee, *machine, *kbs, *ca_cert, *append, *compress,
        *program, *ca_certificates, *address, *gateway, *dns;
    struct prop_strs env, secrets, host_secrets, files, libraries, library_path;
    bool force, open_init_data, console_result;
    struct vm_distro_opts distro;
};

#define OPT(name, kind, arg, help, member, env, def)                                               \
    { name, 0, kind, arg, help, offsetof(struct build_opts, member), env, def, false }

static const struct prop_opt options[] = {
    { "output", 'o', PROP_OPT_STRING, "DIR", "make the guest here (default " PROP_VM_DIR_DEFAULT ")",
      offsetof(struct build_opts, out), NULL, PROP_VM_DIR_DEFAULT, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace the guest that stands there",
      offsetof(struct build_opts, force), NULL, NULL, false },
    OPT("name", PROP_OPT_STRING, "NAME", "what the guest is called (default propcvm)", name, NULL,
        NULL),
    OPT("kernel", PROP_OPT_STRING, "FILE",
        "a bzImage, or the Debian package of a kernel (default: this host's)", kernel,
        "PROP_VM_KERNEL", NULL),
    OPT("modules", PROP_OPT_STRING, "DIR", "its modules (default: the package's, /lib/modules/RELEASE)",
        modules, NULL, NULL),
    OPT("tee", PROP_OPT_STRING, "auto|snp|tdx|sample", "the evidence it attests with", tee, "PROP_TEE",
        "auto"),
    { "for", 0, PROP_OPT_STRING, "snp|tdx", "the same as --tee", offsetof(struct build_opts, machine),
      NULL, NULL, true },
    OPT("kbs", PROP_OPT_STRING, "URL", "the key broker, as the guest reaches it", kbs, "PROP_KBS_URL",
        NULL),
    OPT("ca-cert", PROP_OPT_STRING, "FILE", "pin the key broker's certificate or its root (PEM)",
        ca_cert, NULL, NULL),
    OPT("env", PROP_OPT_LIST, "PROPLET_X=Y", "a setting of the proplet (repeatable)", env, NULL, NULL),
    OPT("secret", PROP_OPT_LIST, "NAME=kbs:///R/T/N",
        "the guest fetches this secret (api-key) after it attested", secrets, NULL, NULL),
    OPT("secret-from-host", PROP_OPT_LIST, "NAME",
        "accept this secret (api-key) from the host, which then knows it", host_secrets, NULL, NULL),
    OPT("console-result", PROP_OPT_FLAG, NULL,
        "results and logs go to the console, which the host reads (demonstrations)", console_result,
        NULL, NULL),
    OPT("open-init-data", PROP_OPT_FLAG, NULL,
        "the image takes any init-data; a policy has to pin it", open_init_data, NULL, NULL),
    OPT("file", PROP_OPT_LIST, "NAME=PATH", "a file for the guest, at /etc/propcvm/files/NAME",
        files, NULL, NULL),
    OPT("address", PROP_OPT_STRING, "IP/BITS", "a fixed address (default: DHCP)", address, NULL, NULL),
    OPT("gateway", PROP_OPT_STRING, "IP", "with --address: the way out", gateway, NULL, NULL),
    OPT("dns", PROP_OPT_STRING, "IP", "with --address: the name server", dns, NULL, NULL),
    OPT("append", PROP_OPT_STRING, "TEXT", "more kernel command line", append, NULL, NULL),
    OPT("compress", PROP_OPT_STRING, "none|gzip|zstd", "how the initramfs is packed", compress, NULL,
        "none"),
    OPT("propcvm", PROP_OPT_STRING, "FILE", "the program that runs in it (default: this one)", program,
        NULL, NULL),
    OPT("library", PROP_OPT_LIST, "NAME",
        "a library that is loaded when needed (libarchive.so.13: for modules in tar layers)",
        libraries, NULL, NULL),
    OPT("library-path", PROP_OPT_LIST, "DIR", "look for libraries here first", library_path, NULL,
        NULL),
    OPT("ca-certificates", PROP_OPT_STRING, "FILE",
        "roots for registries (default: this host's; '' for none)", ca_certificates, NULL, NULL),
    OPT("distro-image", PROP_OPT_STRING, "FILE",
        "a distribution's cloud image (qcow2 or raw) instead: a disk over it and a cloud-init seed",
        distro.image, NULL, NULL),
    OPT("ssh-key", PROP_OPT_STRING, "FILE.pub", "with --distro-image: who may log in (default: nobody)",
        distro.ssh_key, NULL, NULL),
    OPT("disk-size", PROP_OPT_SIZE, "BYTES", "with --distro-image: default 40G, at least the image's",
        distro.disk_bytes, "DISK_SIZE", NULL),
    PROP_OPT_END
};

static int choose_filter(const char *word, enum prop_cpio_filter *ret, struct prop_err *err)
{
    static const char *const words[] = { "none", "gzip", "zstd" };
    static const enum prop_cpio_filter filters[] = { PROP_CPIO_PLAIN, PROP_CPIO_GZIP, PROP_CPIO_ZSTD };

    for (size_t i = 0; i < PROP_ARRAY_LEN(words); i++)
        if (strcmp(word, words[i]) == 0) {
            *ret = filters[i];
            return 0;
        }
    return prop_err_set(err, PROP_E_USAGE, "--compress is none, gzip or zstd, not '%s'", word);
}

static int check_words(const struct build_opts *o, const char *tee, struct prop_err *err)
{
    static const char *const tees[] = { "auto", "snp", "tdx", "sample" };
    bool known = false;

    for (size_t i = 0; i < PROP_ARRAY_LEN(tees); i++)
        known = known || strcmp(tee, tees[i]) == 0;
    if (!known)
        return prop_err_set(err, PROP_E_USAGE, "--tee is auto, snp, tdx or sample, not '%s'", tee);
    if ((o->gateway || o->dns) && o->address == NULL)
        return prop_err_set(err, PROP_E_USAGE, "--gateway and --dns go with --address");
    if (o->ca_cert && o->kbs == NULL)
        return prop_err_set_id(err, PROP_E_USAGE, "no-kbs", "--ca-cert goes with --kbs");
    return 0;
}

/* A NULL-ended copy of a list. */
static const char **ended(const struct prop_strs *list)
{
    const char **all = prop_zalloc((list->n + 1) * sizeof *all);

    for (size_t i = 0; all && i < list->n; i++)
        all[i] = list->items[i];
    return all;
}

/* PROPLET_ variables: the exported ones for a guest that serves, as HAL users have them, and --env,
 * which wins. What is secret is left out of the first and refused in the second. */
static const char **settings(struct prop_cli *cli, const struct build_opts *o)
{
    const char *verb = prop_cli_arg(cli, 0);
    bool serves = !verb || strcmp(verb, "serve") == 0;
    size_t n = 0;
    size_t max = o->env.n;

    for (char **e = environ; e && *e; e++)
        max++;
    const char **all = prop_zalloc((max + 1) * sizeof *all);
    for (char **e = environ; all && serves && *e; e++) {
        bool given = false;
        if (!prop_starts_with(*e, "PROPLET_"))
            continue;
        for (size_t i = 0; i < o->env.n; i++)
            given = given || strncmp(*e, o->env.items[i], strcspn(*e, "=") + 1) == 0;
        if (given)
            continue;
        if (prop_guest_env_check(*e, NULL) == 0)
            all[n++] = *e;
        else
            prop_cli_note(cli, "%.*s is a secret and stays out of the image (--secret, "
                               "--secret-from-host)", (int)strcspn(*e, "="), *e);
    }
    for (size_t i = 0; all && i < o->env.n; i++)
        all[n++] = o->env.items[i];
    return all;
}

struct lists {
    const char **argv, **env, **secrets, **host_secrets, **files, **libraries, **dirs;
};

static void lists_release(struct lists *l)
{
    prop_free(l->argv);
    prop_free(l->env);
    prop_free(l->secrets);
    prop_free(l->host_secrets);
    prop_free(l->files);
    prop_free(l->libraries);
    prop_free(l->dirs);
}

static int make_lists(struct prop_cli *cli, const struct build_opts *o, struct lists *l,
                      struct prop_err *err)
{
    size_t n = (size_t)prop_cli_argc(cli);

    l->argv = prop_zalloc((n + 2) * sizeof *l->argv);
    l->env = settings(cli, o);
    l->secrets = ended(&o->secrets);
    l->host_secrets = ended(&o->host_secrets);
    l->files = ended(&o->files);
    l->libraries = ended(&o->libraries);
    l->dirs = ended(&o->library_path);
    if (!l->argv || !l->env || !l->secrets || !l->host_secrets || !l->files || !l->libraries ||
        !l->dirs)
        return prop_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        l->argv[i] = prop_cli_arg(cli, (int)i);
    if (n == 0)
        l->argv[0] = "serve"; /* as the HAL script's guest does */
    return 0;
}

static void print_human(const json_t *doc, void *stream)
{
    const json_t *drivers = json_object_get(doc, "drivers");
    size_t i = 0;
    const json_t *m = NULL;

    (void)fprintf(stream, "guest      %s (%s)\n", json_string_value(json_object_get(doc, "guest")),
                  json_string_value(json_object_get(doc, "name")));
    (void)fprintf(stream, "kernel     %s, %.1f MiB\n",
                  json_string_value(json_object_get(doc, "kernel_release")),
                  (double)json_integer_value(json_object_get(doc, "kernel_bytes")) / (1 << 20));
    (void)fprintf(stream, "initramfs  %zu files, %.1f MiB\n",
                  json_array_size(json_object_get(doc, "files")),
                  (double)json_integer_value(json_object_get(doc, "initrd_bytes")) / (1 << 20));
    (void)fprintf(stream, "modules   ");
    json_array_foreach(json_object_get(doc, "modules"), i, m)
        (void)fprintf(stream, " %s", json_string_value(m));
    (void)fprintf(stream, "\nevidence   %s (drivers: snp %s, tdx %s)\n",
                  json_string_value(json_object_get(doc, "tee")),
                  json_is_true(json_object_get(drivers, "sev_guest")) ? "yes" : "no",
                  json_is_true(json_object_get(drivers, "tdx_guest")) ? "yes" : "no");
    (void)fprintf(stream, "init-data  sha384:%s%s\n",
                  json_string_value(json_object_get(doc, "init_data_sha384")),
                  json_is_true(json_object_get(doc, "init_data_open")) ? " (open: pin it in the policy)"
                                                                       : "");
}

static void say_risks(struct prop_cli *cli, const struct build_opts *o, const char *tee)
{
    if (strcmp(tee, "sample") == 0)
        prop_cli_warn(cli, "sample evidence proves nothing: this guest's configuration is "
                           "unauthenticated, and it is for tests only");
    if (o->console_result)
        prop_cli_warn(cli, "results go to the console, which the host reads");
    for (size_t i = 0; i < o->host_secrets.n; i++)
        prop_cli_warn(cli, "the host hands over the secret '%s', so it knows it",
                      o->host_secrets.items[i]);
    if (o->open_init_data)
        prop_cli_warn(cli, "the image takes any init-data: without a policy that pins it the host "
                           "chooses the key broker");
}

static int run_distro(struct prop_cli *cli, const struct build_opts *o, const char *tee,
                      struct prop_err *err)
{
    struct vm_distro_opts d = o->distro;

    d.out = o->out;
    d.name = o->name;
    d.program = o->program;
    d.kbs = o->kbs;
    d.ca_cert = o->ca_cert;
    d.tee = tee;
    d.env = &o->env;
    d.force = o->force;
    return vm_build_distro(cli, &d, err);
}

/* What the HAL script takes from its surroundings where no option of ours says it. */
static void hal_defaults(struct build_opts *o)
{
    const char *kbs = getenv("KBS_URL");

    if (o->kbs == NULL && kbs && *kbs)
        o->kbs = kbs;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct build_opts *o = opts;

    hal_defaults(opts);
    const char *tee = o->machine ? o->machine : o->tee;
    struct lists l = {.argv = NULL};
    prop_auto_json json_t *report = NULL;
    struct prop_vm_build b = {
        .out = o->out, .force = o->force, .name = o->name,
        .kernel = {.kernel = o->kernel, .modules = o->modules},
        .tee = tee, .kbs = o->kbs, .ca_cert = o->ca_cert, .open_init_data = o->open_init_data,
        .console_result = o->console_result, .address = o->address, .gateway = o->gateway,
        .dns = o->dns, .append = o->append, .program = o->program,
        .ca_certificates = o->ca_certificates,
    };
    int rc = check_words(o, tee, err);

    if (rc == 0 && o->distro.image)
        return run_distro(cli, o, tee, err);
    if (rc == 0 && o->distro.ssh_key)
        rc = prop_err_set_id(err, PROP_E_USAGE, "no-ssh", "this guest has no SSH: --ssh-key goes with "
                             "--distro-image");
    if (rc == 0)
        rc = choose_filter(o->compress, &b.filter, err);
    if (rc == 0)
        rc = make_lists(cli, o, &l, err);
    if (rc == 0) {
        b.argv = l.argv;
        b.env = l.env;
        b.secrets = l.secrets;
        b.host_secrets = l.host_secrets;
        b.files = l.files;
        b.libraries = l.libraries;
        b.search.dirs = l.dirs;
        rc = prop_vm_build(&b, &report, err);
    }
    if (rc == 0) {
        say_risks(cli, o, tee);
        rc = prop_cli_result(cli, report, print_human, err);
    }
    lists_release(&l);
    return rc;
}

static const char details[] =
    "Makes the folder DIR: a kernel, an initramfs with nothing in it but propcvm, its libraries, a few\n"
    "kernel modules, roots for registries and the configuration; the init-data document; and vm.json,\n"
    "from which `vm measure` and `vm run` work. No shell, no SSH, no secret. The same inputs give the\n"
    "same bytes.\n"
    "\n"
    "What follows `--` is what the guest does: `run WHAT ...` once, or `serve ...` until it is stopped\n"
    "(nothing there: `serve`); --kbs, --ca-cert and --tee of this command are added to it. A task file given to `run` goes along.\n"
    "\n"
    "The kernel's package need not be installed: apt-get download linux-image-VERSION-cloud-amd64.\n"
    "Debian 12's own kernels have no driver for TDX, and its cloud kernel none for SNP; the cloud kernel\n"
    "of bookworm-backports has both.\n"
    "\n"
    "  propcvm vm build -o guest --kernel linux-image-*.deb --kbs https://kbs.example.com \\\n"
    "      --ca-cert kbs.pem -- run registry.example.com/team/addition:encrypted --invoke add -- 10 20\n"
    "  propcvm vm build -o proplet --kernel linux-image-*.deb --kbs https://kbs.example.com \\\n"
    "      --secret api-key=kbs:///default/mqtt/key -- serve";

const struct prop_verb propcvm_verb_vm_build = {
    "vm build", "[-- run|serve ...]", "build a guest image", details, options,
    sizeof(struct build_opts), 0, -1, run
};
