/* pull -> attest -> unwrap -> decrypt in memory -> verify -> compile -> run -> wipe. */
#include "guest/run.h"

#include <string.h>

#include "guest/keys.h"
#include "guest/memory.h"
#include "oci/manifest.h"
#include "ocicrypt/image.h"
#include "ocicrypt/layer.h"
#include "tee/aael.h"
#include "util/limits.h"

/* One load: what is known so far. */
struct load {
    const struct prop_guest_run *g;
    struct prop_guest_report report;
    struct prop_guest_timing timing;
    struct prop_guest_keys keys;
    struct prop_guest_memory memory; /* the module */
};

static void load_init(struct load *l, const struct prop_guest_run *g)
{
    memset(l, 0, sizeof *l);
    l->g = g;
    l->keys.g = g;
    l->memory = (struct prop_guest_memory)PROP_GUEST_MEMORY_INIT;
    if (g->report)
        memset(g->report, 0, sizeof *g->report);
}

/* What is known is told, also where it ended in failure. */
static void load_release(struct load *l)
{
    prop_guest_memory_release(&l->memory);
    l->timing.attest = l->keys.attest_ms;
    if (l->g->report) {
        /* the key's name was written there by guest/keys.c */
        memcpy(l->report.kid, l->g->report->kid, sizeof l->report.kid);
        *l->g->report = l->report;
    }
    if (l->g->timing)
        *l->g->timing = l->timing;
}
#define auto_load __attribute__((cleanup(load_release)))

/* ---- pull ------------------------------------------------------------------------------------ */

/* The manifest, digest checked: against its reference by the source, against the pin here. */
static int pull_manifest(struct load *l, struct prop_src *src, struct prop_manifest *m,
                         struct prop_err *err)
{
    const struct prop_guest_run *g = l->g;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    struct prop_digest digest = {0};
    int rc = prop_src_manifest(src, &bytes, &type, &digest, err);

    if (rc)
        return rc;
    if (g->pin && !prop_digest_equal(g->pin, &digest)) {
        char is[PROP_DIGEST_TEXT];
        char want[PROP_DIGEST_TEXT];
        return prop_err_set_id(err, PROP_E_VERIFY, "digest-mismatch",
                               "the manifest of '%s' has digest %s, pinned is %s", g->image->text,
                               prop_digest_format(&digest, is),
                               prop_digest_format(g->pin, want));
    }
    l->report.manifest = digest;
    return prop_manifest_parse(bytes.data, bytes.len, type, "the image's manifest", m, err);
}

static int not_encrypted(const char *what, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_DENIED, "not-encrypted",
                    "'%s' is not encrypted, and only encrypted modules are run", what);
    return prop_err_hint(err, "encrypt it with propenc; --allow-plain runs what no task calls encrypted");
}

/* ---- decrypt --------------------------------------------------------------------------------- */

static int decipher(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    int rc = prop_stop_check(err);

    return rc ? rc : prop_layer_dec_update(ctx, data, len, err);
}

struct unwrapped {
    struct prop_openers *openers;
    struct prop_secret *privopts;
    char *pubopts;
};

static void unwrapped_release(struct unwrapped *u)
{
    prop_secret_free(u->privopts);
    prop_openers_free(u->openers);
    prop_free(u->pubopts);
}
#define auto_unwrapped __attribute__((cleanup(unwrapped_release)))

/* The plain digest of the stored layer is checked on the way, the HMAC and the plaintext's digest
 * at its end: only then is the memory sealed and looked at. */
static int decrypt(struct load *l, struct prop_src *src, const struct prop_descriptor *layer,
                   const struct unwrapped *u, struct prop_err *err)
{
    struct prop_layer_dec *dec = NULL;
    struct prop_digest stated = {.len = 0};
    int rc = prop_layer_dec_new(u->pubopts, u->privopts, prop_guest_memory_append, &l->memory,
                                &dec, err);

    if (rc == 0)
        rc = prop_src_blob(src, layer, decipher, dec, err);
    if (rc == 0)
        rc = prop_layer_dec_final(dec, &l->report.module, &stated, err);
    if (rc == 0)
        rc = prop_layer_check_stated(layer, &l->report.module, &stated, err);
    prop_layer_dec_free(dec);
    return rc;
}

static int fetch_plain(struct load *l, struct prop_src *src, const struct prop_descriptor *layer,
                       struct prop_err *err)
{
    int rc = prop_src_blob(src, layer, prop_guest_memory_append, &l->memory, err);

    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, l->memory.data, l->memory.len, &l->report.module, err);
    return rc;
}

static int unwrap(struct load *l, const struct prop_descriptor *layer, struct unwrapped *u,
                  struct prop_err *err)
{
    int rc = prop_guest_keys_open(&l->keys, l->g, &u->openers, err);

    return rc ? rc : prop_openers_unwrap(u->openers, layer, &u->privopts, &u->pubopts, err);
}

static struct prop_program *find_kept(struct load *l)
{
    const struct prop_guest_cache *c = l->g->cache;
    struct prop_program *p =
        c ? c->find(c->ctx, &l->report.manifest, &l->report.layer) : NULL;

    /* one that does not count fuel is no help to a run that has some, nor the other way round */
    if (p && prop_program_counts_fuel(p) != (l->g->wasm.limits.fuel > 0)) {
        prop_program_unref(p);
        return NULL;
    }
    return p;
}

/* ---- compile --------------------------------------------------------------------------------- */

static int check_magic(const char *what, const void *data, size_t len, struct prop_err *err)
{
    if (len >= 8 && memcmp(data, "\0asm", 4) == 0)
        return 0;
    return prop_err_set_id(err, PROP_E_INPUT, "not-wasm",
                           "'%s' holds no WebAssembly (no \\0asm at the start)", what);
}

static int tell_event(const struct load *l, struct prop_err *err)
{
    char artifact[PROP_DIGEST_TEXT];
    char module[PROP_DIGEST_TEXT];
    const char *why_not = NULL;

    return prop_tee_module_event(
        l->report.manifest.len ? prop_digest_format(&l->report.manifest, artifact) : NULL,
        prop_digest_format(&l->report.module, module), &why_not, err);
}

static int compile(struct load *l, const void *wasm, size_t len, struct prop_program **ret,
                   struct prop_err *err)
{
    const struct prop_compile_how how = {.fuel = l->g->wasm.limits.fuel > 0,
                                         .encrypted = l->report.encrypted,
                                         .handle = l->g->handle};
    int rc = tell_event(l, err);
    double start = prop_guest_clock_ms();

    if (rc == 0)
        rc = prop_runner_compile_with(l->g->runner, wasm, len, l->g->wasm.name, &how, ret, err);
    l->timing.compile = prop_guest_clock_ms() - start;
    return rc;
}

/* ---- the ways in ----------------------------------------------------------------------------- */

static int make(struct load *l, struct prop_src *src, const struct prop_descriptor *layer,
                const struct unwrapped *u, struct prop_program **ret, struct prop_err *err)
{
    const struct prop_guest_cache *c = l->g->cache;
    double start = prop_guest_clock_ms();
    int rc = prop_guest_memory_init(&l->memory, layer->size, err);

    if (rc == 0)
        rc = l->report.encrypted ? decrypt(l, src, layer, u, err)
                                 : fetch_plain(l, src, layer, err);
    if (rc == 0)
        rc = prop_guest_memory_seal(&l->memory, err);
    l->timing.decrypt = prop_guest_clock_ms() - start;
    if (rc == 0)
        rc = check_magic(l->g->image->text, l->memory.data, l->memory.len, err);
    if (rc == 0)
        rc = compile(l, l->memory.data, l->memory.len, ret, err);
    if (rc == 0 && c && c->keep)
        c->keep(c->ctx, &l->report.manifest, &l->report.layer, *ret);
    return rc;
}

static int load_image(struct load *l, struct prop_src *src, struct prop_program **ret,
                      struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = {.json = NULL};
    auto_unwrapped struct unwrapped u = {.openers = NULL};
    const struct prop_descriptor *layer = NULL;
    double start = prop_guest_clock_ms();
    int rc = pull_manifest(l, src, &m, err);

    l->timing.pull = prop_guest_clock_ms() - start;
    if (rc == 0)
        rc = prop_manifest_wasm_layer(&m, &layer, err);
    if (rc)
        return rc;
    l->report.layer = layer->digest;
    l->report.encrypted = prop_layer_is_encrypted(layer);
    if (l->g->require_encrypted && !l->report.encrypted)
        return not_encrypted(l->g->image->text, err);
    if (l->report.encrypted)
        rc = unwrap(l, layer, &u, err);
    if (rc)
        return rc;
    struct prop_program *kept = find_kept(l);
    l->report.kept = kept != NULL;
    if (!kept)
        return make(l, src, layer, &u, ret, err);
    *ret = kept;
    return 0;
}

static int append_buf(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

/* Given as bytes, or a file: plain by nature. */
static int compile_plain(struct load *l, const char *what, const void *wasm, size_t len,
                         struct prop_program **ret, struct prop_err *err)
{
    if (l->g->require_encrypted)
        return not_encrypted(what, err);
    int rc = prop_digest_of(PROP_SHA256, wasm, len, &l->report.module, err);
    return rc ? rc : compile(l, wasm, len, ret, err);
}

/* It may be WAT text as well. */
static int load_bare(struct load *l, struct prop_src *src, struct prop_program **ret,
                     struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_WASM_MODULE);
    double start = prop_guest_clock_ms();

    if (l->g->require_encrypted)
        return not_encrypted(l->g->image->text, err);
    int rc = prop_src_bare_read(src, append_buf, &bytes, err);
    l->timing.pull = prop_guest_clock_ms() - start;
    return rc ? rc : compile_plain(l, l->g->image->text, bytes.data, bytes.len, ret, err);
}

int prop_guest_load(const struct prop_guest_run *g, struct prop_program **ret,
                    struct prop_err *err)
{
    prop_auto_src struct prop_src *own = NULL;
    auto_load struct load l;
    int rc = 0;

    load_init(&l, g);
    prop_guest_memory_lock_process();
    if (!g->src)
        rc = prop_src_open(g->image, g->oci, &own, err);
    struct prop_src *src = g->src ? g->src : own;
    if (rc)
        return rc;
    return prop_src_is_bare(src) ? load_bare(&l, src, ret, err) : load_image(&l, src, ret, err);
}

int prop_guest_load_bytes(const struct prop_guest_run *g, const void *wasm, size_t len,
                          struct prop_program **ret, struct prop_err *err)
{
    const char *what = g->wasm.name ? g->wasm.name : "module.wasm";
    auto_load struct load l;

    load_init(&l, g);
    int rc = check_magic(what, wasm, len, err);
    return rc ? rc : compile_plain(&l, what, wasm, len, ret, err);
}

int prop_guest_execute(const struct prop_guest_run *g, const struct prop_program *p,
                       struct prop_wasm_result *ret, struct prop_err *err)
{
    double start = prop_guest_clock_ms();
    int rc = prop_runner_run(g->runner, p, &g->wasm, g->handle, ret, err);

    if (g->timing)
        g->timing->run = prop_guest_clock_ms() - start;
    return rc;
}

int prop_guest_run(const struct prop_guest_run *g, struct prop_wasm_result *ret,
                   struct prop_err *err)
{
    struct prop_program *p = NULL;
    int rc = prop_guest_load(g, &p, err);

    if (rc == 0)
        rc = prop_guest_execute(g, p, ret, err);
    prop_program_unref(p);
    return rc;
}

/* To sixteenths: exact in binary, so that JSON shows few digits. */
static double shown(double ms)
{
    return (double)(uint64_t)(ms * 16 + 0.5) / 16;
}

json_t *prop_guest_timing_json(const struct prop_guest_timing *t)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:f}", "pull_ms", shown(t->pull), "attest_ms",
                     shown(t->attest), "decrypt_ms", shown(t->decrypt), "compile_ms",
                     shown(t->compile), "run_ms", shown(t->run));
}
