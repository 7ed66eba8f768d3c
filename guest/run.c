/* pull -> attest -> unwrap -> decrypt in memory -> verify -> compile -> run -> wipe. */
#include "guest/run.h"

#include <string.h>

#include "guest/keys.h"
#include "guest/memory.h"
#include "oci/manifest.h"
#include "ocicrypt/image.h"
#include "util/limits.h"

struct timing {
    double pull, decrypt, run;
};

/* The manifest, digest checked: against its reference by the source, against the pin here. */
static int pull_manifest(const struct prop_guest_run *g, struct prop_src *src,
                         struct prop_manifest *m, struct prop_err *err)
{
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
    if (g->report)
        g->report->manifest = digest;
    return prop_manifest_parse(bytes.data, bytes.len, type, "the image's manifest", m, err);
}

static int not_encrypted(const struct prop_guest_run *g, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_DENIED, "not-encrypted",
                    "'%s' is not encrypted, and only encrypted modules are run", g->image->text);
    return prop_err_hint(err, "encrypt it with propenc; --allow-plain runs what no task calls encrypted");
}

/* The plain digest of the stored layer is checked on the way, the HMAC and the plaintext's digest
 * at its end: only then is the memory sealed and looked at. */
static int decrypt(const struct prop_guest_run *g, struct prop_src *src,
                   const struct prop_manifest *m, struct prop_guest_memory *memory,
                   struct prop_guest_keys *keys, struct prop_err *err)
{
    const struct prop_descriptor *layer = NULL;
    struct prop_openers *openers = NULL;
    int rc = prop_manifest_wasm_layer(m, &layer, err);

    if (rc)
        return rc;
    bool encrypted = prop_layer_is_encrypted(layer);
    if (g->report) {
        g->report->layer = layer->digest;
        g->report->encrypted = encrypted;
    }
    if (g->require_encrypted && !encrypted)
        return not_encrypted(g, err);
    rc = prop_guest_memory_init(memory, layer->size, err);
    if (rc == 0)
        rc = prop_guest_keys_open(keys, g, &openers, err);
    if (rc == 0)
        rc = prop_image_decrypt_module(src, m, openers, !g->require_encrypted,
                                       prop_guest_memory_append, memory, err);
    prop_openers_free(openers);
    return rc ? rc : prop_guest_memory_seal(memory, err);
}

static int check_magic(const struct prop_guest_run *g, const void *data, size_t len,
                       struct prop_err *err)
{
    if (len >= 8 && memcmp(data, "\0asm", 4) == 0)
        return 0;
    return prop_err_set_id(err, PROP_E_INPUT, "not-wasm",
                           "the layer of '%s' holds no WebAssembly (no \\0asm at the start)",
                           g->image->text);
}

static int run_bytes(const struct prop_guest_run *g, const void *data, size_t len,
                     struct prop_wasm_result *ret, struct timing *t, struct prop_err *err)
{
    struct prop_wasm_run wasm = g->wasm;
    double start = prop_guest_clock_ms();

    wasm.module = data;
    wasm.module_len = len;
    int rc = prop_wasm_run(&wasm, ret, err);
    t->run = prop_guest_clock_ms() - start;
    return rc;
}

static int run_image(const struct prop_guest_run *g, struct prop_src *src,
                     struct prop_wasm_result *ret, struct timing *t, struct prop_guest_keys *keys,
                     struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = {.json = NULL};
    prop_auto_guest_memory struct prop_guest_memory memory = PROP_GUEST_MEMORY_INIT;
    double start = prop_guest_clock_ms();
    int rc = pull_manifest(g, src, &m, err);
    double pulled = prop_guest_clock_ms();

    if (rc)
        return rc;
    rc = decrypt(g, src, &m, &memory, keys, err);
    t->pull = pulled - start;
    t->decrypt = prop_guest_clock_ms() - pulled - keys->attest_ms;
    if (rc == 0)
        rc = check_magic(g, memory.data, memory.len, err);
    return rc ? rc : run_bytes(g, memory.data, memory.len, ret, t, err);
}

static int append_buf(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

/* A bare file: plain by nature. It may be WAT text as well. */
static int run_bare(const struct prop_guest_run *g, struct prop_src *src,
                    struct prop_wasm_result *ret, struct timing *t, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_WASM_MODULE);
    double start = prop_guest_clock_ms();

    if (g->require_encrypted)
        return not_encrypted(g, err);
    int rc = prop_src_bare_read(src, append_buf, &bytes, err);
    t->pull = prop_guest_clock_ms() - start;
    return rc ? rc : run_bytes(g, bytes.data, bytes.len, ret, t, err);
}

/* To sixteenths: exact in binary, so that JSON shows few digits. */
static double shown(double ms)
{
    return (double)(uint64_t)(ms * 16 + 0.5) / 16;
}

static int give_timing(const struct timing *t, const struct prop_guest_keys *keys, json_t **ret,
                       struct prop_err *err)
{
    json_t *doc = json_pack("{s:f,s:f,s:f,s:f}", "pull_ms", shown(t->pull), "attest_ms",
                            shown(keys->attest_ms), "decrypt_ms", shown(t->decrypt), "run_ms",
                            shown(t->run));

    if (!doc)
        return prop_err_nomem(err);
    *ret = doc;
    return 0;
}

int prop_guest_run(const struct prop_guest_run *g, struct prop_wasm_result *ret,
                   json_t **ret_timing, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    struct timing t = {0, 0, 0};
    struct prop_guest_keys keys = {.g = g};

    prop_guest_memory_lock_process();
    int rc = prop_wasm_warm(err); /* while the network is waited for */
    if (rc == 0)
        rc = prop_src_open(g->image, g->oci, &src, err);
    if (rc == 0)
        rc = prop_src_is_bare(src) ? run_bare(g, src, ret, &t, err)
                                   : run_image(g, src, ret, &t, &keys, err);
    return rc == 0 && ret_timing ? give_timing(&t, &keys, ret_timing, err) : rc;
}
