/* What evidence is bound to. */
#include "tee/binding.h"

#include "util/mem.h"

#include <string.h>

int prop_tee_report_data(const char *nonce, const json_t *tee_pubkey,
                         const char *additional_evidence, struct prop_digest *ret,
                         struct prop_err *err)
{
    prop_auto_json json_t *runtime = json_object();
    if (!runtime)
        return prop_err_nomem(err);
    if (additional_evidence &&
        json_object_set_new(runtime, "additional-evidence", json_string(additional_evidence)) < 0)
        return prop_err_set(err, PROP_E_INPUT, "the additional evidence is not UTF-8 text");
    if (json_object_set_new(runtime, "nonce", json_string(nonce)) < 0)
        return prop_err_set(err, PROP_E_INPUT, "the nonce is not UTF-8 text");
    if (json_object_set_new(runtime, "tee-pubkey", json_deep_copy(tee_pubkey)) < 0)
        return prop_err_nomem(err);
    prop_auto_free char *text = prop_json_sorted(runtime);
    if (!text)
        return prop_err_nomem(err);
    return prop_digest_of(PROP_SHA384, text, strlen(text), ret, err);
}
