/* The requests of kbs-client's admin commands, and what this machine's ledger keeps of them. */
#ifndef PROP_CMD_PROPKEY_KBS_CLIENT_WIRE_H
#define PROP_CMD_PROPKEY_KBS_CLIENT_WIRE_H

#include "cmd/propkey/kbs_client.h"

#include "util/json.h"
#include "util/mem.h"

struct propkey_kc_wire;
/* Find out who we are and get ready; no connection is made yet. */
int propkey_kc_open(const struct propkey_kbs_client *c, struct propkey_kc_wire **ret,
                    struct prop_err *err);
void propkey_kc_close(struct propkey_kc_wire *w);
PROP_DEFINE_AUTO(struct propkey_kc_wire *, propkey_kc_close)
#define prop_auto_kc_wire __attribute__((cleanup(propkey_kc_close_p)))

/* One request to <url>/kbs/v0<path>, the path as it is. Anything but 200 is a failure, which is
 * printed with the server's words. `answer` (may be NULL) receives the body. */
int propkey_kc_send(struct propkey_kc_wire *w, const char *method, const char *path,
                    const char *content_type, const void *body, size_t len,
                    struct prop_buf *answer, struct prop_err *err);
/* POST one JSON object. */
int propkey_kc_send_json(struct propkey_kc_wire *w, const char *path, const json_t *body,
                         struct prop_err *err);
/* A file that is no secret (a policy): as propkey_kc_read_secret, without the look at its mode. */
int propkey_kc_read_text(const char *path, size_t max, struct prop_secret **ret);

/* After a success, for the ledger: propkey's other verbs must know what was changed. A ledger that
 * cannot be used is a warning. */
void propkey_kc_note_resource(struct propkey_kc_wire *w, const char *path,
                              const struct prop_secret *value);
void propkey_kc_note_deleted(struct propkey_kc_wire *w, const char *path);
void propkey_kc_note_policy(struct propkey_kc_wire *w, const char *rego, size_t len);

#endif
