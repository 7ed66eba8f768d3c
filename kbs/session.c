/* What is remembered of an attestation, and for how long it is good. Lifetimes are the server's own
 * differences (Expires minus Date, exp minus iat), counted on a clock that nobody sets: the wall clock
 * of a guest is its host's. */
#include "kbs/internal.h"

#include "jose/jwk.h"
#include "util/encode.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>
#include <strings.h>
#include <time.h>

enum { COOKIE_MAX = 512, TOKEN_MAX = 256 << 10, MARGIN_MS = 10000, MARGIN_PART = 4, RSA_BITS = 2048 };
static const char cookie_name[] = "kbs-session-id=";

uint64_t prop_kbs_clock_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void prop_kbs_session_release(struct prop_kbs_session *s)
{
    prop_secret_free(s->cookie);
    prop_secret_free(s->bearer);
    prop_pkey_free(s->own_key);
    prop_free(s->init_data);
    memset(s, 0, sizeof(*s));
}

/* What the server encrypts to (kbs.md 2.6); it would take other keys here and fail at the GET. */
const char *prop_kbs_key_alg(const struct prop_pkey *key)
{
    switch (prop_pkey_get_type(key)) {
    case PROP_PKEY_RSA:
        return "RSA-OAEP-256";
    case PROP_PKEY_P256:
    case PROP_PKEY_P521:
        return "ECDH-ES+A256KW";
    case PROP_PKEY_P384:
    case PROP_PKEY_ED25519:
        break;
    }
    return NULL;
}

const struct prop_pkey *prop_kbs_session_key(const struct prop_kbs_session *s,
                                             const struct prop_kbs_attest *how)
{
    return how->tee_key ? how->tee_key : s->own_key;
}

static int check_key(const struct prop_pkey *key, struct prop_err *err)
{
    if (prop_kbs_key_alg(key) && prop_pkey_is_private(key))
        return 0;
    prop_err_set_id(err, PROP_E_UNSUPPORTED, "tee-key",
                    "key brokers do not encrypt to this kind of TEE key");
    (void)prop_err_hint(err, "use a private P-256, P-521 or RSA key");
    return PROP_E_UNSUPPORTED;
}

static int fresh_key(enum prop_kbs_key kind, struct prop_pkey **ret, struct prop_err *err)
{
    static const enum prop_pkey_type types[] = { PROP_PKEY_P256, PROP_PKEY_P521, PROP_PKEY_RSA };
    return prop_pkey_generate(types[kind], RSA_BITS, ret, err);
}

int prop_kbs_session_begin(struct prop_kbs_session *s, const struct prop_kbs_attest *how,
                           struct prop_err *err)
{
    prop_kbs_session_release(s);
    int rc = how->tee_key ? check_key(how->tee_key, err) : fresh_key(how->key, &s->own_key, err);
    if (rc == 0)
        rc = prop_jwk_thumbprint(prop_kbs_session_key(s, how), s->thumbprint, err);
    if (rc < 0)
        return rc;
    s->how = *how;
    s->init_data = how->init_data ? prop_strdup(how->init_data) : NULL;
    return how->init_data && !s->init_data ? prop_err_nomem(err) : 0;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_how(const struct prop_kbs_session *s, const struct prop_kbs_attest *how)
{
    char thumbprint[44];
    if (s->how.tee != how->tee || s->how.allow_debug != how->allow_debug ||
        s->how.sample_device != how->sample_device || !how->tee_key != !s->how.tee_key ||
        !same_text(s->init_data, how->init_data))
        return false;
    if (!how->tee_key)
        return s->how.key == how->key;
    return prop_jwk_thumbprint(how->tee_key, thumbprint, NULL) == 0 &&
           strcmp(thumbprint, s->thumbprint) == 0;
}

bool prop_kbs_session_fits(const struct prop_kbs_session *s, const struct prop_kbs_attest *how)
{
    uint64_t now = prop_kbs_clock_ms();
    bool token_over = s->token_until && now >= s->token_until; /* the server looks at it in any case */
    bool proof = now < s->cookie_until || s->token_until;
    return s->attested && proof && !token_over && same_how(s, how);
}

void prop_kbs_session_proof(const struct prop_kbs_session *s, const struct prop_secret **ret_cookie,
                            const struct prop_secret **ret_bearer)
{
    bool cookie = prop_kbs_clock_ms() < s->cookie_until || !s->token_until;
    *ret_cookie = cookie ? s->cookie : NULL;
    *ret_bearer = cookie ? NULL : s->bearer;
}

/* The end of a lifetime that began at `from`, with some time left for the request that uses it. */
static uint64_t until(uint64_t from, int64_t lifetime_s)
{
    if (lifetime_s <= 0)
        return from;
    if (lifetime_s > INT32_MAX)
        lifetime_s = INT32_MAX;
    uint64_t ms = (uint64_t)lifetime_s * 1000;
    return from + ms - (ms / MARGIN_PART < MARGIN_MS ? ms / MARGIN_PART : MARGIN_MS);
}

/* "; Expires=Sat, 21 Nov 2026 13:05:25 GMT" */
static uint64_t cookie_end(const char *attributes, const struct prop_http_answer *a, uint64_t sent_ms)
{
    const char *at = strcasestr(attributes, "expires=");
    struct tm tm = { .tm_isdst = 0 };
    time_t date;
    if (!at || !strptime(at + strlen("expires="), "%a, %d %b %Y %H:%M:%S GMT", &tm) ||
        !prop_http_date_of(a, &date))
        return UINT64_MAX;
    return until(sent_ms, (int64_t)(timegm(&tm) - date));
}

int prop_kbs_session_take_cookie(struct prop_kbs_session *s, const struct prop_http_answer *a,
                                 uint64_t sent_ms, struct prop_err *err)
{
    for (size_t i = 0;; i++) {
        const char *v = prop_http_header(a, "set-cookie", i);
        if (!v)
            return prop_err_set_id(err, PROP_E_REMOTE, "no-session-cookie",
                                   "the key broker gave no session cookie");
        size_t len = strcspn(v, ";, \t");
        if (!prop_starts_with(v, cookie_name) || len < sizeof(cookie_name) || len > COOKIE_MAX)
            continue;
        struct prop_secret *cookie = NULL;
        int rc = prop_secret_copy(v, len, &cookie, err);
        if (rc < 0)
            return rc;
        prop_secret_free(s->cookie);
        s->cookie = cookie;
        s->cookie_until = cookie_end(v + len, a, sent_ms);
        return 0;
    }
}

/* exp minus iat of a JWT that the key broker made for us; not verified: only the broker uses it. */
static int64_t token_lifetime(const char *token)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(TOKEN_MAX);
    prop_auto_json json_t *claims = NULL;
    const char *payload = strchr(token, '.');
    if (!payload)
        return 0;
    payload++;
    if (prop_b64_decode(PROP_B64_URL, payload, strcspn(payload, "."), "token", &text, NULL) < 0 ||
        prop_json_parse(prop_buf_str(&text), text.len, "token", &claims, NULL) < 0)
        return 0;
    const json_t *exp = json_object_get(claims, "exp"), *iat = json_object_get(claims, "iat");
    return json_is_integer(exp) && json_is_integer(iat)
               ? json_integer_value(exp) - json_integer_value(iat) : 0;
}

int prop_kbs_session_take_token(struct prop_kbs_session *s, const char *token, uint64_t sent_ms,
                                struct prop_err *err)
{
    static const char prefix[] = "Bearer ";
    struct prop_secret *bearer = NULL;
    int64_t lifetime = token_lifetime(token);
    int rc = prop_secret_new(sizeof(prefix) - 1 + strlen(token), &bearer, err);
    if (rc < 0)
        return rc;
    memcpy(prop_secret_bytes(bearer), prefix, sizeof(prefix) - 1);
    memcpy(prop_secret_bytes(bearer) + sizeof(prefix) - 1, token, strlen(token));
    prop_secret_free(s->bearer);
    s->bearer = bearer;
    s->token_until = lifetime > 0 ? until(sent_ms, lifetime) : 0;
    return 0;
}
