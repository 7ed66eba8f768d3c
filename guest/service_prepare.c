/* From a task to a program that can be run: pull, attest, unwrap, decrypt, compile, or what of it the
 * cache does not have. The key is fetched for every task, so that taking it back takes effect. */
#include "guest/service_internal.h"

#include <string.h>

#include "guest/run.h"
#include "oci/manifest.h"
#include "ocicrypt/image.h"
#include "util/limits.h"
#include "util/mem.h"

/* ---- key broker clients ------------------------------------------------------------------------------ */

/* The one used last: its session is the warmest. */
static int take_kbs(struct prop_service *s, struct prop_kbs_slot **ret, struct prop_err *err)
{
    (void)pthread_mutex_lock(&s->lock);
    struct prop_kbs_slot *slot = s->kbs_idle;
    if (slot)
        s->kbs_idle = slot->next;
    (void)pthread_mutex_unlock(&s->lock);
    if (!slot) {
        slot = prop_zalloc(sizeof *slot);
        int rc = slot ? prop_kbs_new(s->c->kbs, &slot->kbs, err) : prop_err_nomem(err);
        if (rc) {
            prop_free(slot);
            return rc;
        }
    }
    *ret = slot;
    return 0;
}

static void give_kbs(struct prop_service *s, struct prop_kbs_slot *slot)
{
    if (!slot)
        return;
    (void)pthread_mutex_lock(&s->lock);
    slot->next = s->kbs_idle;
    s->kbs_idle = slot;
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- what is loaded --------------------------------------------------------------------------------- */

static bool is_stopped(void *ctx)
{
    struct prop_job *j = ctx;

    return atomic_load(&j->stopped);
}

/* Messages carry the stage in front in the words that other proplets use for it. */
static int staged(const struct prop_guest_report *r, int rc, struct prop_err *err)
{
    const char *id = prop_err_id(err);

    if (r->manifest.len == 0)
        return prop_err_wrap(err, "Failed to pull manifest");
    if (strcmp(id, "no-tee") == 0 || strcmp(id, "no-kbs") == 0)
        return prop_err_wrap(err, "TEE runtime not available");
    if (strcmp(id, "not-wasm") == 0 || strcmp(id, "no-wasm-layer") == 0)
        return prop_err_wrap(err, "No WASM file found in layer store");
    if (strcmp(id, "wasm-invalid") == 0 || strcmp(id, "compile-limit") == 0 ||
        strcmp(id, "missing-import") == 0)
        return prop_err_wrap(err, "Failed to compile the module");
    return rc == PROP_E_INTERRUPTED ? rc : prop_err_wrap(err, "Failed to pull and decrypt layers");
}

/* An image whose layer is encrypted runs only as a task that says so: only such a task may cost a key.
 * (The other way round, prop_guest_load refuses.) */
static int check_promise(const struct prop_task *t, struct prop_src *src, struct prop_digest *ret,
                         struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_free char *type = NULL;
    const struct prop_descriptor *layer = NULL;
    int rc = prop_src_manifest(src, &bytes, &type, ret, err);

    if (rc || t->encrypted)
        return rc;
    rc = prop_manifest_parse(bytes.data, bytes.len, type, "the image's manifest", &m, err);
    if (rc == 0)
        rc = prop_manifest_wasm_layer(&m, &layer, err);
    if (rc == 0 && prop_layer_is_encrypted(layer))
        rc = prop_err_set_id(err, PROP_E_DENIED, "encrypted-image",
                             "the image '%s' is encrypted, and the task does not say so",
                             t->image_url);
    return rc;
}

static int load_image(struct prop_service *s, struct prop_job *j, struct prop_guest_run *g,
                      const struct prop_task *t, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    struct prop_kbs_slot *slot = NULL;
    struct prop_cache_load load;
    int rc = prop_cache_open(s->cache, g->image, s->c->oci, is_stopped, j, &src, err);

    if (rc == 0)
        rc = check_promise(t, src, &g->report->manifest, err);
    if (rc == 0 && t->encrypted)
        rc = take_kbs(s, &slot, err);
    if (rc)
        return staged(g->report, rc, err);
    if (!j->invocation)
        j->manifest = g->report->manifest;
    g->src = src;
    g->kbs = slot ? slot->kbs : NULL;
    prop_cache_load_begin(s->cache, g->wasm.limits.fuel > 0, &load);
    g->cache = &load.hooks;
    rc = prop_guest_load(g, &j->program, err);
    prop_cache_load_end(&load);
    give_kbs(s, slot);
    return rc ? staged(g->report, rc, err) : 0;
}

/* A module that came inside the start message is known by its own digest. */
static int load_file(struct prop_service *s, struct prop_job *j, struct prop_guest_run *g,
                     const struct prop_task *t, struct prop_err *err)
{
    struct prop_cache_load load;
    struct prop_digest d;
    int rc = prop_digest_of(PROP_SHA256, t->file, t->file_len, &d, err);

    if (rc)
        return rc;
    prop_cache_load_begin(s->cache, g->wasm.limits.fuel > 0, &load);
    j->program = load.hooks.find(load.hooks.ctx, &d, &d);
    if (!j->program) {
        rc = prop_guest_load_bytes(g, t->file, t->file_len, &j->program, err);
        if (rc == 0)
            load.hooks.keep(load.hooks.ctx, &d, &d, j->program);
    }
    prop_cache_load_end(&load);
    return rc ? prop_err_wrap(err, "Failed to load the module") : 0;
}

/* Only registries: a task names no file of this machine, and no server to fetch from. */
static int parse_image(const char *url, struct prop_location *ret, struct prop_err *err)
{
    int rc = strstr(url, "://") && strncmp(url, "docker://", 9) != 0
                 ? prop_err_set_id(err, PROP_E_UNSUPPORTED, "bad-image-url",
                                   "'%s' is no image of a registry", url)
                 : prop_location_parse(url, ret, err);

    if (rc == 0 && ret->transport != PROP_T_DOCKER) {
        prop_location_release(ret);
        rc = prop_err_set_id(err, PROP_E_DENIED, "bad-image-url", "'%s' is no image of a registry",
                             url);
    }
    return rc ? prop_err_wrap(err, "Failed to parse image reference") : 0;
}

int prop_service_prepare(struct prop_service *s, struct prop_job *j, struct prop_err *err)
{
    const struct prop_task *t = j->latent ? &j->latent->task : &j->task;
    struct prop_guest_report report = { .encrypted = false };
    struct prop_guest_timing timing = { .pull = 0 };
    struct prop_location image = { .text = NULL };
    struct prop_guest_run g = {
        .runner = s->c->runner, .image = &image, .oci = s->c->oci, .attest = s->c->attest,
        .kid = t->kbs_resource_path, .require_encrypted = t->encrypted, .handle = &j->handle,
        .report = &report, .timing = &timing, .wasm = { .name = t->name },
    };

    /* its code counts fuel, or does not: service_run.c says how much there is */
    g.wasm.limits.fuel = t->limits.fuel ? t->limits.fuel
                         : prop_job_is_daemon(j) ? 0 : s->c->limits.fuel;

    if (t->file)
        return load_file(s, j, &g, t, err);
    if (j->latent && j->latent->manifest.len)
        g.pin = &j->latent->manifest; /* what was promised to be ready, not what the tag is now */
    int rc = parse_image(t->image_url, &image, err);
    if (rc)
        return rc;
    rc = load_image(s, j, &g, t, err);
    prop_location_release(&image);
    return rc;
}
