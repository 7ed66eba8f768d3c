/* propkey token: take an attestation token apart, and say what its signature proves. */
#include "cmd/propkey/token.h"
#include "cmd/propkey/verbs.h"

#include "policy/attestation.h"
#include "util/buf.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

enum { TOKEN_MAX = 256 << 10, LEEWAY_S = 60, SHOWN_MAX = 400 };
static const char profile[] = "tag:github.com,2024:confidential-containers/Trustee";

struct token_opts {
    struct propkey_token_trust trust;
};

static const struct prop_opt options[] = {
    { "trust-cert", 0, PROP_OPT_STRING, "FILE", "certificate the token's own chain must lead to",
      offsetof(struct token_opts, trust.cert), NULL, NULL, false },
    { "jwks", 0, PROP_OPT_STRING, "FILE", "keys of the signer: a JWK or a JWK set",
      offsetof(struct token_opts, trust.jwks), NULL, NULL, false },
    { "insecure-header-jwk", 0, PROP_OPT_FLAG, NULL,
      "let the key in the token's own header count: anybody can make such a token",
      offsetof(struct token_opts, trust.header_jwk), NULL, NULL, false },
    PROP_OPT_END
};

static void print_text(FILE *out, const char *lead, const char *text)
{
    char shown[SHOWN_MAX];
    (void)fprintf(out, "%s%s\n", lead, prop_printable(text, strlen(text), shown, sizeof shown));
}

/* Claims one to a line, "snp.measurement = ..."; depth is bounded by the JSON reader. */
static void print_claims(FILE *out, const char *path, const json_t *v)
{
    const char *key;
    json_t *one;
    if (json_is_object(v) && json_object_size(v) > 0) {
        json_object_foreach((json_t *)(uintptr_t)v, key, one) {
            prop_auto_free char *deeper = prop_asprintf("%s%s%s", path, *path ? "." : "", key);
            if (deeper)
                print_claims(out, deeper, one);
        }
        return;
    }
    prop_auto_free char *text = prop_json_compact(v);
    prop_auto_free char *line = prop_asprintf("%s = %s", path, text ? text : "");
    print_text(out, "    ", line ? line : "");
}

static void print_submod(FILE *out, const char *name, const json_t *s)
{
    const char *claim;
    json_t *v;
    prop_auto_free char *head =
        prop_asprintf("%s: %s (policy %s)", name, json_string_value(json_object_get(s, "status")),
                      json_string_value(json_object_get(s, "policy")));
    print_text(out, "", head ? head : "");
    json_object_foreach(json_object_get(s, "vector"), claim, v) {
        prop_auto_free char *line =
            prop_asprintf("%-18s %4lld  %s", claim,
                          (long long)json_integer_value(json_object_get(v, "value")),
                          json_string_value(json_object_get(v, "tier")));
        print_text(out, "    ", line ? line : "");
    }
    print_claims(out, "", json_object_get(s, "claims"));
}

static void print_token(const json_t *doc, void *stream)
{
    static const char *const lines[] = { "signature_text", "times_text", "profile", "issuer" };
    static const char *const leads[] = { "signature: ", "time: ", "profile: ", "issuer: " };
    const char *name;
    json_t *s;
    for (size_t i = 0; i < PROP_ARRAY_LEN(lines); i++) {
        const char *text = json_string_value(json_object_get(doc, lines[i]));
        if (text)
            print_text(stream, leads[i], text);
    }
    json_object_foreach(json_object_get(doc, "submods"), name, s)
        print_submod(stream, name, s);
}

static json_t *vector_of(const json_t *vector)
{
    const char *claim;
    json_t *v;
    json_t *out = json_object();
    json_object_foreach((json_t *)(uintptr_t)vector, claim, v)
        if (json_is_integer(v) && out)
            (void)json_object_set_new(out, claim,
                                      json_pack("{s:I,s:s}", "value", json_integer_value(v), "tier",
                                                prop_trust_tier(json_integer_value(v))));
    return out;
}

static const char *text_or(const json_t *o, const char *name, const char *other)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : other;
}

static json_t *submods_of(const json_t *claims)
{
    const char *name;
    json_t *s;
    json_t *out = json_object();
    json_object_foreach(json_object_get(claims, "submods"), name, s) {
        json_t *evidence = json_object_get(s, "ear.veraison.annotated-evidence");
        json_t *one = json_pack("{s:s,s:s,s:o}", "status", text_or(s, "ear.status", "(no status)"),
                                "policy", text_or(s, "ear.appraisal-policy-id", "(not said)"),
                                "vector",
                                vector_of(json_object_get(s, "ear.trustworthiness-vector")));
        if (one && evidence)
            (void)json_object_set(one, "claims", evidence);
        if (out)
            (void)json_object_set_new(out, name, one);
    }
    return out;
}

/* Why the token is not good at this moment, or NULL; `out` says its times. */
static const char *check_times(const json_t *claims, char *out, size_t size)
{
    char from[21] = "?", until[21] = "?";
    const json_t *iat = json_object_get(claims, "iat"), *exp = json_object_get(claims, "exp");
    const json_t *nbf = json_object_get(claims, "nbf");
    double now = (double)prop_wall_time();
    const char *why = NULL;
    if (json_is_integer(iat))
        prop_rfc3339((time_t)json_integer_value(iat), from);
    if (json_is_integer(exp))
        prop_rfc3339((time_t)json_integer_value(exp), until);
    if (!json_is_number(exp))
        why = "no-expiry";
    else if (json_number_value(exp) + LEEWAY_S < now)
        why = "expired";
    else if ((json_is_number(nbf) && json_number_value(nbf) > now + LEEWAY_S) ||
             (json_is_number(iat) && json_number_value(iat) > now + LEEWAY_S))
        why = "not-yet-valid";
    (void)snprintf(out, size, "issued %s, expires %s%s%s", from, until, why ? ": " : "",
                   why ? why : "");
    return why;
}

static const char *say_signature(const char *how, bool believed)
{
    if (strcmp(how, "trusted-cert") == 0)
        return "good, by a certificate that leads to the trusted one";
    if (strcmp(how, "jwks") == 0)
        return "good, by a key of the given set";
    return believed ? "fits the key in the token's own header (insecure: anybody can make such a "
                      "token)"
                    : "fits the key in the token's own header, which proves nothing about who made "
                      "it; --trust-cert or --jwks would";
}

static int read_token(const char *file, struct prop_buf *token, struct prop_err *err)
{
    int rc = prop_file_read(file, token, err);
    while (rc == 0 && token->len && strchr(" \t\r\n", (char)token->data[token->len - 1]))
        token->data[--token->len] = 0;
    return rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct token_opts *o = opts;
    prop_auto_buf struct prop_buf token = PROP_BUF_INIT(TOKEN_MAX);
    prop_auto_json json_t *header = NULL;
    prop_auto_json json_t *claims = NULL;
    const char *how = NULL;
    char times[160];
    if (o->trust.cert && o->trust.jwks)
        return prop_err_set_id(err, PROP_E_USAGE, "two-trusts",
                               "--trust-cert and --jwks are both given");
    int rc = read_token(prop_cli_arg(cli, 0), &token, err);
    if (rc == 0)
        rc = propkey_token_verify(prop_buf_str(&token), token.len, &o->trust, &header, &claims,
                                  &how, err);
    if (rc < 0)
        return rc;
    bool believed = o->trust.cert || o->trust.jwks || o->trust.header_jwk;
    const char *why = check_times(claims, times, sizeof times);
    if (!why && !believed)
        why = "not-verified";
    if (strcmp(text_or(claims, "eat_profile", ""), profile) != 0)
        prop_cli_warn(cli, "the profile is not Trustee's ('%s')", profile);
    prop_auto_json json_t *doc = json_pack(
        "{s:b,s:s*,s:s,s:b,s:s,s:s,s:O*,s:O*,s:O*,s:O*,s:o,s:O}", "valid", why == NULL, "reason",
        why, "signature", how, "insecure", strcmp(how, "header-jwk") == 0, "signature_text",
        say_signature(how, believed), "times_text", times,
        "profile", json_object_get(claims, "eat_profile"), "issuer", json_object_get(claims, "iss"),
        "iat", json_object_get(claims, "iat"), "exp", json_object_get(claims, "exp"), "submods",
        submods_of(claims), "header", header);
    if (!doc)
        return prop_err_nomem(err);
    if (why)
        prop_cli_set_status(cli, 1);
    return prop_cli_result(cli, doc, print_token, err);
}

const struct prop_verb propkey_verb_token = {
    "token", "FILE", "check an attestation token and show what it says",
    "FILE holds the token (- for standard input). Exit status 0: signature and times are good;\n"
    "1: it expired, is not valid yet, or nothing was given to check its signature with; 4: the\n"
    "signature is wrong. A key that comes in the token's own header proves consistency only:\n"
    "name the signer with --trust-cert or --jwks, or say --insecure-header-jwk.\n"
    "\n"
    "  propkey attest --tee sample | propkey token - --insecure-header-jwk",
    options, sizeof(struct token_opts), 1, 1, run
};
