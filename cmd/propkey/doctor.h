/* propkey doctor: what is right and wrong about a key broker as seen from here. It changes nothing:
 * GETs, and the attestation handshake with sample evidence. */
#ifndef PROP_CMD_PROPKEY_DOCTOR_H
#define PROP_CMD_PROPKEY_DOCTOR_H

#include "cmd/cli/kbs_opts.h"

#include <stdbool.h>

enum propkey_health { PROPKEY_OK, PROPKEY_WARN, PROPKEY_FAIL };

struct propkey_doctor {
    struct prop_cli *cli;
    const struct prop_kbs_opts *o;
    struct prop_kbs *k;
    json_t *checks;          /* [{"name","status","text"}] */
    bool failed;
    bool loopback;           /* the server is on this machine: what is insecure is a warning then */
    const char *family;      /* "v0.21 or later"; static */
};

/* One line of the report. */
void propkey_doctor_say(struct propkey_doctor *d, enum propkey_health h, const char *name,
                        const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* What is dangerous for everybody and meant for laptops. */
enum propkey_health propkey_doctor_insecure(const struct propkey_doctor *d);

/* Is this failure the one of that id? */
bool propkey_doctor_is(const struct prop_err *err, const char *id);

/* URL, TLS, health, clock; false when the server cannot be reached and the rest is pointless. */
bool propkey_doctor_server(struct propkey_doctor *d);
/* Admin API with and without token, and which family of releases this is. */
void propkey_doctor_admin(struct propkey_doctor *d);
/* Sample evidence, the policy in place, tokens anybody can sign; this machine's hardware. */
void propkey_doctor_guests(struct propkey_doctor *d);

#endif
