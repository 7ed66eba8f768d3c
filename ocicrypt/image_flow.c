/* One layer from its source through the cipher to where it goes, each byte touched once. */
#include "ocicrypt/image_flow.h"

#include "ocicrypt/layer_internal.h"
#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UPLOAD_TRIES 4
#define HELD_CHUNK (1u << 20)

/* A layer on its way: where its bytes go, and what goes wrong is told by the callbacks. */
struct flow {
    struct prop_layer_enc *enc;
    struct prop_layer_dec *dec;
    struct prop_dst_blob *blob;
    uint8_t head[4]; /* of the plaintext */
    size_t n_head;
};

static int to_blob(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct flow *f = ctx;
    return prop_dst_blob_write(f->blob, data, len, err);
}

static int to_cipher(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct flow *f = ctx;
    const uint8_t *in = data;
    for (size_t i = 0; i < len && f->n_head < sizeof(f->head); i++)
        f->head[f->n_head++] = in[i];
    int rc = prop_stop_check(err);
    return rc != 0 ? rc : prop_layer_enc_update(f->enc, data, len, err);
}

static int to_decipher(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct flow *f = ctx;
    int rc = prop_stop_check(err);
    return rc != 0 ? rc : prop_layer_dec_update(f->dec, data, len, err);
}

/* Free what is left of a flow; a blob not finished is taken back. */
static void flow_release(struct flow *f)
{
    prop_layer_enc_free(f->enc);
    prop_layer_dec_free(f->dec);
    if (f->blob)
        prop_dst_blob_abort(f->blob);
}

/* The blob is whole: finish frees it either way. */
static int flow_finish(struct flow *f, const struct prop_digest *digest, struct prop_err *err)
{
    return prop_dst_blob_finish(PROP_TAKE(f->blob), digest, err);
}

static int encrypt_once(struct prop_dst *dst, const struct prop_flow_source *from, bool *ret_wasm,
                        struct prop_layer_sealed *ret, struct prop_err *err)
{
    struct flow f = { .enc = NULL };
    struct prop_layer_sealed sealed = { .size = 0 };
    int rc;
    if ((rc = prop_dst_blob_begin(dst, from->size, &f.blob, err)) != 0 ||
        (rc = prop_layer_enc_new(to_blob, &f, &f.enc, err)) != 0)
        goto out;
    if (from->known && from->known->alg == PROP_SHA256)
        prop_layer_enc_known_plain(f.enc, from->known);
    if ((rc = from->read(from->ctx, to_cipher, &f, err)) != 0 ||
        (rc = prop_layer_enc_final(f.enc, &sealed, err)) != 0)
        goto out;
    rc = flow_finish(&f, &sealed.cipher, err);
    if (rc != 0) {
        prop_layer_sealed_release(&sealed);
        goto out;
    }
    *ret_wasm = f.n_head == sizeof(f.head) && memcmp(f.head, "\0asm", sizeof(f.head)) == 0;
    *ret = sealed;
out:
    flow_release(&f);
    return rc;
}

static bool lost(int rc, const struct prop_err *err)
{
    return rc != 0 && strcmp(prop_err_id(err), "upload-lost") == 0;
}

int prop_flow_encrypt(struct prop_dst *dst, const struct prop_flow_source *from, bool *ret_wasm,
                      struct prop_layer_sealed *ret, struct prop_err *err)
{
    for (unsigned tries = 1;; tries++) {
        struct prop_err failure = PROP_ERR_INIT;
        int rc = encrypt_once(dst, from, ret_wasm, ret, &failure);
        if (lost(rc, &failure) && !from->again)
            (void)prop_err_hint(&failure, "what came through the pipe cannot be read again: run it "
                                          "again, or give a file");
        else if (lost(rc, &failure) && tries < UPLOAD_TRIES) {
            if ((rc = from->again(from->ctx, err)) != 0)
                return rc;
            continue;
        }
        if (rc != 0 && err)
            *err = failure;
        return rc;
    }
}

/* --- decrypting ------------------------------------------------------------------------------- */

/* A layer on its way back, and its ciphertext: at the source, or held in a file of ours. */
struct opening {
    struct prop_src *src;
    const struct prop_descriptor *layer;
    char *pubopts;
    struct prop_secret *privopts;
    int held; /* -1: nothing is */
    struct flow flow;
};

static void opening_release(struct opening *o)
{
    flow_release(&o->flow);
    prop_free(o->pubopts);
    prop_secret_free(o->privopts);
    if (o->held >= 0)
        (void)close(o->held);
}
#define auto_opening __attribute__((cleanup(opening_release)))

static int unnamed_file(int *ret_fd, struct prop_err *err)
{
    const char *tmpdir = getenv("TMPDIR");
    prop_auto_free char *path =
        prop_path_join(tmpdir && *tmpdir ? tmpdir : "/tmp", "prop-layer-XXXXXX");
    if (!path)
        return prop_err_nomem(err);
    *ret_fd = mkostemp(path, O_CLOEXEC);
    if (*ret_fd < 0)
        return prop_err_sys(err, PROP_E_IO, "make '%s'", path);
    (void)unlink(path);
    return 0;
}

static int nowhere(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    (void)ctx;
    (void)data;
    (void)len;
    (void)err;
    return 0;
}

static int hold_back(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct opening *o = ctx;
    if (prop_write_all(o->held, data, len) != 0)
        return prop_err_sys(err, PROP_E_IO, "hold back the layer");
    return to_decipher(&o->flow, data, len, err);
}

/* What is held, from its start. */
static int read_held(struct opening *o, struct prop_err *err)
{
    prop_auto_free uint8_t *bytes = prop_zalloc(HELD_CHUNK);
    int rc = 0;
    if (!bytes)
        return prop_err_nomem(err);
    for (uint64_t at = 0; rc == 0 && at < o->layer->size;) {
        ssize_t n = pread(o->held, bytes, HELD_CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return prop_err_sys(err, PROP_E_IO, "read back the layer");
        }
        rc = to_decipher(&o->flow, bytes, (size_t)n, err);
        at += (uint64_t)n;
    }
    return rc;
}

/* The whole layer from where `read` has it; the plaintext's digest, once everything about it held. */
enum pass { FROM_SOURCE, INTO_HOLD, FROM_HOLD };

static int decipher(struct opening *o, enum pass pass, prop_layer_sink sink, void *ctx,
                    struct prop_digest *ret_plain, struct prop_err *err)
{
    struct prop_digest plain = { .len = 0 }, stated = { .len = 0 };
    int rc = prop_layer_dec_new(o->pubopts, o->privopts, sink, ctx, &o->flow.dec, err);
    if (rc == 0)
        rc = pass == FROM_HOLD   ? read_held(o, err)
             : pass == INTO_HOLD ? prop_src_blob(o->src, o->layer, hold_back, o, err)
                                 : prop_src_blob(o->src, o->layer, to_decipher, &o->flow, err);
    if (rc == 0)
        rc = prop_layer_dec_final(o->flow.dec, &plain, &stated, err);
    if (rc == 0)
        rc = prop_layer_check_stated(o->layer, &plain, &stated, err);
    prop_layer_dec_free(o->flow.dec);
    o->flow.dec = NULL;
    if (rc == 0)
        *ret_plain = plain;
    return rc;
}

/* A first pass over the layer, which shows whether it is good; its ciphertext stays, so that nobody
 * can give other bytes to the second. */
static int verify(struct opening *o, struct prop_err *err)
{
    struct prop_digest plain;
    int rc = unnamed_file(&o->held, err);
    return rc != 0 ? rc : decipher(o, INTO_HOLD, nowhere, NULL, &plain, err);
}

static int decrypt_once(struct prop_src *src, const struct prop_descriptor *layer,
                        struct prop_openers *openers, const struct prop_flow_target *to,
                        struct prop_digest *ret_plain, struct prop_err *err)
{
    auto_opening struct opening o = { .src = src, .layer = layer, .held = -1 };
    struct prop_digest plain = { .len = 0 };
    int rc;
    if ((rc = prop_openers_unwrap(openers, layer, &o.privopts, &o.pubopts, err)) != 0 ||
        (to->verify_first && (rc = verify(&o, err)) != 0) ||
        (to->dst && (rc = prop_dst_blob_begin(to->dst, layer->size, &o.flow.blob, err)) != 0) ||
        (rc = decipher(&o, o.held >= 0 ? FROM_HOLD : FROM_SOURCE, to->dst ? to_blob : to->sink,
                       to->dst ? &o.flow : to->ctx, &plain, err)) != 0 ||
        (to->dst && (rc = flow_finish(&o.flow, &plain, err)) != 0))
        return rc;
    *ret_plain = plain;
    return 0;
}

int prop_flow_decrypt(struct prop_src *src, const struct prop_descriptor *layer,
                      struct prop_openers *openers, const struct prop_flow_target *to,
                      struct prop_digest *ret_plain, struct prop_err *err)
{
    for (unsigned tries = 1;; tries++) {
        struct prop_err failure = PROP_ERR_INIT;
        int rc = decrypt_once(src, layer, openers, to, ret_plain, &failure);
        if (to->dst && lost(rc, &failure) && tries < UPLOAD_TRIES)
            continue;
        if (rc != 0 && err)
            *err = failure;
        return rc;
    }
}

int prop_flow_set_blob(json_t *descriptor, const struct prop_digest *digest, uint64_t size,
                       struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    if (json_object_set_new(descriptor, "digest",
                            json_string(prop_digest_format(digest, text))) != 0 ||
        json_object_set_new(descriptor, "size", json_integer((json_int_t)size)) != 0)
        return prop_err_nomem(err);
    return 0;
}

int prop_flow_seal(const struct prop_recipients *to, const struct prop_layer_sealed *sealed,
                   json_t *layer, struct prop_err *err)
{
    struct prop_descriptor d;
    int rc;
    if ((rc = prop_flow_set_blob(layer, &sealed->cipher, sealed->size, err)) != 0 ||
        (rc = prop_recipients_wrap(to, sealed->privopts, sealed->pubopts, layer, err)) != 0 ||
        (rc = prop_descriptor_read(layer, "the new layer", &d, err)) != 0)
        return rc;
    return prop_recipients_verify(to, &d, &sealed->plain, err);
}
