/* Runtime events: what a TD did after its launch, extended into RTMR3 and written into a log that goes
 * along with the evidence (AAEL, attestation.md 7.2). The file and its lock are shared with an
 * attestation agent, if one runs in this guest. */
#ifndef PROP_TEE_AAEL_H
#define PROP_TEE_AAEL_H

#include "tee/machine.h"
#include "util/buf.h"
#include "util/err.h"

/* Record one event: first the register, then the log; a crash in between is mended by the next call,
 * from a write-ahead file beside the log. Domain and operation are words, content is one line.
 * Where there is nothing to extend (no TD, or a kernel before Linux 6.16) nothing is done, that is
 * no failure, and *ret_why says why not (static; NULL when the event was recorded).
 * Fails: PROP_E_INPUT (id "event-text"), PROP_E_IO: the register or the log could not be written. */
int prop_tee_event(const char *domain, const char *operation, const char *content,
                   const char **ret_why, struct prop_err *err);
int prop_tee_event_on(const struct prop_tee_machine *m, const char *domain, const char *operation,
                      const char *content, const char **ret_why, struct prop_err *err);

/* The event of a module that is about to be compiled: domain "propcvm", operation "RunModule", content
 * {"artifact":A,"module":M}: digests as text ("sha256:..."), of the image's manifest (NULL = a module
 * without an image: left out) and of the module itself. */
int prop_tee_module_event(const char *artifact, const char *module, const char **ret_why,
                          struct prop_err *err);

/* Hold the log against writers while a quote is made, and read it after: locks the file and mends it.
 * *ret_fd is -1 when there is no log; close it to unlock. */
int prop_aael_lock(const struct prop_tee_machine *m, int *ret_fd, struct prop_err *err);
int prop_aael_read(int fd, struct prop_buf *out, struct prop_err *err);

#endif
