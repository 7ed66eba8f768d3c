/* The result document of a run. */
#ifndef PROP_CMD_PROPCVM_RESULT_H
#define PROP_CMD_PROPCVM_RESULT_H

#include "guest/run.h"

/* Of a run with report and timing: {"name","image"?,"results","stderr","exit_status","digest"?,"encrypted","kid"?,"timing"}:
 * `results` is what the guest wrote, as Propeller's manager gets it: not parsed, the newline kept,
 * bytes that are not UTF-8 replaced by U+FFFD. Owned by the caller. */
int propcvm_result_doc(const struct prop_guest_run *g, const struct prop_wasm_result *result,
                       json_t **ret, struct prop_err *err);

#endif
