/* Key files in: PEM, DER, certificates and JWKs, told apart by their first byte. Everything is read
 * into guarded memory from the first byte, public keys too: people mix the two files up. */
#include "keys/keyfile.h"

#include "jose/jwk.h"
#include "util/file.h"
#include "util/json.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WHAT_SIZE 320

/* "'path'" for messages; long paths are cut. */
static const char *name_of(const char *path, char out[WHAT_SIZE])
{
    (void)snprintf(out, WHAT_SIZE, "'%.300s'", path);
    return out;
}

static bool looks_like_json(const struct prop_secret *s)
{
    const uint8_t *p = prop_secret_data(s);
    for (size_t i = 0; i < prop_secret_len(s); i++)
        if (memchr(" \t\r\n", p[i], 4) == NULL)
            return p[i] == '{';
    return false;
}

struct jwk_head {
    const char *kid, *alg, *use;
    json_t *keys, *key_ops;
};
static const struct prop_json_field jwk_head_fields[] = {
    { "kid", PROP_JSON_STRING, offsetof(struct jwk_head, kid), 0 },
    { "alg", PROP_JSON_STRING, offsetof(struct jwk_head, alg), 0 },
    { "use", PROP_JSON_STRING, offsetof(struct jwk_head, use), 0 },
    { "keys", PROP_JSON_ANY, offsetof(struct jwk_head, keys), 0 },
    { "key_ops", PROP_JSON_ARRAY, offsetof(struct jwk_head, key_ops), 0 },
};

/* RFC 7517 4.2, 4.3: does the key say of itself that it is for signatures alone? */
static bool only_signs(const struct jwk_head *head)
{
    size_t i, n = 0;
    json_t *op;
    if (head->use && strcmp(head->use, "sig") == 0)
        return true;
    json_array_foreach (head->key_ops, i, op) {
        const char *name = json_string_value(op);
        n += name && (strcmp(name, "sign") == 0 || strcmp(name, "verify") == 0);
    }
    return n > 0 && n == json_array_size(head->key_ops);
}

/* A copy of a member that may be absent. */
static int copy_text(const char *text, char **ret, struct prop_err *err)
{
    *ret = NULL;
    if (!text)
        return 0;
    *ret = prop_strdup(text);
    return *ret ? 0 : prop_err_nomem(err);
}

/* Key, kid and alg of a JWK text; the last two owned by the caller, NULL when absent. One that is to
 * receive must not be for signatures. */
static int load_jwk(const struct prop_secret *text, const char *what, bool receives,
                    struct prop_pkey **ret, char **ret_kid, char **ret_alg, struct prop_err *err)
{
    struct jwk_head head = { 0 };
    prop_auto_json json_t *jwk = NULL;
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_free char *kid = NULL;
    prop_auto_free char *alg = NULL;

    /* The parser's message may quote the text, and that may be a private number. */
    int rc = prop_json_parse((const char *)prop_secret_data(text), prop_secret_len(text), what,
                             &jwk, NULL);
    if (rc)
        return rc == PROP_E_NOMEM ? prop_err_nomem(err)
                                  : prop_err_set_id(err, PROP_E_INPUT, "bad-jwk",
                                                    "%s is not a JWK: malformed JSON", what);
    rc = prop_json_read(jwk, what, jwk_head_fields, PROP_ARRAY_LEN(jwk_head_fields), &head, err);
    if (rc == 0 && head.keys)
        rc = prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwk-set",
                             "%s is a set of JWKs, one key is needed", what);
    if (rc == 0 && receives && only_signs(&head)) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwk-use",
                              "%s is a key for signatures, by its 'use' or 'key_ops'", what);
        rc = prop_err_hint(err, "ask its owner for a key to encrypt with");
    }
    if (rc == 0)
        rc = prop_jwk_import(jwk, what, &key, err);
    if (rc == 0)
        rc = copy_text(head.kid, &kid, err);
    if (rc == 0)
        rc = copy_text(head.alg, &alg, err);
    if (rc)
        return rc;
    *ret = PROP_TAKE(key);
    *ret_kid = PROP_TAKE(kid);
    *ret_alg = PROP_TAKE(alg);
    return 0;
}

/* Hand the optional results over; what nobody wants is freed by the caller's cleanups. */
static void give(char **ret, char **value)
{
    if (ret)
        *ret = PROP_TAKE(*value);
}

static int load_public(const struct prop_secret *bytes, const char *what, struct prop_pkey **ret,
                       char **ret_kid, char **ret_alg, struct prop_err *err)
{
    prop_auto_pkey struct prop_pkey *key = NULL;
    int rc = looks_like_json(bytes)
                 ? load_jwk(bytes, what, true, &key, ret_kid, ret_alg, err)
                 : prop_pkey_load_public(prop_secret_data(bytes), prop_secret_len(bytes), what,
                                         &key, err);
    if (rc)
        return rc;
    if (prop_pkey_is_private(key)) {
        rc = prop_err_set_id(err, PROP_E_INPUT, "private-key-given",
                             "%s is a private key, the public one is needed", what);
        (void)prop_err_hint(err, "give the public half of the key to those who encrypt");
        return rc;
    }
    *ret = PROP_TAKE(key);
    return 0;
}

int prop_keyfile_public(const char *path, struct prop_pkey **ret, char **ret_kid, char **ret_alg,
                        struct prop_err *err)
{
    char what[WHAT_SIZE];
    prop_auto_secret struct prop_secret *bytes = NULL;
    prop_auto_free char *kid = NULL;
    prop_auto_free char *alg = NULL;

    int rc = prop_file_read_secret(path, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_ANY_MODE, &bytes,
                                   err);
    if (rc == 0)
        rc = load_public(bytes, name_of(path, what), ret, &kid, &alg, err);
    if (rc)
        return rc;
    give(ret_kid, &kid);
    give(ret_alg, &alg);
    return 0;
}

static int load_private(const struct prop_secret *bytes, const struct prop_secret *password,
                        const char *what, struct prop_pkey **ret, char **ret_kid,
                        struct prop_err *err)
{
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_free char *kid = NULL;
    prop_auto_free char *alg = NULL;
    int rc = looks_like_json(bytes) ? load_jwk(bytes, what, false, &key, &kid, &alg, err)
                                    : prop_pkey_load_private(bytes, password, what, &key, err);
    if (rc)
        return rc;
    if (!prop_pkey_is_private(key))
        return prop_err_set_id(err, PROP_E_INPUT, "not-a-private-key",
                               "%s is a public key, the private one is needed", what);
    *ret = PROP_TAKE(key);
    give(ret_kid, &kid);
    return 0;
}

int prop_keyfile_private(const char *path, const struct prop_secret *password,
                         struct prop_pkey **ret, char **ret_kid, struct prop_err *err)
{
    char what[WHAT_SIZE];
    prop_auto_secret struct prop_secret *bytes = NULL;
    int rc = prop_file_read_secret(path, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_PRIVATE, &bytes,
                                   err);
    return rc ? rc : load_private(bytes, password, name_of(path, what), ret, ret_kid, err);
}

/* Where the passphrase of a KEYFILE:SOURCE comes from. */
struct spec {
    char *path;   /* owned */
    char *source; /* file with the passphrase, owned; NULL = none was named */
};

static void spec_release(struct spec *s)
{
    prop_free(s->path);
    prop_free(s->source);
}
#define auto_spec __attribute__((cleanup(spec_release)))

static int refuse_password(size_t path_len, const char *spec, struct prop_err *err)
{
    /* The rest is not shown: it may well be the passphrase. */
    int rc = prop_err_set_id(err, PROP_E_USAGE, "password-in-argv",
                             "key '%.*s': a passphrase is never taken from the command line",
                             (int)(path_len < 300 ? path_len : 300), spec);
    (void)prop_err_hint(err, "put it in a file: KEYFILE:file=PASSFILE, or KEYFILE:fd=N");
    return rc;
}

static int split_spec(const char *spec, struct spec *ret, struct prop_err *err)
{
    const char *file = strstr(spec, ":file=");
    const char *fd = strstr(spec, ":fd=");
    const char *colon = file ? file : fd ? fd : strchr(spec, ':');
    size_t path_len = colon ? (size_t)(colon - spec) : strlen(spec);

    if (colon && !file && !fd) {
        if (prop_starts_with(colon, ":pass=") || access(spec, F_OK) != 0)
            return refuse_password(path_len, spec, err);
        path_len = strlen(spec); /* a file whose name has a colon */
    }
    if (file) {
        ret->source = prop_strdup(file + strlen(":file="));
    } else if (fd) {
        uint64_t n = 0;
        int rc = prop_parse_u64(fd + strlen(":fd="), "passphrase descriptor", &n, err);
        if (rc)
            return rc;
        ret->source = prop_asprintf("/dev/fd/%llu", (unsigned long long)n);
    }
    ret->path = prop_strndup(spec, path_len);
    if (!ret->path || ((file || fd) && !ret->source))
        return prop_err_nomem(err);
    return 0;
}

/* A passphrase without the line end that editors put behind it; NULL when there is none. */
static int without_newline(const struct prop_secret *password, struct prop_secret **ret,
                           struct prop_err *err)
{
    const uint8_t *p = prop_secret_data(password);
    size_t len = prop_secret_len(password);
    if (len == 0 || p[len - 1] != '\n')
        return 0;
    len--;
    if (len > 0 && p[len - 1] == '\r')
        len--;
    return prop_secret_copy(p, len, ret, err);
}

int prop_keyfile_private_spec(const char *spec, struct prop_pkey **ret, char **ret_kid,
                              struct prop_err *err)
{
    auto_spec struct spec s = { NULL, NULL };
    prop_auto_secret struct prop_secret *password = NULL;
    prop_auto_secret struct prop_secret *cut = NULL;

    int rc = split_spec(spec, &s, err);
    if (rc == 0 && s.source)
        rc = prop_file_read_secret(s.source, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_ANY_MODE,
                                   &password, err);
    if (rc)
        return rc;
    /* skopeo takes the file as it is, newline included: that form is tried first. */
    struct prop_err first = PROP_ERR_INIT;
    rc = prop_keyfile_private(s.path, password, ret, ret_kid, &first);
    if (rc == PROP_E_AUTH && password) {
        int cut_rc = without_newline(password, &cut, err);
        if (cut_rc)
            return cut_rc;
        if (cut)
            return prop_keyfile_private(s.path, cut, ret, ret_kid, err);
    }
    if (rc && err)
        *err = first;
    return rc;
}

void prop_keyfile_any_release(struct prop_keyfile_any *k)
{
    prop_secret_free(k->kek);
    prop_pkey_free(k->key);
    prop_free(k->kid);
    *k = (struct prop_keyfile_any){ NULL, NULL, NULL, false };
}

/* Private first, with the passphrase as it is and without its line end; else public. */
static int load_any(const struct prop_secret *bytes, const struct prop_secret *password,
                    const char *what, struct prop_keyfile_any *ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *cut = NULL;
    struct prop_err first = PROP_ERR_INIT;
    int rc = load_private(bytes, password, what, &ret->key, &ret->kid, &first);
    if (rc == PROP_E_AUTH && password) {
        int cut_rc = without_newline(password, &cut, err);
        if (cut_rc)
            return cut_rc;
        if (cut)
            return load_private(bytes, cut, what, &ret->key, &ret->kid, err);
    }
    if (rc && first.id && strcmp(first.id, "not-a-private-key") == 0) {
        prop_auto_free char *alg = NULL;
        if (load_public(bytes, what, &ret->key, &ret->kid, &alg, NULL) == 0)
            return 0;
    }
    if (rc && err)
        *err = first;
    return rc;
}

/* The rule for private key files, once it is known to be one. */
static int check_mode(const char *path, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *again = NULL;
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return 0;
    return prop_file_read_secret(path, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_PRIVATE, &again, err);
}

int prop_keyfile_any(const char *spec, struct prop_keyfile_any *ret, struct prop_err *err)
{
    char what[WHAT_SIZE];
    auto_spec struct spec s = { NULL, NULL };
    prop_auto_secret struct prop_secret *bytes = NULL;
    prop_auto_secret struct prop_secret *password = NULL;
    prop_auto_keyfile_any struct prop_keyfile_any found = { NULL, NULL, NULL, false };

    int rc = split_spec(spec, &s, err);
    if (rc == 0 && s.source)
        rc = prop_file_read_secret(s.source, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_ANY_MODE,
                                   &password, err);
    if (rc == 0)
        rc = prop_file_read_secret(s.path, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_ANY_MODE, &bytes,
                                   err);
    if (rc)
        return rc;
    if (prop_kek_from_bytes(bytes, s.path, &found.kek, NULL) == 0) {
        found.is_text = prop_secret_len(bytes) != prop_secret_len(found.kek);
    } else {
        found.is_text = looks_like_json(bytes);
        rc = load_any(bytes, password, name_of(s.path, what), &found, err);
        if (rc == 0 && prop_pkey_is_private(found.key))
            rc = check_mode(s.path, err);
        if (rc)
            return rc;
    }
    *ret = found;
    found = (struct prop_keyfile_any){ NULL, NULL, NULL, false };
    return 0;
}
