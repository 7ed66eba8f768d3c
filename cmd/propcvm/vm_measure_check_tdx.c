/* A TD's evidence against the measurement: registers first; where one differs, the event log tells which
 * event it was, and the other profiles and sizes of memory are tried. */
#include "cmd/propcvm/vm_measure.h"

#include "tee/fields.h"
#include "tee/td_hob.h"
#include "tee/tdvf.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

enum { TEXT = 120, REGISTERS = 3 };

static int append(json_t *out, const char *list, json_t *v, struct prop_err *err)
{
    return json_array_append_new(json_object_get(out, list), v) == 0 ? 0 : prop_err_nomem(err);
}

static int this_is(json_t *out, const char *text, struct prop_err *err)
{
    return json_object_set_new(out, "this_is", json_string(text)) == 0 ? 0 : prop_err_nomem(err);
}

/* --- what a profile says ------------------------------------------------------------------------ */

struct expected {
    struct prop_rtmr rtmr[REGISTERS]; /* RTMR1 at 1, RTMR2 at 2 */
};

static int expect(struct vm_measure *m, const struct prop_rtmr_profile *p, uint64_t memory,
                  struct expected *ret, struct prop_err *err)
{
    struct prop_linux_boot boot = { memory, m->has_initrd, m->initrd.size, m->append };
    struct prop_digest kernel, initrd;
    bool has_initrd = m->has_initrd && m->initrd.size;
    memset(ret, 0, sizeof *ret);
    int rc = prop_rtmr_kernel(&m->kernel, &boot, p, &kernel, err);
    if (rc == 0)
        rc = prop_rtmr1(&kernel, p, &ret->rtmr[1], err);
    if (rc == 0 && has_initrd)
        rc = prop_source_digest(&m->initrd, PROP_SHA384, &initrd, err);
    if (rc < 0 || m->silent_stub || (!has_initrd && (!m->append || !*m->append)))
        return rc;
    return prop_rtmr2(m->append, has_initrd ? &initrd : NULL, p, &ret->rtmr[2], err);
}

/* --- the first event that differs ----------------------------------------------------------------- */

/* Event `n` of a register in the log, or NULL. */
static const struct prop_event *log_event(const struct prop_tee_fields *f, unsigned reg, size_t n)
{
    for (size_t i = 0; i < f->n_events; i++)
        if (f->events[i].reg == reg + 1 && f->events[i].has_sha384 &&
            f->events[i].type != PROP_EVENT_NO_ACTION && n-- == 0)
            return &f->events[i];
    return NULL;
}

/* How many events at the beginning are the same. */
static size_t common(const struct prop_tee_fields *f, unsigned reg, const struct prop_rtmr *r)
{
    size_t n = 0;
    for (const struct prop_event *e; n < r->n && (e = log_event(f, reg, n)); n++)
        if (memcmp(e->sha384, r->event[n].digest, PROP_RTMR) != 0)
            break;
    return n;
}

static void hex_or_null(json_t *o, const char *name, const uint8_t *digest)
{
    char hex[2 * PROP_RTMR + 1];
    if (digest)
        prop_hex_encode(digest, PROP_RTMR, hex);
    (void)json_object_set_new(o, name, digest ? json_string(hex) : json_null());
}

/* What the log says of an event: its text, when it is one, narrow or wide. */
static void event_text(const struct prop_event *e, char out[TEXT])
{
    char raw[TEXT / 4];
    size_t n = 0, step = e->len > 1 && e->data[1] == 0 ? 2 : 1;
    for (size_t i = 0; i < e->len && n + 1 < sizeof raw && e->data[i]; i += step) {
        if (e->data[i] < 0x20 || e->data[i] > 0x7e)
            break;
        raw[n++] = (char)e->data[i];
    }
    (void)prop_printable(raw, n > 3 ? n : 0, out, TEXT);
}

static int note_event(const struct prop_tee_fields *f, unsigned reg, const struct prop_rtmr *r, size_t n,
                      const char *profile, json_t *out, struct prop_err *err)
{
    const struct prop_event *got = log_event(f, reg, n);
    char name[8], type[16] = "", text[TEXT] = "";
    (void)snprintf(name, sizeof name, "rtmr_%u", reg);
    if (got) {
        (void)snprintf(type, sizeof type, "0x%x", got->type);
        event_text(got, text);
    }
    json_t *e = json_pack("{s:s,s:I,s:s,s:s,s:s*,s:s*}", "register", name, "event", (json_int_t)n + 1,
                          "what", n < r->n ? r->event[n].what : "one that is not expected", "profile",
                          profile, "type", *type ? type : NULL, "text", *text ? text : NULL);
    if (!e)
        return prop_err_nomem(err);
    hex_or_null(e, "expected", n < r->n ? r->event[n].digest : NULL);
    hex_or_null(e, "got", got ? got->sha384 : NULL);
    return json_object_set_new(out, "first_event", e) == 0 ? 0 : prop_err_nomem(err);
}

/* Of the profiles that were asked for, the one that fits the log best tells. */
static int first_event(struct vm_measure *m, const struct prop_tee_fields *f, unsigned reg, json_t *out,
                       struct prop_err *err)
{
    size_t best = 0, best_n = 0;
    struct expected x, best_x = { .rtmr = { { .n = 0 } } };
    for (size_t i = 0; i < m->n_profiles; i++) {
        int rc = expect(m, &m->profiles[i], m->o->memory, &x, err);
        if (rc < 0)
            return rc;
        size_t n = common(f, reg, &x.rtmr[reg]);
        if (i == 0 || n > best_n) {
            best = i;
            best_n = n;
            best_x = x;
        }
    }
    if (!log_event(f, reg, best_n) && best_n == best_x.rtmr[reg].n)
        return 0; /* the log says what was expected: it is the log that is wrong */
    return note_event(f, reg, &best_x.rtmr[reg], best_n, m->profiles[best].name, out, err);
}

/* --- neighbours --------------------------------------------------------------------------------- */

/* Sizes of memory people give to guests, as QEMU's -m has them. */
static const char *const sizes[] = { "2G", "512M", "1G", "1536M", "256M", "768M", "2560M", "4G", "8G",
                                     "16G", "32G", "64G", "96G", "128G", "192G", "256G", "512G", "1024G" };

/* The size whose memory map is in the log, or 0. */
static uint64_t memory_of_log(const struct vm_measure *m, const struct prop_tee_fields *f,
                              const char **ret_text)
{
    const struct prop_event *hob = log_event(f, 0, 0);
    struct prop_tdvf t;
    if (!hob || prop_tdvf_parse(&m->fw, &t, NULL) < 0)
        return 0;
    for (size_t i = 0; i < PROP_ARRAY_LEN(sizes); i++) {
        prop_auto_buf struct prop_buf b = PROP_BUF_INIT(PROP_TD_HOB_MAX);
        struct prop_digest d;
        uint64_t memory = 0;
        if (prop_parse_size(sizes[i], "", &memory, NULL) == 0 &&
            prop_td_hob(&t, memory, &b, NULL) == 0 &&
            prop_digest_of(PROP_SHA384, b.data, b.len, &d, NULL) == 0 &&
            memcmp(d.bytes, hob->sha384, PROP_RTMR) == 0) {
            *ret_text = sizes[i];
            return memory;
        }
    }
    return 0;
}

static int try_profile(struct vm_measure *m, const struct prop_tee_fields *f,
                       const struct prop_rtmr_profile *p, uint64_t memory, const char *memory_text,
                       bool *ret_found, json_t *out, struct prop_err *err)
{
    struct expected x;
    char text[160];
    if (p->patched && m->initrd.size >= memory)
        return 0;
    int rc = expect(m, p, memory, &x, err);
    if (rc == PROP_E_USAGE || rc == PROP_E_UNSUPPORTED) { /* no kernel that QEMU patches */
        prop_err_clear(err);
        return 0;
    }
    if (rc < 0 || memcmp(x.rtmr[1].value, f->tdx.rtmr[1], PROP_RTMR) != 0 ||
        memcmp(x.rtmr[2].value, f->tdx.rtmr[2], PROP_RTMR) != 0)
        return rc;
    *ret_found = true;
    (void)snprintf(text, sizeof text, "--profile %s%s%s", p->name, p->patched ? " --memory " : "",
                   p->patched ? memory_text : "");
    return this_is(out, text, err);
}

/* Every profile; those that are patched with what memory there may be. Memory from 2816 MiB on looks
 * like 2 GiB, so few sizes are told apart. */
static int near_tdx(struct vm_measure *m, const struct prop_tee_fields *f, json_t *out,
                    struct prop_err *err)
{
    enum { TOLD_APART = 7 };
    const char *name, *text = NULL;
    uint64_t logged = memory_of_log(m, f, &text);
    bool found = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && !found && (name = prop_rtmr_profile_name(i)); i++) {
        struct prop_rtmr_profile p;
        rc = prop_rtmr_profile_parse(name, &p, err);
        if (rc == 0 && (!p.patched || logged))
            rc = try_profile(m, f, &p, logged, text, &found, out, err);
        for (size_t k = 0; rc == 0 && !found && p.patched && !logged && k < TOLD_APART; k++) {
            uint64_t memory = 0;
            rc = prop_parse_size(sizes[k], "", &memory, err);
            if (rc == 0)
                rc = try_profile(m, f, &p, memory, sizes[k], &found, out, err);
        }
    }
    return rc;
}

static int near_mrtd(struct vm_measure *m, const struct prop_tee_fields *f, json_t *out,
                     struct prop_err *err)
{
    static const char *const says[] = { "--mrtd-order pages", "--mrtd-order two-pass" };
    struct prop_tdvf t;
    uint8_t mrtd[PROP_MRTD];
    int rc = prop_tdvf_parse(&m->fw, &t, err);
    for (int i = PROP_MRTD_PAGES; rc == 0 && i <= PROP_MRTD_TWO_PASS; i++) {
        rc = prop_mrtd(&m->fw, &t, (enum prop_mrtd_order)i, mrtd, err);
        if (rc == 0 && memcmp(mrtd, f->tdx.mr_td, sizeof mrtd) == 0)
            return this_is(out, says[i], err);
    }
    return rc;
}

/* --- log ---------------------------------------------------------------------------------------- */

/* The log of --ccel, when the evidence came without one. */
static int take_ccel(struct vm_measure *m, struct prop_tee_fields *f, struct prop_err *err)
{
    size_t used = 0;
    if (!m->o->ccel)
        return 0;
    prop_free(f->events);
    f->events = NULL;
    f->n_events = 0;
    prop_buf_clear(&f->log);
    int rc = prop_file_read(m->o->ccel, &f->log, err);
    if (rc == 0)
        rc = prop_eventlog_parse(f->log.data, f->log.len, &f->events, &f->n_events, &used, err);
    return rc < 0 ? prop_err_wrap(err, "'%s'", m->o->ccel) : 0;
}

/* A log proves something only where it replays to the registers. */
static int check_replay(const struct prop_tee_fields *f, json_t *out, bool *ret_good,
                        struct prop_err *err)
{
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    size_t used = 0;
    char text[80];
    *ret_good = false;
    if (f->log.len == 0)
        return json_object_set_new(out, "event_log", json_string("none")) == 0 ? 0
                                                                                : prop_err_nomem(err);
    int rc = prop_eventlog_replay(f->log.data, f->log.len, &used, rtmr, err);
    for (unsigned i = 0; rc == 0 && i < PROP_RTMRS; i++)
        if (memcmp(rtmr[i], f->tdx.rtmr[i], PROP_RTMR_LEN) != 0) {
            (void)snprintf(text, sizeof text, "does not replay to rtmr_%u", i);
            return json_object_set_new(out, "event_log", json_string(text)) == 0 ? 0
                                                                                  : prop_err_nomem(err);
        }
    *ret_good = rc == 0;
    return rc == 0 && json_object_set_new(out, "event_log", json_string("replays")) != 0
               ? prop_err_nomem(err)
               : rc;
}

static int explain(struct vm_measure *m, const struct prop_tee_fields *f, bool same_mrtd,
                   const bool same[REGISTERS], json_t *out, struct prop_err *err)
{
    bool replays = false;
    int rc = check_replay(f, out, &replays, err);
    if (rc == 0 && f->log.len && !replays)
        rc = append(out, "notes", json_string("the event log does not replay to the registers of the "
                                              "quote: a key broker refuses it"), err);
    if (rc == 0 && !same_mrtd)
        rc = near_mrtd(m, f, out, err);
    if (rc < 0 || !m->has_kernel || (same[1] && same[2]))
        return rc;
    if (same_mrtd)
        rc = near_tdx(m, f, out, err);
    for (unsigned i = 1; rc == 0 && f->n_events && i < REGISTERS; i++)
        if (!same[i])
            return first_event(m, f, i, out, err);
    return rc;
}

int vm_measure_check_tdx(struct vm_measure *m, struct prop_tee_fields *f, json_t *out,
                         struct prop_err *err)
{
    static const char *const registers[REGISTERS] = { "rtmr_0", "rtmr_1", "rtmr_2" };
    bool same[REGISTERS] = { true, true, true }, mrtd = true, init = true;
    int rc = take_ccel(m, f, err);
    if (rc == 0)
        rc = vm_measure_compare(m, "mr_td", f->tdx.mr_td, sizeof f->tdx.mr_td, out, &mrtd, err);
    for (size_t i = 0; rc == 0 && i < REGISTERS; i++)
        rc = vm_measure_compare(m, registers[i], f->tdx.rtmr[i], PROP_RTMR, out, &same[i], err);
    if (rc == 0)
        rc = vm_measure_compare(m, "mr_config_id", f->tdx.mr_config_id, sizeof f->tdx.mr_config_id, out,
                                &init, err);
    return rc == 0 ? explain(m, f, mrtd, same, out, err) : rc;
}
