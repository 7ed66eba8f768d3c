/* vm measure --check: is this evidence of that launch? Where it is not, what differs first, and which
 * neighbour it is. The evidence is not verified against a signature: that is the key broker's work. */
#include "cmd/propcvm/vm_measure.h"

#include "tee/fields.h"
#include "util/encode.h"
#include "util/file.h"

#include <stdio.h>
#include <string.h>

enum { EVIDENCE_MAX = 4 << 20 };

/* The value that has these digits; NULL when there is none. `v` is a text or a list of named values. */
static const json_t *among(const json_t *v, const char *hex)
{
    const json_t *item;
    size_t i;
    if (json_is_string(v))
        return strcmp(json_string_value(v), hex) == 0 ? v : NULL;
    json_array_foreach((json_t *)(uintptr_t)v, i, item)
        if (strcmp(json_string_value(json_object_get(item, "value")), hex) == 0)
            return item;
    return NULL;
}

static int append(json_t *out, const char *list, json_t *v, struct prop_err *err)
{
    return json_array_append_new(json_object_get(out, list), v) == 0 ? 0 : prop_err_nomem(err);
}

int vm_measure_compare(const struct vm_measure *m, const char *member, const void *got, size_t len,
                       json_t *out, bool *ret_same, struct prop_err *err)
{
    char hex[2 * PROP_HASH_MAX + 1];
    json_t *want = json_object_get(m->doc, member);
    prop_hex_encode(got, len, hex);
    *ret_same = true;
    if (!want)
        return 0;
    const json_t *found = among(want, hex);
    const json_t *name = json_object_get(found, "name");
    if (!name)
        name = json_object_get(found, "profile");
    int rc = append(out, "compared", json_string(member), err);
    if (rc == 0 && name &&
        json_object_set(json_object_get(out, "values"), member, (json_t *)(uintptr_t)name) != 0)
        rc = prop_err_nomem(err);
    if (rc < 0 || found)
        return rc;
    *ret_same = false;
    return append(out, "differences",
                  json_pack("{s:s,s:O,s:s}", "what", member, "expected", want, "got", hex), err);
}

static int wrong_tee(const struct vm_measure *m, const struct prop_tee_fields *f, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "wrong-evidence",
                          "'%s' is evidence of '%s', and the measurement is of '%s'", m->o->check,
                          prop_tee_name(f->tee), vm_measure_mode_name(m->mode));
    return prop_err_hint(err, "--mode says what the guest was started as");
}

static int check_snp(struct vm_measure *m, const struct prop_tee_fields *f, json_t *out,
                     struct prop_err *err)
{
    bool same = true, init = true;
    int rc = vm_measure_compare(m, "launch_digest", f->snp.measurement, sizeof f->snp.measurement, out,
                                &same, err);
    if (rc == 0)
        rc = vm_measure_compare(m, "host_data", f->snp.host_data, sizeof f->snp.host_data, out, &init,
                                err);
    return rc == 0 && !same ? vm_measure_near_snp(m, f, out, err) : rc;
}

/* --- what is said of it ------------------------------------------------------------------------- */

static void print_event(FILE *out, const json_t *e)
{
    const char *got = json_string_value(json_object_get(e, "got"));
    const char *text = json_string_value(json_object_get(e, "text"));
    const char *expected = json_string_value(json_object_get(e, "expected"));
    (void)fprintf(out, "first event that differs: number %lld of %s (%s)\n",
                  (long long)json_integer_value(json_object_get(e, "event")),
                  json_string_value(json_object_get(e, "register")),
                  json_string_value(json_object_get(e, "what")));
    (void)fprintf(out, "  expected  %s\n", expected ? expected : "(none)");
    (void)fprintf(out, "  log       %s%s%s\n", got ? got : "(none)", text && *text ? "  " : "",
                  text ? text : "");
}

static void print_human(const json_t *doc, void *stream)
{
    FILE *out = stream;
    const char *this_is = json_string_value(json_object_get(doc, "this_is"));
    const json_t *d, *v;
    const char *name;
    size_t i;
    if (json_is_true(json_object_get(doc, "match"))) {
        (void)fputs("the evidence is of this launch\n", out);
        json_object_foreach(json_object_get(doc, "values"), name, v)
            (void)fprintf(out, "  %-14s %s\n", name, json_string_value(v));
    } else {
        (void)fputs("the evidence is of another launch\n", out);
    }
    json_array_foreach(json_object_get(doc, "differences"), i, d)
        (void)fprintf(out, "  %s differs: the evidence has %s\n",
                      json_string_value(json_object_get(d, "what")),
                      json_string_value(json_object_get(d, "got")));
    if (this_is)
        (void)fprintf(out, "this is %s\n", this_is);
    if (json_is_object(json_object_get(doc, "first_event")))
        print_event(out, json_object_get(doc, "first_event"));
    json_array_foreach(json_object_get(doc, "notes"), i, v)
        (void)fprintf(out, "note: %s\n", json_string_value(v));
}

static int finish(struct vm_measure *m, json_t *out, struct prop_err *err)
{
    bool match = json_array_size(json_object_get(out, "differences")) == 0;
    if (json_object_set_new(out, "match", json_boolean(match)) != 0)
        return prop_err_nomem(err);
    int rc = prop_cli_result(m->cli, out, print_human, err);
    if (rc == 0 && !match)
        prop_cli_set_status(m->cli, 1);
    return rc;
}

static int notes(struct vm_measure *m, const struct prop_tee_fields *f, json_t *out,
                 struct prop_err *err)
{
    static const uint8_t zeros[48];
    bool snp = f->tee == PROP_TEE_SNP;
    const uint8_t *bound = snp ? f->snp.host_data : f->tdx.mr_config_id;
    bool debug = snp ? f->snp.policy >> PROP_SNP_POLICY_DEBUG & 1 : f->tdx.td_attributes & 1;
    int rc = 0;
    if (!m->has_init && memcmp(bound, zeros, snp ? 32 : 48) != 0)
        rc = append(out, "notes", json_string("the evidence binds init-data, which was not compared: "
                                              "--init-data was not given"), err);
    if (rc == 0 && debug)
        rc = append(out, "notes", json_string("the guest may be debugged: the host can read its memory"),
                    err);
    return rc;
}

int vm_measure_check(struct vm_measure *m, struct prop_err *err)
{
    prop_auto_tee_fields struct prop_tee_fields f = PROP_TEE_FIELDS_INIT;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(EVIDENCE_MAX);
    char what[300];
    (void)snprintf(what, sizeof what, "'%.280s'", m->o->check);
    if (m->mode != VM_MEASURE_SNP && m->mode != VM_MEASURE_TDX)
        return prop_err_set_id(err, PROP_E_USAGE, "wrong-evidence",
                               "there is no evidence of '%s' guests", vm_measure_mode_name(m->mode));
    int rc = prop_file_read(m->o->check, &bytes, err);
    if (rc == 0)
        rc = prop_tee_fields_parse(prop_buf_str(&bytes), bytes.len, what, &f, err);
    if (rc == 0 && (f.tee == PROP_TEE_SNP) != (m->mode == VM_MEASURE_SNP))
        rc = wrong_tee(m, &f, err);
    prop_auto_json json_t *out =
        json_pack("{s:n,s:s,s:[],s:{},s:[],s:[]}", "match", "mode", vm_measure_mode_name(m->mode),
                  "compared", "values", "differences", "notes");
    if (rc == 0 && !out)
        rc = prop_err_nomem(err);
    if (rc == 0)
        rc = m->mode == VM_MEASURE_SNP ? check_snp(m, &f, out, err)
                                       : vm_measure_check_tdx(m, &f, out, err);
    if (rc == 0)
        rc = notes(m, &f, out, err);
    return rc == 0 ? finish(m, out, err) : rc;
}
