/* Comparison of policy documents: against brute force over every guest and name of a small world,
 * and against the engine on what it says is different. */
#include "policy/compare.h"
#include "policy/document.h"
#include "policy/example.h"
#include "policy/token.h"
#include "util/limits.h"
#include "util/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define A48 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B48 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* Rules of a document, owned. */
static json_t *rules_of(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    if (prop_policy_doc_parse(text, strlen(text), "'p'", &d, &err) != 0)
        fail_msg("%s\n%s", err.message, text);
    return json_deep_copy(prop_policy_doc_rules(d));
}

static unsigned compare(const json_t *before, const json_t *after, json_t **examples)
{
    struct prop_err err = PROP_ERR_INIT;
    unsigned change = 99;
    if (prop_policy_compare(before, after, &change, examples, &err) != 0)
        fail_msg("%s", err.message);
    return change;
}

/* --- a small world ----------------------------------------------------------------------------- */

enum { words_max = 130, rules_max = 4 };
static char words[words_max][8];
static size_t n_words;

/* Every word of up to four letters of a, b and z; patterns below use a and b. */
static void make_words(void)
{
    n_words = 0;
    for (size_t len = 1; len <= 4; len++) {
        size_t count = 1;
        for (size_t i = 0; i < len; i++)
            count *= 3;
        for (size_t k = 0; k < count; k++) {
            size_t rest = k;
            for (size_t i = 0; i < len; i++, rest /= 3)
                words[n_words][i] = "abz"[rest % 3];
            words[n_words++][len] = 0;
        }
    }
}

static uint32_t seed;
static unsigned pick(unsigned n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 16) % n;
}

/* A rule as numbers, so that the brute force needs none of the code it checks. */
struct toy {
    char part[8];
    int tee;          /* 0 any hardware, 1 snp, 2 tdx, 3 sample */
    int tier;         /* 0 none, 1 warning, 2 affirming */
    unsigned measure; /* bit mask of values 0..2; 0 = no condition */
    int tcb;          /* 0 none, else least */
    int exec;         /* 0 none, 1 affirming, 2 configuration as well */
    bool migrate;
    unsigned init;    /* bit mask of values 0..1; 0 = no condition */
};
struct guest {
    int tee;     /* 1 snp, 2 tdx, 3 sample, 4 another kind of hardware */
    int status;  /* 0 contraindicated, 1 warning, 2 affirming */
    int measure; /* -1 absent, 0..2 */
    int tcb;     /* -1 absent, 0..3 */
    int exec;    /* 0 neither, 1 executables, 2 configuration too */
    bool migrate;
    int init;    /* -1 absent, 0..1 */
};

static void toy_make(struct toy *t)
{
    static const char *const parts[] = { "*",  "a*", "*a", "b*", "*b",  "aa*", "a*a", "a*b", "ab*ba",
                                         "aa", "a",  "b",  "ab", "aba", "ab*b", "*ab", "aa*aa" };
    memset(t, 0, sizeof *t);
    (void)snprintf(t->part, sizeof t->part, "%s", parts[pick(PROP_ARRAY_LEN(parts))]);
    t->tee = (int)pick(4);
    t->tier = (int)pick(3);
    t->exec = pick(3) == 0 ? (int)pick(3) : 0;
    if (t->tee == 1 || t->tee == 2)
        t->measure = pick(8);
    if (t->tee == 1) {
        t->tcb = (int)pick(4);
        t->migrate = pick(4) == 0;
    }
    if (t->tee != 0 && pick(2) == 0)
        t->init = pick(4);
}

static json_t *toy_json(const struct toy *t)
{
    static const char *const tees[] = { NULL, "snp", "tdx", "sample" };
    static const char *const tiers[] = { NULL, "warning", "affirming" };
    static const char digits[] = "abc";
    json_t *r = json_pack("{s:o}", "resource", json_sprintf("t/%s/k", t->part));
    if (t->tee != 0)
        json_object_set_new(r, "tee", json_string(tees[t->tee]));
    if (t->tier != 0)
        json_object_set_new(r, "tier", json_string(tiers[t->tier]));
    if (t->exec > 0)
        json_object_set_new(r, "executables", json_string("affirming"));
    if (t->exec > 1)
        json_object_set_new(r, "configuration", json_string("affirming"));
    for (unsigned i = 0; i < 3; i++) {
        char hex[97];
        memset(hex, digits[i], 96);
        hex[96] = 0;
        if ((t->measure & 1u << i) != 0) {
            if (json_object_get(r, "measurement") == NULL)
                json_object_set_new(r, "measurement", json_array());
            json_array_append_new(json_object_get(r, "measurement"), json_string(hex));
        }
        hex[64] = 0;
        if (i < 2 && (t->init & 1u << i) != 0) {
            if (json_object_get(r, "init_data") == NULL)
                json_object_set_new(r, "init_data", json_array());
            json_array_append_new(json_object_get(r, "init_data"), json_sprintf("sha256:%s", hex));
        }
    }
    if (t->tcb > 0)
        json_object_set_new(r, "min_tcb", json_pack("{s:i}", "snp", t->tcb));
    if (t->migrate)
        json_object_set_new(r, "migration", json_string("allowed"));
    if (t->tee != 3 && !prop_policy_rule_is_narrow(r))
        json_object_set_new(r, "allow_any_guest", json_true());
    json_t *normal = NULL;
    struct prop_err err = PROP_ERR_INIT;
    if (prop_policy_rule_normal(r, "toy", NULL, &normal, &err) != 0)
        fail_msg("%s", err.message);
    json_decref(r);
    return normal;
}

static bool toy_fits(const struct toy *t, const char *word)
{
    const char *star = strchr(t->part, '*');
    if (star == NULL)
        return strcmp(t->part, word) == 0;
    size_t before = (size_t)(star - t->part), after = strlen(star + 1), len = strlen(word);
    return len >= before + after && strncmp(word, t->part, before) == 0 &&
           strcmp(word + len - after, star + 1) == 0;
}

/* Apart from the name. */
static bool toy_takes(const struct toy *t, const struct guest *g)
{
    if (t->tee == 0 ? g->tee == 3 : t->tee != g->tee)
        return false;
    if (g->status < t->tier || g->exec < t->exec)
        return false;
    if (t->measure != 0 && (g->measure < 0 || (t->measure & 1u << g->measure) == 0))
        return false;
    if (t->init != 0 && (g->init < 0 || (t->init & 1u << g->init) == 0))
        return false;
    if (t->tcb > 0 && g->tcb < t->tcb)
        return false;
    return t->migrate || !(g->tee == 1 && g->migrate);
}

/* Which of the rules take the guest, one bit each. */
static unsigned takers(const struct toy *t, size_t n, const struct guest *g)
{
    unsigned mask = 0;
    for (size_t i = 0; i < n; i++)
        mask |= toy_takes(&t[i], g) ? 1u << i : 0u;
    return mask;
}

static bool named(const struct toy *t, unsigned mask, const char *word)
{
    for (size_t i = 0; mask != 0; i++, mask >>= 1)
        if ((mask & 1) != 0 && toy_fits(&t[i], word))
            return true;
    return false;
}

static bool lets(const struct toy *t, size_t n, const struct guest *g, const char *word)
{
    return named(t, takers(t, n, g), word);
}

/* Both bits, by asking about everybody and everything. */
static unsigned brute(const struct toy *a, size_t n_a, const struct toy *b, size_t n_b)
{
    bool known[1 << rules_max][1 << rules_max] = { { false } };
    unsigned change = 0;
    for (int tee = 1; tee <= 4; tee++)
        for (int k = 0; k < 3 * 4 * 5 * 3 * 2 * 3; k++) {
            struct guest g = { tee, k % 3, k / 3 % 4 - 1, k / 12 % 5 - 1, k / 60 % 3,
                               k / 180 % 2 == 1, k / 360 - 1 };
            unsigned mask_a = takers(a, n_a, &g), mask_b = takers(b, n_b, &g);
            if (known[mask_a][mask_b])
                continue;
            known[mask_a][mask_b] = true;
            for (size_t w = 0; w < n_words; w++) {
                bool before = named(a, mask_a, words[w]), after = named(b, mask_b, words[w]);
                if (before != after)
                    change |= after ? PROP_POLICY_WIDER : PROP_POLICY_NARROWER;
            }
        }
    return change;
}

/* Now and then the second list is the first one, changed a little: that is what happens. */
static size_t toys_from(const struct toy *from, size_t n_from, struct toy *to)
{
    size_t n = pick(rules_max + 1);
    for (size_t i = 0; i < n; i++)
        toy_make(&to[i]);
    if (n_from == 0 || pick(3) == 0)
        return n;
    memcpy(to, from, n_from * sizeof *from);
    struct toy *t = &to[pick((unsigned)n_from)];
    switch (pick(5)) {
    case 0: t->tier = (int)pick(3); break;
    case 1: t->measure = t->tee == 1 || t->tee == 2 ? pick(8) : 0; break;
    case 2: t->tcb = t->tee == 1 ? (int)pick(4) : 0; break;
    case 3: (void)snprintf(t->part, sizeof t->part, "%s", pick(2) != 0 ? "*" : "a*"); break;
    default: t->init = t->tee != 0 ? pick(4) : 0; break;
    }
    return n_from;
}

static json_t *toys_json(const struct toy *t, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, toy_json(&t[i]));
    return list;
}

static void build(const json_t *rules, struct prop_buf *out)
{
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    prop_auto_json json_t *root = json_pack("{s:i, s:O}", "version", 1, "rule", rules);
    prop_auto_free char *text = prop_json_compact(root);
    struct prop_err err = PROP_ERR_INIT;
    if (prop_policy_doc_parse(text, strlen(text), "'p'", &d, &err) != 0 ||
        prop_policy_build(d, out, &err) != 0)
        fail_msg("%s\n%s", err.message, text);
}

/* What is said to be different is so for the engine too. */
static void check_examples(const json_t *before, const json_t *after, const json_t *examples)
{
    prop_auto_buf struct prop_buf old = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf new = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    size_t i;
    json_t *e;
    build(before, &old);
    build(after, &new);
    json_array_foreach (examples, i, e) {
        prop_auto_json json_t *token = NULL;
        prop_auto_buf struct prop_buf said = PROP_BUF_INIT(4096);
        const char *path = json_string_value(json_object_get(e, "resource"));
        bool wider = strcmp(json_string_value(json_object_get(e, "change")), "wider") == 0;
        bool was = false, is = false;
        struct prop_err err = PROP_ERR_INIT;
        assert_int_equal(prop_policy_token_for_guest(json_object_get(e, "guest"), &token, NULL), 0);
        assert_int_equal(prop_policy_example_say(e, &said, NULL), 0);
        int rc = prop_policy_decide(prop_buf_str(&old), old.len, token, path, &was, &err);
        if (rc == 0)
            rc = prop_policy_decide(prop_buf_str(&new), new.len, token, path, &is, &err);
        if (rc != 0)
            fail_msg("%s", err.message);
        if (was == wider || is != wider)
            fail_msg("%s %s: before %d after %d\n%s\n%s",
                     json_string_value(json_object_get(e, "change")), prop_buf_str(&said), was, is,
                     prop_buf_str(&old), prop_buf_str(&new));
    }
}

static void test_brute_force(void **state)
{
    (void)state;
    unsigned counts[4] = { 0 };
    make_words();
    for (unsigned round = 0; round < 1200; round++) {
        struct toy a[rules_max], b[rules_max];
        seed = round * 7919u + 1;
        size_t n_a = toys_from(NULL, 0, a), n_b = toys_from(a, n_a, b);
        prop_auto_json json_t *before = toys_json(a, n_a);
        prop_auto_json json_t *after = toys_json(b, n_b);
        prop_auto_json json_t *examples = NULL;
        unsigned got = compare(before, after, &examples), want = brute(a, n_a, b, n_b);
        if (got != want) {
            prop_auto_free char *x = prop_json_compact(before);
            prop_auto_free char *y = prop_json_compact(after);
            prop_auto_free char *z = prop_json_compact(examples);
            fail_msg("round %u: said %u, is %u\n%s\n%s\n%s", round, got, want, x, y, z);
        }
        counts[want]++;
        assert_int_equal(json_array_size(examples) > 0, want != 0);
        if (round % 12 == 0)
            check_examples(before, after, examples);
    }
    for (size_t i = 0; i < 4; i++)
        assert_true(counts[i] > 20);
}

/* The engine reads the rules as the toys do: the built policy, on guests of the small world. */
static void test_rules_mean_that(void **state)
{
    (void)state;
    static const char *const tees[] = { NULL, "snp", "tdx", "sample", "cca" };
    static const char *const statuses[] = { "contraindicated", "warning", "affirming" };
    make_words();
    for (unsigned round = 0; round < 40; round++) {
        struct toy a[rules_max];
        seed = round * 104729u + 5;
        size_t n = 1 + pick(rules_max);
        for (size_t i = 0; i < n; i++)
            toy_make(&a[i]);
        prop_auto_json json_t *rules = toys_json(a, n);
        prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        build(rules, &rego);
        for (unsigned k = 0; k < 12; k++) {
            struct guest g = { 1 + (int)pick(4), (int)pick(3), (int)pick(4) - 1, (int)pick(5) - 1,
                               (int)pick(3), pick(3) == 0, (int)pick(3) - 1 };
            char hex[97], path[32], init[100];
            memset(hex, g.measure >= 0 ? "abc"[g.measure] : 'f', 96);
            hex[96] = 0;
            prop_auto_json json_t *token = NULL;
            assert_int_equal(prop_policy_token_new(tees[g.tee], statuses[g.status],
                                                   g.measure >= 0 ? hex : NULL, false, &token, NULL),
                             0);
            json_t *cpu = json_object_get(json_object_get(token, "submods"), "cpu0");
            json_t *evidence = json_object_get(cpu, "ear.veraison.annotated-evidence");
            json_t *snp = json_object_get(evidence, "snp");
            if (snp != NULL && g.tcb >= 0)
                json_object_set_new(snp, "reported_tcb_snp", json_integer(g.tcb));
            if (snp != NULL)
                json_object_set_new(snp, "policy_migrate_ma", json_boolean(g.migrate));
            memset(init, 0, sizeof init);
            memset(init, g.init == 1 ? 'b' : 'a', 64);
            if (g.tee == 2)
                memset(init + 64, '0', 32);
            if (g.tee == 3)
                (void)snprintf(init, sizeof init, "%s",
                               g.init == 1 ? "u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7s="
                                           : "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=");
            if (g.init >= 0)
                json_object_set_new(evidence, "init_data", json_string(init));
            json_object_set_new(cpu, "ear.trustworthiness-vector",
                                json_pack("{s:i, s:i}", "executables", g.exec > 0 ? 3 : 33,
                                          "configuration", g.exec > 1 ? 2 : 0));
            const char *word = words[pick((unsigned)n_words)];
            (void)snprintf(path, sizeof path, "t/%s/k", word);
            bool allow = false;
            assert_int_equal(prop_policy_decide(prop_buf_str(&rego), rego.len, token, path, &allow,
                                                NULL),
                             0);
            if (allow != lets(a, n, &g, word))
                fail_msg("round %u: %s %s says %d\n%s", round, tees[g.tee], path, allow,
                         prop_buf_str(&rego));
        }
    }
}

/* --- cases with a name ------------------------------------------------------------------------- */

#define R(resource, rest) "{\"resource\":\"" resource "\"," rest "}"
#define DOC(rules) "{\"version\":1,\"rule\":[" rules "]}"
#define TIERED "\"tier\":\"affirming\""

static void test_cases(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
        unsigned change;
    } cases[] = {
        { DOC(""), DOC(""), 0 },
        { DOC(""), DOC(R("a/b/c", TIERED)), 1 },
        { DOC(R("a/b/c", TIERED)), DOC(""), 2 },
        { DOC(R("a/b/c", TIERED)), DOC(R("a/b/c", TIERED ",\"comment\":\"x\"")), 0 },
        /* several narrow rules are one wide one, and the other way round */
        { DOC(R("a/b/c", "\"tee\":\"snp\",\"measurement\":[\"" A48 A48 "\"]") ","
              R("a/b/c", "\"tee\":\"snp\",\"measurement\":[\"" B48 B48 "\"]")),
          DOC(R("a/b/c", "\"tee\":\"snp\",\"measurement\":[\"" A48 A48 "\",\"" B48 B48 "\"]")), 0 },
        { DOC(R("a/*/c", TIERED) "," R("a/b/*", TIERED)),
          DOC(R("a/b/*", TIERED) "," R("a/*/c", TIERED) "," R("a/b/c", TIERED)), 0 },
        { DOC(R("a/*/c", TIERED)), DOC(R("a/*/c", TIERED) "," R("a/b/*", TIERED)), 1 },
        /* prefixes that overlap with suffixes */
        { DOC(R("a/b/aa*aa", TIERED)), DOC(R("a/b/aa*", TIERED)), 1 },
        { DOC(R("a/b/a*", TIERED)), DOC(R("a/b/a*a", TIERED) "," R("a/b/a", TIERED)), 2 },
        { DOC(R("a/b/*a", TIERED)), DOC(R("a/b/a*a", TIERED)), 2 },
        /* what stands for a claim of the verifier's: 3 is one of the affirming ones */
        { DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"affirming\",\"executables\":\"affirming\"")),
          DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"affirming\",\"reference_values\":[\"rtmr_1\"]")), 0 },
        { DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"affirming\",\"reference_values\":[\"rtmr_1\"]")),
          DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"affirming\",\"reference_values\":[\"tdvfkernel\"]")),
          2 },
        /* firmware: both parts count */
        { DOC(R("a/b/c", "\"tee\":\"snp\",\"tier\":\"affirming\",\"min_tcb\":{\"snp\":5}")),
          DOC(R("a/b/c", "\"tee\":\"snp\",\"tier\":\"affirming\",\"min_tcb\":{\"snp\":4,\"tee\":1}")), 3 },
        { DOC(R("a/b/c", "\"tee\":\"snp\",\"tier\":\"affirming\",\"min_tcb\":{\"snp\":0}")),
          DOC(R("a/b/c", "\"tee\":\"snp\",\"tier\":\"affirming\"")), 1 },
        { DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"warning\",\"tcb_status\":[\"UpToDate\"]")),
          DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"warning\",\"tcb_status\":[\"UpToDate\",\"OutOfDate\"]")),
          1 },
        /* a digest that SNP cuts to what the other one is */
        { DOC(R("a/b/c", "\"tee\":\"snp\",\"tier\":\"warning\",\"init_data\":\"sha256:" A48
                         "aaaaaaaaaaaaaaaa\"")),
          DOC(R("a/b/c", "\"tee\":\"snp\",\"tier\":\"warning\",\"init_data\":\"sha384:" A48 A48 "\"")),
          0 },
        { DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"warning\",\"init_data\":\"sha256:" A48
                         "aaaaaaaaaaaaaaaa\"")),
          DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"warning\",\"init_data\":\"sha384:" A48 A48 "\"")),
          3 },
        /* claims in init-data: more of them is narrower, another value is both */
        { DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"warning\",\"init_data_claims\":{\"x\":{\"y\":1}}")),
          DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"warning\",\"init_data_claims\":{\"x\":{\"y\":1},\"z\":true}")),
          2 },
        { DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"warning\",\"init_data_claims\":{\"x\":{\"y\":1}}")),
          DOC(R("a/b/c", "\"tee\":\"tdx\",\"tier\":\"warning\",\"init_data_claims\":{\"x\":\"y\"}")), 3 },
        /* images: a longer list lets more in, each of two shorter ones less than both */
        { DOC(R("a/b/c", TIERED ",\"container_images\":[\"sha256:" A48 "aaaaaaaaaaaaaaaa\",\"sha256:" B48
                         "aaaaaaaaaaaaaaaa\"]")),
          DOC(R("a/b/c", TIERED ",\"container_images\":[\"sha256:" A48 "aaaaaaaaaaaaaaaa\"]") ","
              R("a/b/c", TIERED ",\"container_images\":[\"sha256:" B48 "aaaaaaaaaaaaaaaa\"]")),
          2 },
        { DOC(R("a/b/c", "\"tee\":\"snp\",\"tier\":\"affirming\"")),
          DOC(R("a/b/c", "\"tee\":\"snp\",\"tier\":\"affirming\",\"migration\":\"allowed\"")), 1 },
        { DOC(R("a/b/c", "\"tee\":\"snp\",\"tier\":\"affirming\",\"migration\":\"allowed\"")),
          DOC(R("a/b/c", TIERED)), 3 },
        /* every kind with a name is not yet every kind */
        { DOC(R("a/b/c", TIERED)),
          DOC(R("a/b/c", "\"tee\":\"snp\"," TIERED) "," R("a/b/c", "\"tee\":\"tdx\"," TIERED)), 2 },
        { DOC(R("a/b/c", "\"tee\":\"sample\"")), DOC(R("a/b/c", "\"tee\":\"snp\",\"allow_any_guest\":true")),
          3 },
        /* values that are not there yet let nobody in */
        { DOC(""), DOC(R("a/b/c", "\"tee\":\"snp\",\"measured\":true")), 0 },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_json json_t *before = rules_of(cases[i].before);
        prop_auto_json json_t *after = rules_of(cases[i].after);
        prop_auto_json json_t *examples = NULL;
        unsigned change = compare(before, after, &examples);
        if (change != cases[i].change)
            fail_msg("case %zu: said %u, is %u\n%s\n%s", i, change, cases[i].change, cases[i].before,
                     cases[i].after);
        if (strstr(cases[i].after, "measured") == NULL)
            check_examples(before, after, examples);
        change = compare(after, before, NULL);
        assert_int_equal(change, (cases[i].change >> 1 | cases[i].change << 1) & 3);
    }
}

/* A pattern for each character there is, together, is any name; take one away and it is not. */
static void test_whole_alphabet(void **state)
{
    (void)state;
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    for (int form = 0; form < 2; form++) {
        prop_auto_json json_t *wide = rules_of(form == 0 ? DOC(R("a/b/*", TIERED))
                                                         : DOC(R("a/b/x*", TIERED)));
        prop_auto_json json_t *many = json_array();
        for (const char *c = first; *c != 0; c++) {
            char part[8];
            (void)snprintf(part, sizeof part, form == 0 ? "%c*" : "x%c*", *c);
            json_array_append_new(many, json_pack("{s:o, s:s}", "resource",
                                                  json_sprintf("a/b/%s", part), "tier", "affirming"));
        }
        if (form == 0) {
            assert_int_equal(compare(many, wide, NULL), 0);
        } else {
            /* A name may go on with "." and may end. */
            prop_auto_json json_t *examples = NULL;
            assert_int_equal(compare(many, wide, &examples), PROP_POLICY_WIDER);
            json_array_append_new(many, json_pack("{s:s, s:s}", "resource", "a/b/x.*", "tier",
                                                  "affirming"));
            json_decref(examples);
            examples = NULL;
            assert_int_equal(compare(many, wide, &examples), PROP_POLICY_WIDER);
            assert_string_equal(json_string_value(json_object_get(json_array_get(examples, 0),
                                                                  "resource")),
                                "a/b/x");
            json_array_append_new(many, json_pack("{s:s, s:s}", "resource", "a/b/x", "tier",
                                                  "affirming"));
            assert_int_equal(compare(many, wide, NULL), 0);
        }
        assert_int_equal(json_array_remove(many, 17), 0);
        prop_auto_json json_t *examples = NULL;
        assert_int_equal(compare(many, wide, &examples), PROP_POLICY_WIDER);
        assert_int_equal(json_array_size(examples), 1);
    }
}

/* As above, but with an end that overlaps with the beginning: "ab" begins with "a" and ends with
 * "ab", and is too short for "a*ab". */
static void test_overlap(void **state)
{
    (void)state;
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    prop_auto_json json_t *wide = rules_of(DOC(R("*ab/b/c", TIERED)));
    prop_auto_json json_t *many = json_array();
    prop_auto_json json_t *examples = NULL;
    for (const char *c = first; *c != 0; c++)
        json_array_append_new(many, json_pack("{s:o, s:s}", "resource", json_sprintf("%c*ab/b/c", *c),
                                              "tier", "affirming"));
    assert_int_equal(compare(many, wide, &examples), PROP_POLICY_WIDER);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(examples, 0), "resource")), "ab/b/c");
    json_array_append_new(many, json_pack("{s:s, s:s}", "resource", "ab/b/c", "tier", "affirming"));
    assert_int_equal(compare(many, wide, NULL), PROP_POLICY_SAME);
}

/* Documents of ten thousand rules, one changed; and ones that cannot be compared end quickly. */
static void test_size(void **state)
{
    (void)state;
    prop_auto_json json_t *before = json_array();
    prop_auto_json json_t *patterns = json_array();
    for (int i = 0; i < 10000; i++) {
        json_array_append_new(before, json_pack("{s:o, s:s}", "resource",
                                                json_sprintf("team/key/app%d", i), "tier", "affirming"));
        json_array_append_new(patterns,
                              json_pack("{s:o, s:s}", "resource", json_sprintf("t*/k%d*/*a%d", i, i),
                                        "tier", "warning"));
    }
    prop_auto_json json_t *after = json_copy(before);
    assert_int_equal(json_array_set_new(after, 5000,
                                        json_pack("{s:s, s:s}", "resource", "team/key/app5000", "tier",
                                                  "warning")),
                     0);
    prop_auto_json json_t *examples = NULL;
    uint64_t start = prop_now_ms();
    assert_int_equal(compare(before, after, &examples), PROP_POLICY_WIDER);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(examples, 0), "rule")), 5001);
    print_message("10000 rules, one changed: %llu ms\n", (unsigned long long)(prop_now_ms() - start));
    /* Every rule changed, as when a team adds a condition to all its rules. */
    prop_auto_json json_t *all = json_array();
    for (int i = 0; i < 10000; i++)
        json_array_append_new(all, json_pack("{s:o, s:s, s:s}", "resource",
                                             json_sprintf("team/key/app%d", i), "tier", "affirming",
                                             "hardware", "affirming"));
    start = prop_now_ms();
    assert_int_equal(compare(before, all, NULL), PROP_POLICY_NARROWER);
    print_message("10000 rules, all changed: %llu ms\n", (unsigned long long)(prop_now_ms() - start));
    prop_auto_json json_t *others = json_array();
    for (int i = 0; i < 10000; i++)
        json_array_append_new(others,
                              json_pack("{s:o, s:s}", "resource", json_sprintf("*t/*k%d/b*%d", i, i),
                                        "tier", "affirming"));
    struct prop_err err = PROP_ERR_INIT;
    unsigned change = 77;
    start = prop_now_ms();
    int rc = prop_policy_compare(patterns, others, &change, NULL, &err);
    print_message("10000 patterns against 10000 patterns: %d in %llu ms\n", rc,
                  (unsigned long long)(prop_now_ms() - start));
    assert_int_equal(rc, PROP_E_LIMIT);
    assert_string_equal(prop_err_id(&err), "policy-too-large-to-compare");
    assert_int_equal(change, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_brute_force),
        cmocka_unit_test(test_rules_mean_that),
        cmocka_unit_test(test_whole_alphabet),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests_name("policy compare", tests, NULL, NULL);
}
