/* The admin API: closed to nobody, open to us? The way it refuses also tells the release. */
#include "cmd/propkey/doctor.h"

#include "kbs/probe.h"

#include <string.h>

/* kbs.md 1.1 and 8: what changed when, as far as it can be seen from outside. */
static void tell_family(struct propkey_doctor *d, const struct prop_err *refusal, bool answered,
                        enum prop_kbs_policy_answer answer)
{
    bool known = strcmp(d->family, "not known") != 0;
    if (!known && propkey_doctor_is(refusal, "admin-auth-access"))
        d->family = "v0.21 or later";
    else if (!known && answered)
        d->family = answer == PROP_KBS_POLICY_LIST ? "v0.19 or v0.20" : "v0.18 or earlier";
    else if (!known && propkey_doctor_is(refusal, "admin-auth"))
        d->family = "v0.20 or earlier";
    if (strcmp(d->family, "not known") == 0)
        propkey_doctor_say(d, PROPKEY_WARN, "version",
                           "it does not behave as a release of Trustee that is known here");
    else
        propkey_doctor_say(d, PROPKEY_OK, "version", "behaves as Trustee %s", d->family);
}

static void report_admin(struct propkey_doctor *d, int rc, const struct prop_err *err)
{
    const char *form = prop_kbs_admin_form(d->k);
    const char *role = prop_kbs_admin_role(d->k);
    if (strcmp(form, "none") == 0) {
        propkey_doctor_say(d, PROPKEY_WARN, "admin",
                           "not tried as an administrator: give --admin-key or --admin-token");
    } else if (rc == 0 && strcmp(form, "given") == 0) {
        propkey_doctor_say(d, PROPKEY_OK, "admin", "the given token is taken: role %s",
                           *role ? role : "not named");
    } else if (rc == 0) {
        propkey_doctor_say(d, PROPKEY_OK, "admin", "a token signed here is taken: form %s, role %s",
                           form, role);
    } else {
        propkey_doctor_say(d, PROPKEY_FAIL, "admin", "%s%s%s", err->message,
                           err->hint[0] ? "; " : "", err->hint);
    }
}

void propkey_doctor_admin(struct propkey_doctor *d)
{
    struct prop_err nobody = PROP_ERR_INIT, us = PROP_ERR_INIT;
    enum prop_kbs_policy_answer answer = PROP_KBS_POLICY_LIST;
    int open = prop_kbs_probe_policy(d->k, false, &answer, &nobody);
    int rc = strcmp(prop_kbs_admin_form(d->k), "none") == 0
                 ? open
                 : prop_kbs_probe_policy(d->k, true, &answer, &us);
    tell_family(d, &nobody, open == 0 || rc == 0, answer);
    if (open == 0)
        propkey_doctor_say(d, propkey_doctor_insecure(d), "admin-open",
                           "the admin API takes calls without a token: anybody who reaches it "
                           "replaces keys and policies");
    else if (nobody.code == PROP_E_AUTH)
        propkey_doctor_say(d, PROPKEY_OK, "admin-open", "calls without a token are refused");
    else
        propkey_doctor_say(d, PROPKEY_FAIL, "admin-open", "%s", nobody.message);
    if (prop_kbs_admin_warning(d->k))
        propkey_doctor_say(d, PROPKEY_WARN, "admin-token", "%s", prop_kbs_admin_warning(d->k));
    report_admin(d, rc, &us);
}
