/* Where the server is, over what, whether it answers, and what its clock says. */
#include "cmd/propkey/doctor.h"

#include "kbs/probe.h"
#include "util/text.h"

#include <stdlib.h>
#include <string.h>

enum { DAY_S = 86400, SOON_DAYS = 14, LEEWAY_S = 60, FINE_S = 5 };

static void check_url(struct propkey_doctor *d)
{
    const char *url = prop_kbs_url(d->k);
    if (prop_starts_with(url, "https://"))
        propkey_doctor_say(d, PROPKEY_OK, "url", "%s", url);
    else if (d->loopback)
        propkey_doctor_say(d, PROPKEY_OK, "url", "%s: plain HTTP, on this machine only", url);
    else
        propkey_doctor_say(d, PROPKEY_WARN, "url",
                           "%s: plain HTTP; whoever is on the way reads admin tokens and uploaded "
                           "keys, and may answer in the server's place", url);
}

static void check_tls(struct propkey_doctor *d)
{
    const struct prop_http_tls *t = prop_kbs_tls(d->k);
    if (!prop_starts_with(prop_kbs_url(d->k), "https://") || !t->version[0])
        return;
    int64_t left = t->not_after_time ? t->not_after_time - (int64_t)prop_wall_time() : 0;
    char until[21] = "a time not understood";
    if (t->not_after_time)
        prop_rfc3339((time_t)t->not_after_time, until);
    if (t->not_after_time && left < (int64_t)SOON_DAYS * DAY_S)
        propkey_doctor_say(d, PROPKEY_WARN, "tls", "%s; the certificate ends in %lld days, at %s",
                           t->version, (long long)(left / DAY_S), until);
    else
        propkey_doctor_say(d, PROPKEY_OK, "tls", "%s; certificate of '%s' by '%s', until %s",
                           t->version, t->subject, t->issuer, until);
}

static void check_clock(struct propkey_doctor *d)
{
    long ahead = 0;
    if (!prop_kbs_clock_ahead(d->k, &ahead)) {
        propkey_doctor_say(d, PROPKEY_WARN, "clock", "the server's answers have no date");
        return;
    }
    const char *side = ahead > 0 ? "ahead of" : "behind";
    if (labs(ahead) <= FINE_S)
        propkey_doctor_say(d, PROPKEY_OK, "clock", "agrees with this machine's");
    else if (labs(ahead) <= LEEWAY_S)
        propkey_doctor_say(d, PROPKEY_WARN, "clock",
                           "the server's is %ld s %s this machine's; tokens have %d s of leeway",
                           labs(ahead), side, (int)LEEWAY_S);
    else
        propkey_doctor_say(d, PROPKEY_FAIL, "clock",
                           "the server's is %ld s %s this machine's: tokens will be refused as too "
                           "old or too new", labs(ahead), side);
}

bool propkey_doctor_server(struct propkey_doctor *d)
{
    struct prop_err err = PROP_ERR_INIT;
    int status = 0;
    check_url(d);
    if (prop_kbs_probe_health(d->k, &status, &err) < 0) {
        bool tls = strcmp(prop_err_id(&err), "tls") == 0;
        propkey_doctor_say(d, PROPKEY_FAIL, tls ? "tls" : "health", "%s%s%s", err.message,
                           err.hint[0] ? "; " : "", err.hint);
        return false;
    }
    check_tls(d);
    if (status == 200) {
        d->family = "v0.21 or later";
        propkey_doctor_say(d, PROPKEY_OK, "health", "it answers, and says it is well");
    } else if (status < 500) {
        propkey_doctor_say(d, PROPKEY_OK, "health", "it answers (HTTP %d: /healthz is there since "
                                                    "v0.21)", status);
    } else {
        propkey_doctor_say(d, PROPKEY_FAIL, "health", "it answers with HTTP %d", status);
    }
    check_clock(d);
    return true;
}
