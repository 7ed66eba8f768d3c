/* A quote from the host's quote service over vsock, for TDs whose kernel has no configfs-tsm: the TD report
 * goes out, the quote comes back (attestation.md 2.4). */
#ifndef PROP_TEE_QGS_H
#define PROP_TEE_QGS_H

#include "tee/machine.h"
#include "tee/tdx_guest.h"
#include "util/buf.h"
#include "util/err.h"

#include <stdint.h>

#define PROP_QGS_PORT 4050u /* of the host, by custom */

/* Append the quote over `report` to `quote`.
 * Fails: PROP_E_UNSUPPORTED (id "no-qgs") nobody listens there; PROP_E_IO (id "qgs-refused") the service
 * answered with an error, or with nothing for 30 s; PROP_E_INPUT (id "qgs-answer") no such answer. */
int prop_qgs_quote(const struct prop_tee_machine *m, const uint8_t report[PROP_TDX_REPORT],
                   struct prop_buf *quote, struct prop_err *err);

#endif
