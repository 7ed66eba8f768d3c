/* --id-block and --id-auth: what makes the processor's firmware refuse any other launch. */
#include "cmd/propcvm/vm_measure.h"

#include "keys/keyfile.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/text.h"

#include <string.h>

enum { FILE_MODE = 0644 };

static int take_id(const char *hex, const char *option, uint8_t ret[16], struct prop_err *err)
{
    memset(ret, 0, 16);
    if (!hex || prop_hex_decode(hex, strlen(hex), ret, 16) == 0)
        return 0;
    return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value", "%s is not 32 hex digits", option);
}

static int take_policy(const char *text, uint64_t *ret, struct prop_err *err)
{
    const char *digits = prop_starts_with(text, "0x") ? text + 2 : text;
    size_t n = strlen(digits);
    uint64_t v = 0;
    bool good = n > 0 && n <= 16 && digits != text;
    for (size_t i = 0; good && i < n; i++) {
        int d = prop_hex_digit(digits[i]);
        good = d >= 0;
        v = v << 4 | (unsigned)(d & 15);
    }
    if (!good || !(v & 1u << 17)) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "bad-policy", "--policy '%s' is no guest policy", text);
        return prop_err_hint(err, "hexadecimal with bit 17 set, as 0x30000");
    }
    *ret = v;
    return 0;
}

static int read_block(const struct vm_measure *m, struct prop_id_block *b, struct prop_err *err)
{
    const char *hex = json_string_value(json_object_get(m->doc, "launch_digest"));
    const struct vm_measure_opts *o = m->o;
    if (!hex || prop_hex_decode(hex, strlen(hex), b->launch_digest, 48) != 0) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "several-digests",
                              "an ID block holds one launch digest, and there are %zu",
                              json_array_size(json_object_get(m->doc, "launch_digest")));
        return prop_err_hint(err, "name one --vcpus, one --vcpu-type and one --guest-features");
    }
    if (o->guest_svn > UINT32_MAX)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value", "--guest-svn is too large");
    b->guest_svn = (uint32_t)o->guest_svn;
    int rc = take_policy(o->policy, &b->policy, err);
    if (rc == 0)
        rc = take_id(o->family_id, "--family-id", b->family_id, err);
    return rc == 0 ? take_id(o->image_id, "--image-id", b->image_id, err) : rc;
}

static int put_digest(struct vm_measure *m, const char *name, const struct prop_pkey *key,
                      struct prop_err *err)
{
    uint8_t digest[48];
    char hex[97];
    int rc = prop_id_key_digest(key, digest, err);
    if (rc < 0)
        return rc;
    prop_hex_encode(digest, sizeof digest, hex);
    return json_object_set_new(m->doc, name, json_string(hex)) == 0 ? 0 : prop_err_nomem(err);
}

/* Base64 in one line, as QEMU's properties want it. */
static int write_b64(const char *path, const uint8_t *data, size_t len, bool force,
                     struct prop_err *err)
{
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, data, len);
    prop_auto_free char *line = b64 ? prop_asprintf("%s\n", b64) : NULL;
    return line ? prop_file_write(path, line, strlen(line), FILE_MODE, force, err)
                : prop_err_nomem(err);
}

/* The second is written to the end before the first is put in its place. */
static int write_files(struct vm_measure *m, const uint8_t *block, const uint8_t *auth,
                       struct prop_err *err)
{
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, auth, PROP_ID_AUTH);
    prop_auto_file_out struct prop_file_out f = PROP_FILE_OUT_INIT;
    int rc = b64 ? prop_file_out_open(&f, m->o->id_auth, FILE_MODE, m->o->force, err)
                 : prop_err_nomem(err);
    if (rc == 0)
        rc = prop_file_out_write(&f, b64, strlen(b64), err);
    if (rc == 0)
        rc = prop_file_out_write(&f, "\n", 1, err);
    if (rc == 0)
        rc = write_b64(m->o->id_block, block, PROP_ID_BLOCK, m->o->force, err);
    return rc == 0 ? prop_file_out_commit(&f, err) : rc;
}

int vm_measure_id(struct vm_measure *m, struct prop_err *err)
{
    struct prop_id_block b = { .guest_svn = 0 };
    prop_auto_pkey struct prop_pkey *id_key = NULL;
    prop_auto_pkey struct prop_pkey *author = NULL;
    uint8_t block[PROP_ID_BLOCK], auth[PROP_ID_AUTH];
    if (!m->o->id_block)
        return 0;
    int rc = read_block(m, &b, err);
    if (rc == 0)
        rc = prop_keyfile_private_spec(m->o->id_key, &id_key, NULL, err);
    if (rc == 0 && m->o->author_key)
        rc = prop_keyfile_private_spec(m->o->author_key, &author, NULL, err);
    if (rc < 0)
        return rc;
    prop_id_block_bytes(&b, block);
    rc = prop_id_auth(block, id_key, author, auth, err);
    if (rc == PROP_E_INPUT)
        return prop_err_hint(err, "make one with: openssl ecparam -name secp384r1 -genkey -noout");
    if (rc == 0)
        rc = put_digest(m, "id_key_digest", id_key, err);
    if (rc == 0 && author)
        rc = put_digest(m, "author_key_digest", author, err);
    return rc == 0 ? write_files(m, block, auth, err) : rc;
}
