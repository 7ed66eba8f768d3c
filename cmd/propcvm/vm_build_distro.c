#include "cmd/propcvm/vm_build_distro.h"

#include "util/mem.h"
#include "util/text.h"
#include "vm/distro.h"
#include "vm/guestconf.h"

#include <stdio.h>
#include <string.h>

extern char **environ;

static void print_human(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "guest      %s (%s)\n", json_string_value(json_object_get(doc, "guest")),
                  json_string_value(json_object_get(doc, "name")));
    (void)fprintf(stream, "disk       %lld GiB over %s\n",
                  (long long)json_integer_value(json_object_get(doc, "disk_bytes")) >> 30,
                  json_string_value(json_object_get(doc, "image")));
    (void)fprintf(stream, "seed       %s\n",
                  json_string_value(json_object_get(doc, "instance_id")));
    (void)fprintf(stream, "ssh        %s\n",
                  json_is_true(json_object_get(doc, "ssh")) ?
                      "user propeller, by key (vm run --forward 2222:22)" : "none");
}

static bool is_given(const struct prop_strs *env, const char *variable)
{
    for (size_t i = 0; i < env->n; i++)
        if (strncmp(variable, env->items[i], strcspn(variable, "=") + 1) == 0)
            return true;
    return false;
}

/* NULL-ended: the exported ones, then --env. */
static const char **settings(const struct prop_strs *given)
{
    size_t n = 0, max = given->n + 1;

    for (char **e = environ; e && *e; e++)
        max++;
    const char **all = prop_zalloc(max * sizeof *all);
    for (char **e = environ; all && e && *e; e++)
        if (prop_starts_with(*e, "PROPLET_") && !is_given(given, *e))
            all[n++] = *e;
    for (size_t i = 0; all && i < given->n; i++)
        all[n++] = given->items[i];
    return all;
}

int vm_build_distro(struct prop_cli *cli, const struct vm_distro_opts *o, struct prop_err *err)
{
    prop_auto_free const char **env = settings(o->env);
    prop_auto_json json_t *report = NULL;
    const char *verb = prop_cli_arg(cli, 0);
    int rc = env ? 0 : prop_err_nomem(err);

    if (rc == 0 && verb && strcmp(verb, "serve") != 0)
        rc = prop_err_set_id(err, PROP_E_USAGE, "guest-command",
                             "a distribution's guest serves; '%s' is not for it", verb);
    for (size_t i = 0; rc == 0 && i < o->env->n; i++)
        rc = prop_guest_env_check(o->env->items[i], err); /* no secret in argv */
    if (rc)
        return rc;
    const struct prop_distro_build b = {
        .out = o->out, .force = o->force, .image = o->image, .name = o->name,
        .disk_bytes = o->disk_bytes, .ssh_key = o->ssh_key, .program = o->program, .env = env,
        .kbs = o->kbs, .ca_cert = o->ca_cert, .tee = o->tee,
    };
    rc = prop_distro_build(&b, &report, err);
    if (rc)
        return rc;
    prop_cli_warn(cli, "the disk of this guest belongs to the host: what runs in it is not measured");
    return prop_cli_result(cli, report, print_human, err);
}
