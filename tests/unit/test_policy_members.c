/* The members of a rule: normal form, what is refused and in which words, and what the built Rego
 * does with the claims a verifier makes, also where it makes none. */
#include "policy/document.h"
#include "policy/token.h"
#include "util/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define A48 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A96 A48 A48
#define B96 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define A64 A48 "aaaaaaaaaaaaaaaa"
#define C64 "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static json_t *load(const char *text)
{
    json_error_t e;
    json_t *v = json_loads(text, 0, &e);
    if (v == NULL)
        fail_msg("%s\n%s", e.text, text);
    return v;
}

static void test_normal_form(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *want;
    } cases[] = {
        { "{\"configuration\":\"affirming\",\"hardware\":\"affirming\",\"executables\":\"affirming\"}",
          "\"executables\":\"affirming\",\"hardware\":\"affirming\",\"configuration\":\"affirming\"" },
        { "{\"tee\":\"tdx\",\"rtmr_3\":\"" A96 "\",\"rtmr_0\":[\"sha384:" A96 "\",\"" B96
          "\"],\"measurement\":\"" A96 "\"}",
          "\"tee\":\"tdx\",\"measurement\":[\"" A96 "\"],\"rtmr_0\":[\"" A96 "\",\"" B96
          "\"],\"rtmr_3\":[\"" A96 "\"]" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":{\"microcode\":25,\"bootloader\":0}}",
          "\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":{\"bootloader\":0,\"microcode\":25}" },
        { "{\"tee\":\"tdx\",\"tier\":\"warning\",\"tcb_status\":\"UpToDate\"}",
          "\"tee\":\"tdx\",\"tier\":\"warning\",\"tcb_status\":[\"UpToDate\"]" },
        { "{\"tee\":\"snp\",\"reference_values\":[\"snp_launch_measurement\",\"snp_launch_measurement\"]}",
          "\"tee\":\"snp\",\"reference_values\":[\"snp_launch_measurement\"]" },
        { "{\"tee\":\"sample\",\"init_data\":[\"sha256:" A64 "\",\"sha384:" A96 "\",\"sha256:" A64 "\"]}",
          "\"tee\":\"sample\",\"init_data\":[\"sha256:" A64 "\",\"sha384:" A96 "\"]" },
        { "{\"tee\":\"tdx\",\"tier\":\"warning\",\"init_data_claims\":{\"z\":1,\"aa.toml\":{\"u\":true,\"a\":\"x\"}}}",
          "\"tee\":\"tdx\",\"tier\":\"warning\",\"init_data_claims\":{\"aa.toml\":{\"a\":\"x\",\"u\":true},\"z\":1}" },
        { "{\"tier\":\"affirming\",\"container_images\":\"sha256:" C64 "\"}",
          "\"tier\":\"affirming\",\"container_images\":[\"sha256:" C64 "\"]" },
        { "{\"tier\":\"affirming\",\"debug\":\"never\"}", "\"tier\":\"affirming\"" },
        { "{\"tee\":\"snp\",\"tier\":\"affirming\",\"migration\":\"never\"}",
          "\"tee\":\"snp\",\"tier\":\"affirming\"" },
        { "{\"migration\":\"allowed\",\"tee\":\"snp\",\"tier\":\"affirming\"}",
          "\"tee\":\"snp\",\"tier\":\"affirming\",\"migration\":\"allowed\"" },
        { "{\"tee\":\"snp\",\"measured\":\"prod\"}", "\"tee\":\"snp\",\"measured\":\"prod\"" },
        { "{\"tee\":\"snp\",\"measured\":false,\"tier\":\"warning\"}", "\"tee\":\"snp\",\"tier\":\"warning\"" },
        { "{\"tee\":\"snp\",\"min_tcb\":{\"snp\":1},\"allow_any_guest\":true}",
          "\"tee\":\"snp\",\"min_tcb\":{\"snp\":1},\"allow_any_guest\":true" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"allow_any_guest\":false}",
          "\"tee\":\"snp\",\"tier\":\"warning\"" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_json json_t *rule = load(cases[i].rule);
        prop_auto_json json_t *normal = NULL;
        prop_auto_json json_t *again = NULL;
        struct prop_err err = PROP_ERR_INIT;
        char want[2000];
        json_object_set_new(rule, "resource", json_string("a/b/c"));
        if (prop_policy_rule_normal(rule, "r", NULL, &normal, &err) != 0)
            fail_msg("case %zu: %s", i, err.message);
        prop_auto_free char *text = prop_json_compact(normal);
        (void)snprintf(want, sizeof want, "{\"resource\":\"a/b/c\",%s}", cases[i].want);
        assert_string_equal(text, want);
        /* The normal form is a rule, and its own normal form. */
        assert_int_equal(prop_policy_rule_normal(normal, "r", NULL, &again, &err), 0);
        assert_true(json_equal(again, normal));
        assert_true(prop_policy_rule_covers(normal, again));
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *say, *member;
    } cases[] = {
        { "{\"tier\":\"affirming\",\"executables\":\"warning\"}", "'executables' is not 'affirming'",
          "executables" },
        { "{\"tier\":\"affirming\",\"executables\":2}", "'executables' is not 'affirming'", "executables" },
        { "{\"tee\":\"snp\",\"tier\":\"affirming\",\"rtmr_1\":\"" A96 "\"}", "tee = \"tdx\" only",
          "rtmr_1" },
        { "{\"tee\":\"tdx\",\"rtmr_1\":\"" A96 "\"}", "any firmware can write those registers", "" },
        { "{\"tee\":\"tdx\",\"executables\":\"affirming\"}", "every guest could have the key", "" },
        { "{\"executables\":\"affirming\"}", "every guest could have the key", "" },
        { "{\"tee\":\"tdx\",\"reference_values\":\"rtmr_1\"}", "every guest could have the key", "" },
        { "{\"tee\":\"snp\",\"reference_values\":[\"snp_microcode\"]}", "every guest could have the key",
          "" },
        { "{\"tee\":\"snp\",\"min_tcb\":{\"snp\":1}}", "every guest could have the key", "" },
        { "{\"tee\":\"snp\",\"init_data\":\"sha256:" A64 "\"}", "every guest could have the key", "" },
        { "{\"container_images\":\"sha256:" A64 "\"}", "every guest could have the key", "" },
        { "{\"tee\":\"tdx\",\"tier\":\"warning\",\"rtmr_4\":\"" A96 "\"}", "unknown key 'rtmr_4'",
          "rtmr_4" },
        { "{\"tee\":\"tdx\",\"tier\":\"warning\",\"rtmr_1\":[\"" A96 "\",\"" A64 "\"]}",
          "'rtmr_1' is not sha384:HEX", "rtmr_1" },
        { "{\"tee\":\"tdx\",\"reference_values\":[\"snp_launch_measurement\"]}", "does not use for tdx",
          "reference_values" },
        { "{\"tee\":\"sgx\",\"tier\":\"warning\",\"reference_values\":[\"mr_td\"]}",
          "'reference_values' goes with", "reference_values" },
        { "{\"tier\":\"warning\",\"reference_values\":[\"mr_td\"]}", "'reference_values' goes with",
          "reference_values" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"reference_values\":[]}", "empty list",
          "reference_values" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":{}}", "is not a table", "min_tcb" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":7}", "is not a table", "min_tcb" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":{\"fmc\":1}}", "none of bootloader",
          "min_tcb" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":{\"snp\":-1}}", "0 to 255", "min_tcb" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":{\"snp\":256}}", "0 to 255", "min_tcb" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":{\"snp\":\"1\"}}", "0 to 255", "min_tcb" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":{\"snp\":1.5}}", "0 to 255", "min_tcb" },
        { "{\"tee\":\"tdx\",\"tier\":\"warning\",\"min_tcb\":{\"snp\":1}}", "tee = \"snp\" only", "min_tcb" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"tcb_status\":\"UpToDate\"}", "tee = \"tdx\" only",
          "tcb_status" },
        { "{\"tee\":\"tdx\",\"tier\":\"warning\",\"tcb_status\":\"Revoked\"}", "no status", "tcb_status" },
        { "{\"tee\":\"tdx\",\"tier\":\"warning\",\"tcb_status\":\"uptodate\"}", "no status", "tcb_status" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"init_data\":\"" A64 "\"}", "neither sha256:HEX",
          "init_data" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"init_data\":\"sha384:" A64 "\"}", "neither sha256:HEX",
          "init_data" },
        { "{\"tier\":\"warning\",\"init_data\":\"sha256:" A64 "\"}", "'init_data' goes with", "init_data" },
        { "{\"tee\":\"sgx\",\"tier\":\"warning\",\"init_data\":\"sha256:" A64 "\"}",
          "'init_data' goes with", "init_data" },
        { "{\"tier\":\"warning\",\"init_data_claims\":{\"a\":1}}", "'init_data_claims' goes with",
          "init_data_claims" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"init_data_claims\":{}}", "is not a table",
          "init_data_claims" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"init_data_claims\":{\"a\":{\"b\":{}}}}", "empty table",
          "init_data_claims" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"init_data_claims\":{\"a\":[1]}}", "no text, whole number",
          "init_data_claims" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"init_data_claims\":{\"a\":1.5}}", "no text, whole number",
          "init_data_claims" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"init_data_claims\":{\"a\":null}}", "no text, whole number",
          "init_data_claims" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"init_data_claims\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":"
          "{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}}}",
          "nested too deeply", "init_data_claims" },
        { "{\"tier\":\"warning\",\"container_images\":\"" A64 "\"}", "is not sha256:HEX",
          "container_images" },
        { "{\"tier\":\"warning\",\"container_images\":\"img@sha256:" A64 "\"}", "is not sha256:HEX",
          "container_images" },
        { "{\"tier\":\"warning\",\"container_images\":[]}", "empty list", "container_images" },
        { "{\"tier\":\"warning\",\"debug\":\"allowed\"}", "'debug' is not 'never'", "debug" },
        { "{\"tier\":\"warning\",\"debug\":false}", "'debug' is not 'never'", "debug" },
        { "{\"tier\":\"warning\",\"migration\":\"never\"}", "tee = \"snp\" only", "migration" },
        { "{\"tee\":\"tdx\",\"tier\":\"warning\",\"migration\":\"allowed\"}", "tee = \"snp\" only",
          "migration" },
        { "{\"tee\":\"snp\",\"tier\":\"warning\",\"migration\":true}", "neither 'never' nor", "migration" },
        { "{\"tee\":\"snp\",\"measured\":1}", "neither true nor a name", "measured" },
        { "{\"tee\":\"snp\",\"measured\":\"\"}", "neither true nor a name", "measured" },
        { "{\"tier\":\"warning\",\"measured\":true}", "goes with", "measured" },
        { "{\"tee\":\"snp\",\"measured\":false}", "every guest could have the key", "" },
        { "{\"tee\":\"snp\",\"executables\":\"affirming\",\"allow_any_guest\":true}", "contradicts",
          "allow_any_guest" },
        { "{\"tee\":\"snp\",\"measured\":true,\"allow_any_guest\":true}", "contradicts",
          "allow_any_guest" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_json json_t *rule = load(cases[i].rule);
        prop_auto_json json_t *normal = NULL;
        struct prop_policy_spot spot;
        struct prop_err err = PROP_ERR_INIT;
        json_object_set_new(rule, "resource", json_string("a/b/c"));
        int rc = prop_policy_rule_normal(rule, "the rule", &spot, &normal, &err);
        if (rc != PROP_E_INPUT || strcmp(prop_err_id(&err), "bad-rule") != 0 ||
            strstr(err.message, cases[i].say) == NULL || strstr(err.message, "the rule: ") == NULL)
            fail_msg("case %zu: %d '%s'\n%s", i, rc, err.message, cases[i].rule);
        assert_string_equal(spot.member, cases[i].member);
        assert_null(normal);
    }
}

/* --- decisions --------------------------------------------------------------------------------- */

static void build_rule(const char *rule, struct prop_buf *out)
{
    prop_auto_json json_t *r = load(rule);
    json_object_set_new(r, "resource", json_string("a/b/c"));
    prop_auto_json json_t *root = json_pack("{s:i, s:[O]}", "version", 1, "rule", r);
    prop_auto_free char *text = prop_json_compact(root);
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    struct prop_err err = PROP_ERR_INIT;
    if (prop_policy_doc_parse(text, strlen(text), "'p'", &d, &err) != 0 ||
        prop_policy_build(d, out, &err) != 0)
        fail_msg("%s\n%s", err.message, rule);
}

/* `cpu` is what the verifier says of the CPU, in JSON. -1 for an error of the engine. */
static int decide(const char *rule, const char *cpu)
{
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_json json_t *c = load(cpu);
    prop_auto_json json_t *token = json_pack("{s:{s:O}}", "submods", "cpu0", c);
    struct prop_err err = PROP_ERR_INIT;
    bool allow = false;
    build_rule(rule, &rego);
    if (prop_policy_decide(prop_buf_str(&rego), rego.len, token, "a/b/c", &allow, &err) != 0) {
        print_message("%s\n%s\n", err.message, prop_buf_str(&rego));
        return -1;
    }
    return allow;
}

#define SNP(claims)                                                                                \
    "{\"ear.status\":\"warning\",\"ear.veraison.annotated-evidence\":{\"snp\":{"                         \
    "\"policy_debug_allowed\":false,\"policy_migrate_ma\":false" claims "}}}"
#define SNP_TOP(members)                                                                           \
    "{\"ear.status\":\"warning\",\"ear.veraison.annotated-evidence\":{\"snp\":{"                         \
    "\"policy_debug_allowed\":false,\"policy_migrate_ma\":false}" members "}}"
#define TDX(claims, members)                                                                       \
    "{\"ear.status\":\"warning\",\"ear.veraison.annotated-evidence\":{\"tdx\":{"                         \
    "\"td_attributes\":{\"debug\":false}" claims "}" members "}}"
#define SAMPLE(members)                                                                            \
    "{\"ear.status\":\"warning\",\"ear.veraison.annotated-evidence\":{\"sample\":{}" members "}}"
#define VECTOR(e, h, c)                                                                            \
    "{\"ear.status\":\"warning\",\"ear.trustworthiness-vector\":{\"executables\":" e ",\"hardware\":" h    \
    ",\"configuration\":" c "},\"ear.veraison.annotated-evidence\":{\"snp\":{"                         \
    "\"policy_debug_allowed\":false,\"policy_migrate_ma\":false}}}"
#define IMAGES(list)                                                                               \
    "{\"ear.status\":\"warning\",\"ear.trustee.identifiers\":{\"validated\":{\"container_images\":" list    \
    "}},\"ear.veraison.annotated-evidence\":{\"snp\":{\"policy_debug_allowed\":false,"               \
    "\"policy_migrate_ma\":false}}}"

#define R_TCB "{\"tee\":\"snp\",\"tier\":\"warning\",\"min_tcb\":{\"snp\":23,\"bootloader\":10}}"
#define R_RTMR "{\"tee\":\"tdx\",\"tier\":\"warning\",\"rtmr_1\":[\"" A96 "\",\"" B96 "\"]}"
#define R_STATUS "{\"tee\":\"tdx\",\"tier\":\"warning\",\"tcb_status\":[\"UpToDate\",\"SWHardeningNeeded\"]}"
#define R_INIT(tee, digest) "{\"tee\":\"" tee "\",\"tier\":\"warning\",\"init_data\":\"" digest "\"}"
#define R_CLAIMS                                                                                   \
    "{\"tee\":\"snp\",\"tier\":\"warning\",\"init_data_claims\":{\"aa.toml\":{\"token_configs\":{\"kbs\":"  \
    "{\"url\":\"https://k\"}}},\"n\":5,\"if\":true}}"
#define R_IMAGES "{\"tier\":\"warning\",\"container_images\":[\"sha256:" A64 "\",\"sha256:" C64 "\"]}"
#define R_MOVE "{\"tee\":\"snp\",\"tier\":\"warning\",\"migration\":\"allowed\"}"
#define R_EXEC "{\"tee\":\"snp\",\"executables\":\"affirming\"}"
#define R_REF "{\"tee\":\"snp\",\"reference_values\":[\"snp_launch_measurement\",\"snp_tsme_enabled\"]}"
#define URL ",\"init_data_claims\":{\"aa.toml\":{\"token_configs\":{\"kbs\":{\"url\":\"https://k\"}}},\"n\":5,\"if\":true}"

static void test_decisions(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *cpu;
        int allow;
    } cases[] = {
        { R_TCB, SNP(",\"reported_tcb_snp\":23,\"reported_tcb_bootloader\":10"), 1 },
        { R_TCB, SNP(",\"reported_tcb_snp\":99,\"reported_tcb_bootloader\":11"), 1 },
        { R_TCB, SNP(",\"reported_tcb_snp\":22,\"reported_tcb_bootloader\":10"), 0 },
        { R_TCB, SNP(",\"reported_tcb_snp\":23,\"reported_tcb_bootloader\":9"), 0 },
        { R_TCB, SNP(",\"reported_tcb_snp\":23"), 0 },
        { R_TCB, SNP(",\"reported_tcb_snp\":\"23\",\"reported_tcb_bootloader\":10"), 0 },
        { R_TCB, SNP(",\"reported_tcb_snp\":[23],\"reported_tcb_bootloader\":10"), 0 },
        { R_TCB, SNP(",\"reported_tcb_snp\":null,\"reported_tcb_bootloader\":10"), 0 },
        { R_RTMR, TDX(",\"quote\":{\"body\":{\"rtmr_1\":\"" B96 "\"}}", ""), 1 },
        { R_RTMR, TDX(",\"quote\":{\"body\":{\"rtmr_2\":\"" B96 "\"}}", ""), 0 },
        { R_RTMR, TDX(",\"quote\":{\"body\":{\"rtmr_1\":\"" C64 "\"}}", ""), 0 },
        { R_STATUS, TDX(",\"tcb_status\":\"SWHardeningNeeded\"", ""), 1 },
        { R_STATUS, TDX(",\"tcb_status\":\"OutOfDate\"", ""), 0 },
        { R_STATUS, TDX("", ""), 0 },
        /* init-data: as each verifier writes it, and absent */
        { R_INIT("snp", "sha256:" A64), SNP_TOP(",\"init_data\":\"" A64 "\""), 1 },
        { R_INIT("snp", "sha384:" A96), SNP_TOP(",\"init_data\":\"" A64 "\""), 1 },
        { R_INIT("snp", "sha384:" A96), SNP_TOP(",\"init_data\":\"" A96 "\""), 0 },
        { R_INIT("snp", "sha256:" A64), SNP_TOP(",\"init_data\":\"" C64 "\""), 0 },
        { R_INIT("snp", "sha256:" A64), SNP_TOP(""), 0 },
        { R_INIT("snp", "sha256:" A64), SNP_TOP(",\"init_data\":null"), 0 },
        { R_INIT("tdx", "sha384:" A96), TDX("", ",\"init_data\":\"" A96 "\""), 1 },
        { R_INIT("tdx", "sha256:" A64),
          TDX("", ",\"init_data\":\"" A64 "00000000000000000000000000000000\""), 1 },
        { R_INIT("tdx", "sha256:" A64), TDX("", ",\"init_data\":\"" A64 "\""), 0 },
        { R_INIT("sample", "sha256:" A64),
          SAMPLE(",\"init_data\":\"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=\""), 1 },
        { R_INIT("sample", "sha256:" C64),
          SAMPLE(",\"init_data\":\"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=\""), 0 },
        { R_INIT("sample", "sha256:" A64), SAMPLE(""), 0 },
        /* claims of init-data: all of them, as they are, and none when it was not sent */
        { R_CLAIMS, SNP_TOP(URL), 1 },
        { R_CLAIMS, SNP_TOP(",\"init_data_claims\":null"), 0 },
        { R_CLAIMS, SNP_TOP(""), 0 },
        { R_CLAIMS, SNP_TOP(",\"init_data_claims\":\"x\""), 0 },
        { R_CLAIMS, SNP_TOP(",\"init_data_claims\":{\"aa.toml\":\"x\",\"n\":5,\"if\":true}"), 0 },
        { R_CLAIMS, SNP_TOP(",\"init_data_claims\":{\"aa.toml\":{\"token_configs\":{\"kbs\":{\"url\":\"https://k\"}}},\"n\":\"5\",\"if\":true}"), 0 },
        /* container images */
        { R_IMAGES, IMAGES("[\"reg/a@sha256:" A64 "\"]"), 1 },
        { R_IMAGES, IMAGES("[\"reg/a:1@sha256:" A64 "\",\"sha256:" C64 "\"]"), 1 },
        { R_IMAGES, IMAGES("[\"reg/a@sha256:" A64 "\",\"reg/b:1\"]"), 0 },
        { R_IMAGES, IMAGES("[\"reg/asha256:" A64 "\"]"), 0 },
        { R_IMAGES, IMAGES("[]"), 0 },
        { R_IMAGES, IMAGES("null"), 0 },
        { R_IMAGES, IMAGES("\"reg/a@sha256:" A64 "\""), 0 },
        { R_IMAGES, IMAGES("[\"reg/a@sha256:" A64 "\",7]"), 0 },
        { R_IMAGES, IMAGES("{\"x\":\"reg/a@sha256:" A64 "\"}"), 0 },
        { R_IMAGES, SNP(""), 0 },
        /* migration: a guest that may be migrated, or does not say, counts where it is allowed only */
        { "{\"tee\":\"snp\",\"tier\":\"warning\"}", SNP(""), 1 },
        { "{\"tee\":\"snp\",\"tier\":\"warning\"}", SNP(",\"policy_migrate_ma\":true"), 0 },
        { "{\"tier\":\"warning\"}", SNP(",\"policy_migrate_ma\":true"), 0 },
        { "{\"tier\":\"warning\"}", SNP(",\"policy_migrate_ma\":1"), 0 },
        { "{\"tier\":\"warning\"}", SNP(",\"policy_migrate_ma\":\"0\""), 0 },
        { "{\"tier\":\"warning\"}", SNP(",\"policy_migrate_ma\":0"), 1 },
        { R_MOVE, SNP(",\"policy_migrate_ma\":true"), 1 },
        { R_MOVE, SNP(",\"policy_migrate_ma\":true,\"policy_debug_allowed\":true"), 0 },
        { "{\"tier\":\"warning\"}",
          "{\"ear.status\":\"warning\",\"ear.veraison.annotated-evidence\":{\"snp\":{"
          "\"policy_debug_allowed\":false}}}", 0 },
        { "{\"tier\":\"warning\"}",
          "{\"ear.status\":\"warning\",\"ear.veraison.annotated-evidence\":{\"snp\":{"
          "\"policy_migrate_ma\":false}}}", 0 },
        { "{\"tier\":\"warning\"}",
          "{\"ear.status\":\"warning\",\"ear.veraison.annotated-evidence\":{\"tdx\":{}}}", 0 },
        { "{\"tier\":\"warning\"}",
          "{\"ear.status\":\"warning\",\"ear.veraison.annotated-evidence\":{\"cca\":{}}}", 1 },
        /* the trust vector */
        { R_EXEC, VECTOR("3", "97", "36"), 1 },
        { R_EXEC, VECTOR("2", "97", "36"), 1 },
        { R_EXEC, VECTOR("31", "97", "36"), 1 },
        { R_EXEC, VECTOR("32", "2", "2"), 0 },
        { R_EXEC, VECTOR("1", "2", "2"), 0 },
        { R_EXEC, VECTOR("0", "2", "2"), 0 },
        { R_EXEC, VECTOR("-3", "2", "2"), 0 },
        { R_EXEC, VECTOR("\"3\"", "2", "2"), 0 },
        { R_EXEC, SNP(""), 0 },
        { R_REF, VECTOR("3", "97", "2"), 1 },
        { R_REF, VECTOR("3", "97", "3"), 0 },
        { R_REF, VECTOR("33", "97", "2"), 0 },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        int got = decide(cases[i].rule, cases[i].cpu);
        if (got != cases[i].allow)
            fail_msg("case %zu: %d\n%s\n%s", i, got, cases[i].rule, cases[i].cpu);
    }
}

/* The last word of the claims' names is what a reader of the policy sees: no helper is left over. */
static void test_only_what_is_used(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *has, *has_not;
    } cases[] = {
        { "{\"tee\":\"sample\"}", "\"sample\" in claims", "hardware" },
        { "{\"tee\":\"sample\"}", "\"sample\" in claims", "ear.status" },
        { R_TCB, "at_least(evidence.snp.reported_tcb_snp, 23)", "verdict" },
        { R_EXEC, "verdict(\"executables\", 2, 31)", "at_least" },
        { R_IMAGES, "images_among({", "at_least" },
        { R_RTMR, "evidence.tdx.quote.body.rtmr_1 in {", "images" },
        { R_CLAIMS, "evidence.init_data_claims[\"if\"] == true", "at_least" },
        { R_MOVE, "\tgenuine\n\t\"snp\" in claims", "parts" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        build_rule(cases[i].rule, &rego);
        assert_non_null(strstr(prop_buf_str(&rego), cases[i].has));
        assert_null(strstr(prop_buf_str(&rego), cases[i].has_not));
        assert_non_null(strstr(prop_buf_str(&rego), "import rego.v1\n"));
    }
}

/* A name or a value of init-data's claims stays one, whatever is in it. */
static void test_injection(void **state)
{
    (void)state;
    static const char *const texts[] = { "\"]\nallow := true\n#", "\\", "x\ny", "\xe2\x80\xa8", "}}", "a\tb",
                                         "`", "evidence", "import", "\"", "a.b", "" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(texts); i++) {
        prop_auto_json json_t *claims = json_pack("{s:s, s:{s:s}}", "v", texts[i], "k", texts[i], "w");
        prop_auto_json json_t *rule = json_pack("{s:s, s:s, s:O}", "tee", "snp", "tier", "warning",
                                                "init_data_claims", claims);
        prop_auto_json json_t *cpu = load(SNP(""));
        prop_auto_free char *rule_text = prop_json_compact(rule);
        prop_auto_free char *stranger = prop_json_compact(cpu);
        assert_int_equal(decide(rule_text, stranger), 0);
        json_t *evidence = json_object_get(cpu, "ear.veraison.annotated-evidence");
        json_object_set_new(evidence, "init_data_claims", json_pack("{s:s, s:s}", "v", texts[i], "k", "w"));
        prop_auto_free char *other = prop_json_compact(cpu);
        assert_int_equal(decide(rule_text, other), 0);
        json_object_set_new(evidence, "init_data_claims", json_null());
        prop_auto_free char *silent = prop_json_compact(cpu);
        assert_int_equal(decide(rule_text, silent), 0);
        json_object_set(evidence, "init_data_claims", claims);
        prop_auto_free char *guest = prop_json_compact(cpu);
        if (decide(rule_text, guest) != 1)
            fail_msg("%s", rule_text);
    }
}

static void test_allow(void **state)
{
    (void)state;
    static const struct {
        const char *allow, *want; /* the rule, or a part of the refusal */
        int code;
    } cases[] = {
        { "tee=snp,tier=affirming,min_tcb.snp=23,min_tcb.bootloader=10",
          "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"tier\":\"affirming\",\"min_tcb\":{\"bootloader\":10,\"snp\":23}}", 0 },
        { "tee=tdx,measurement=" A96 ",rtmr_1=" A96 ",rtmr_1=" B96 ",rtmr_2=" A96,
          "{\"resource\":\"a/b/c\",\"tee\":\"tdx\",\"measurement\":[\"" A96 "\"],\"rtmr_1\":[\"" A96 "\",\"" B96
          "\"],\"rtmr_2\":[\"" A96 "\"]}", 0 },
        { "tee=tdx,tier=affirming,tcb_status=UpToDate,tcb_status=OutOfDate",
          "{\"resource\":\"a/b/c\",\"tee\":\"tdx\",\"tier\":\"affirming\",\"tcb_status\":[\"UpToDate\",\"OutOfDate\"]}", 0 },
        { "tee=snp,reference_values=snp_launch_measurement",
          "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"reference_values\":[\"snp_launch_measurement\"]}", 0 },
        { "tee=snp,executables=affirming,init_data=sha256:" A64 ",debug=never,migration=allowed",
          "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"executables\":\"affirming\",\"init_data\":[\"sha256:" A64
          "\"],\"migration\":\"allowed\"}", 0 },
        { "tier=affirming,container_images=sha256:" A64,
          "{\"resource\":\"a/b/c\",\"tier\":\"affirming\",\"container_images\":[\"sha256:" A64 "\"]}", 0 },
        { "tee=snp,min_tcb.snp=23", "every guest", PROP_E_USAGE },
        { "tee=snp,tier=affirming,min_tcb.snp=23,min_tcb.snp=24", "given twice", PROP_E_USAGE },
        { "tee=snp,tier=affirming,min_tcb.snp=x", "0 to 255", PROP_E_USAGE },
        { "tee=snp,tier=affirming,min_tcb.snp=256", "0 to 255", PROP_E_USAGE },
        { "tee=snp,tier=affirming,min_tcb.fmc=1", "none of bootloader", PROP_E_USAGE },
        { "tee=snp,tier=affirming,min_tcb=1", "known keys", PROP_E_USAGE },
        { "tee=snp,tier=affirming,debug=yes", "'debug'", PROP_E_USAGE },
        { "tee=snp,measured=true", "known keys", PROP_E_USAGE },
        { "tee=snp,tier=affirming,executables=affirming,executables=affirming", "given twice",
          PROP_E_USAGE },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_json json_t *rule = NULL;
        struct prop_err err = PROP_ERR_INIT;
        bool insecure = false;
        int rc = prop_policy_rule_parse(cases[i].allow, "a/b/c", 0, &rule, &insecure, &err);
        if (rc != cases[i].code || (rc != 0 && strstr(err.message, cases[i].want) == NULL))
            fail_msg("case %zu: %d %s", i, rc, err.message);
        if (rc != 0) {
            assert_string_equal(prop_err_id(&err), "bad-allow");
            continue;
        }
        prop_auto_free char *text = prop_json_compact(rule);
        assert_string_equal(text, cases[i].want);
    }
}

/* The engine takes no line over 1024 characters and no policy over 20000 lines: what would make one
 * is refused when it is read, or when it is built. */
static void test_limits(void **state)
{
    (void)state;
    for (size_t len = 490; len < 510; len++) {
        char text[600];
        struct prop_err err = PROP_ERR_INIT;
        memset(text, 'n', len);
        text[len] = 0;
        for (int form = 0; form < 3; form++) {
            prop_auto_json json_t *rule = json_pack(
                "{s:s, s:s, s:s, s:o}", "resource", "a/b/c", "tee", "snp", "tier", "warning",
                "init_data_claims",
                form == 0   ? json_pack("{s:s}", "v", text)
                : form == 1 ? json_pack("{s:s}", text, "v")
                            : json_pack("{s:{s:{s:s}}}", text, text, text, text));
            prop_auto_json json_t *normal = NULL;
            int rc = prop_policy_rule_normal(rule, "r", NULL, &normal, &err);
            assert_int_equal(rc, len + 2 <= 500 ? 0 : PROP_E_INPUT);
            if (rc != 0) {
                assert_non_null(strstr(err.message, "too long"));
                continue;
            }
            prop_auto_json json_t *token = NULL;
            prop_auto_free char *rule_text = prop_json_compact(rule);
            prop_auto_free char *cpu = NULL;
            assert_int_equal(prop_policy_token_for_rule(normal, &token, NULL), 0);
            cpu = prop_json_compact(json_object_get(json_object_get(token, "submods"), "cpu0"));
            assert_int_equal(decide(rule_text, cpu), 1);
        }
    }
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    prop_auto_json json_t *rules = json_array();
    for (int i = 0; i < 3000; i++)
        json_array_append_new(rules, json_pack("{s:o, s:s}", "resource", json_sprintf("a/b/c%d", i),
                                               "tier", "affirming"));
    prop_auto_json json_t *root = json_pack("{s:i, s:O}", "version", 1, "rule", rules);
    prop_auto_free char *text = prop_json_compact(root);
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(prop_policy_doc_parse(text, strlen(text), "'p'", &d, &err), 0);
    assert_int_equal(prop_policy_build(d, &rego, &err), PROP_E_LIMIT);
    assert_string_equal(prop_err_id(&err), "policy-size");
    assert_non_null(strstr(err.message, "20000 lines"));
    assert_int_equal(rego.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal_form),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_only_what_is_used),
        cmocka_unit_test(test_injection),
        cmocka_unit_test(test_allow),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("policy members", tests, NULL, NULL);
}
