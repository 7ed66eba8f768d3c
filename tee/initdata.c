/* Reads just enough TOML 1.0 to know that a document has the one shape init-data may have. What is
 * valid TOML but not that shape (dotted keys, inline tables, numbers, dates) is refused: a verifier
 * that read it in another way than we do would bind something else. */
#include "tee/initdata.h"

#include "util/mem.h"
#include "util/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 32 };

struct scan {
    const char *p, *end;
    unsigned line;
    const char *what;
    struct prop_err *err;
    char version[WORD_MAX], algorithm[WORD_MAX];
    bool has_version, has_algorithm, in_data;
};

static int bad(struct scan *s, const char *why)
{
    (void)prop_err_set_id(s->err, PROP_E_INPUT, "bad-init-data", "%s, line %u: %s", s->what, s->line,
                          why);
    return prop_err_hint(s->err, "init-data is TOML: version = \"0.1.0\", algorithm = \"sha384\", then "
                                 "a table [data] of names and strings");
}

static bool at(const struct scan *s, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(s->end - s->p) >= n && memcmp(s->p, word, n) == 0;
}

static void skip_blanks(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t'))
        s->p++;
}

/* Blanks, a comment, and the end of the line. */
static int end_of_line(struct scan *s)
{
    skip_blanks(s);
    if (s->p < s->end && *s->p == '#')
        while (s->p < s->end && *s->p != '\n' && !at(s, "\r\n")) {
            if ((unsigned char)*s->p < 0x20 && *s->p != '\t')
                return bad(s, "a control character in a comment");
            s->p++;
        }
    if (s->p == s->end)
        return 0;
    if (at(s, "\r\n"))
        s->p++;
    if (*s->p != '\n')
        return bad(s, "something stands behind the value");
    s->p++;
    s->line++;
    return 0;
}

/* One escape of a basic string; a backslash at the end of a line only in those of many lines. */
static int escape(struct scan *s, bool many)
{
    s->p++;
    if (s->p == s->end)
        return bad(s, "a string that does not end");
    char c = *s->p++;
    if (strchr("btnfr\"\\", c) && c)
        return 0;
    unsigned digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
    for (unsigned i = 0; i < digits; i++, s->p++)
        if (s->p == s->end || !strchr("0123456789abcdefABCDEF", *s->p) || !*s->p)
            return bad(s, "a bad escape in a string");
    if (digits)
        return 0;
    s->p--;
    skip_blanks(s);
    if (!many || s->p == s->end || (*s->p != '\n' && !at(s, "\r\n")))
        return bad(s, "a bad escape in a string");
    return 0;
}

/* One of the four kinds of string. `out` takes the text of a short one without escapes, or is NULL. */
static int string(struct scan *s, char out[WORD_MAX])
{
    bool basic = *s->p == '"';
    bool many = at(s, basic ? "\"\"\"" : "'''");
    const char *mark = many ? (basic ? "\"\"\"" : "'''") : (basic ? "\"" : "'");
    s->p += strlen(mark);
    const char *from = s->p;
    while (s->p < s->end && !at(s, mark)) {
        unsigned char c = (unsigned char)*s->p;
        if (c == '\\' && basic) {
            if (out)
                return bad(s, "an escape where a plain word belongs");
            int rc = escape(s, many);
            if (rc < 0)
                return rc;
            continue;
        }
        bool newline = c == '\n' || at(s, "\r\n");
        if ((c < 0x20 && c != '\t' && !(many && newline)) || c == 0x7f)
            return bad(s, newline ? "a string that does not end on its line"
                                  : "a control character in a string");
        s->line += c == '\n';
        s->p++;
    }
    if (s->p == s->end)
        return bad(s, "a string that does not end");
    if (out && (many || s->p - from >= WORD_MAX))
        return bad(s, "a long text where a word belongs");
    if (out) {
        memcpy(out, from, (size_t)(s->p - from));
        out[s->p - from] = 0;
    }
    s->p += strlen(mark);
    /* Up to two quotation marks may stand right before those that end a text of many lines. */
    for (int i = 0; many && i < 2 && s->p < s->end && *s->p == *mark; i++)
        s->p++;
    return 0;
}

static int key(struct scan *s, char out[WORD_MAX])
{
    out[0] = 0;
    if (*s->p == '"' || *s->p == '\'')
        return at(s, "\"\"\"") || at(s, "'''") ? bad(s, "a name of many lines") : string(s, NULL);
    const char *from = s->p;
    while (s->p < s->end && *s->p &&
           strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *s->p))
        s->p++;
    if (s->p == from)
        return bad(s, "a name is missing");
    if (s->p - from < WORD_MAX) {
        memcpy(out, from, (size_t)(s->p - from));
        out[s->p - from] = 0;
    }
    return 0;
}

/* name = "string" */
static int entry(struct scan *s)
{
    char name[WORD_MAX];
    int rc = key(s, name);
    if (rc < 0)
        return rc;
    skip_blanks(s);
    if (s->p == s->end || *s->p != '=')
        return bad(s, "'=' is missing behind a name");
    s->p++;
    skip_blanks(s);
    if (s->p == s->end || (*s->p != '"' && *s->p != '\''))
        return bad(s, "the value is not a string");
    if (s->in_data)
        return string(s, NULL);
    bool version = strcmp(name, "version") == 0;
    if (!version && strcmp(name, "algorithm") != 0)
        return bad(s, "only version and algorithm stand before [data]");
    bool *seen = version ? &s->has_version : &s->has_algorithm;
    if (*seen)
        return bad(s, "a name that was there before");
    *seen = true;
    return string(s, version ? s->version : s->algorithm);
}

/* [data], once: a table below it is no text. */
static int header(struct scan *s)
{
    s->p++;
    skip_blanks(s);
    bool data = at(s, "data");
    s->p += data ? 4 : 0;
    skip_blanks(s);
    if (!data || s->p == s->end || *s->p != ']' || s->in_data)
        return bad(s, "there is one table in it, [data], and its values are strings");
    s->p++;
    s->in_data = true;
    return 0;
}

static int check_utf8(struct scan *s)
{
    const uint8_t *p = (const uint8_t *)s->p;
    size_t left = (size_t)(s->end - s->p), n;
    for (; left; p += n, left -= n)
        if (!(n = prop_utf8_len(p, left)))
            return bad(s, "it is not UTF-8");
    return 0;
}

static int document(struct scan *s)
{
    int rc = check_utf8(s);
    while (rc == 0 && s->p < s->end) {
        skip_blanks(s);
        bool blank = s->p == s->end || *s->p == '\n' || *s->p == '#' || at(s, "\r\n");
        if (!blank)
            rc = *s->p == '[' ? header(s) : entry(s);
        if (rc == 0)
            rc = end_of_line(s);
    }
    if (rc < 0)
        return rc;
    if (!s->has_version || strcmp(s->version, "0.1.0") != 0)
        return bad(s, "version is not \"0.1.0\"");
    if (!s->has_algorithm)
        return bad(s, "algorithm is missing");
    return s->in_data ? 0 : bad(s, "the table [data] is missing");
}

static int algorithm_of(const char *word, enum prop_hash_alg *ret, struct prop_err *err)
{
    static const enum prop_hash_alg algs[] = { PROP_SHA256, PROP_SHA384, PROP_SHA512 };
    char safe[2 * WORD_MAX];
    for (size_t i = 0; i < PROP_ARRAY_LEN(algs); i++)
        if (strcmp(word, prop_hash_name(algs[i])) == 0) {
            *ret = algs[i];
            return 0;
        }
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "init-data-algorithm",
                          "'%s' is no hash of init-data",
                          prop_printable(word, strlen(word), safe, sizeof safe));
    return prop_err_hint(err, "sha256, sha384 or sha512, spelled like that; sha384 fits SNP and TDX");
}

int prop_initdata_pins(const void *data, size_t len, const char *algorithm,
                       struct prop_initdata *ret, struct prop_err *err)
{
    struct prop_initdata pins = { .digest = { .len = 0 } };
    enum prop_hash_alg alg;
    int rc = algorithm_of(algorithm, &alg, err);
    if (rc == 0)
        rc = prop_digest_of(alg, data, len, &pins.digest, err);
    if (rc < 0)
        return rc;
    size_t n = pins.digest.len;
    memcpy(pins.host_data, pins.digest.bytes, n < PROP_SNP_HOST_DATA ? n : PROP_SNP_HOST_DATA);
    memcpy(pins.mr_config_id, pins.digest.bytes,
           n < PROP_TDX_MR_CONFIG_ID ? n : PROP_TDX_MR_CONFIG_ID);
    *ret = pins;
    return 0;
}

int prop_initdata_read(const void *toml, size_t len, const char *what, struct prop_initdata *ret,
                       struct prop_err *err)
{
    struct scan s = { .p = toml, .end = (const char *)toml + len, .line = 1, .what = what, .err = err };
    if (len > PROP_TEE_INITDATA_MAX)
        return prop_err_set(err, PROP_E_LIMIT, "%s is longer than %u bytes", what, PROP_TEE_INITDATA_MAX);
    int rc = len ? document(&s) : bad(&s, "it is empty");
    if (rc == 0)
        rc = prop_initdata_pins(toml, len, s.algorithm, ret, err);
    return rc == PROP_E_UNSUPPORTED ? prop_err_wrap(err, "%s", what) : rc;
}
