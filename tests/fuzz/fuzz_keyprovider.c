/* Key provider messages: a request answered by a provider that echoes, and the same bytes taken for
 * a reply. The private keys a request may carry must not come out again. */
#include "tests/fuzz/fuzz.h"

#include "keyprovider/keyprovider.h"
#include "keyprovider/message.h"

#include <string.h>

const char *const fuzz_words[] = {
    "\"op\":\"keywrap\"", "\"op\":\"keyunwrap\"", "\"keywrapparams\":{", "\"keyunwrapparams\":{",
    "\"ec\":{\"Parameters\":{", "\"dc\":{\"Parameters\":{", "\"DecryptConfig\":", "\"optsdata\":",
    "\"annotation\":", "\"attestation-agent\":[", "\"privkeys\":[", "\"keywrapresults\":{",
    "\"keyunwrapresults\":{", "[123,34]", "[256]", "[-1]", "RW5hYmxlZA==", "null", "{}", "[]", NULL
};

static int wrap(void *ctx, const char *const *params, size_t n, const struct prop_secret *privopts,
                struct prop_buf *out, struct prop_err *err)
{
    (void)ctx;
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK(strlen(params[i]) < 1u << 20);
    return prop_buf_add(out, prop_secret_data(privopts), prop_secret_len(privopts), err);
}

static int unwrap(void *ctx, const char *const *params, size_t n, const void *annotation, size_t len,
                  struct prop_secret **ret, struct prop_err *err)
{
    (void)ctx;
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK(strlen(params[i]) < 1u << 20);
    return prop_secret_copy(annotation, len, ret, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct prop_kp_provider provider = { "attestation-agent", wrap, unwrap, NULL };
    static const enum prop_kp_op ops[] = { PROP_KP_ANY, PROP_KP_WRAP, PROP_KP_UNWRAP };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *message = NULL;
    FUZZ_CHECK(prop_secret_copy(data, len, &message, &err) == 0);
    for (size_t i = 0; i < PROP_ARRAY_LEN(ops); i++) {
        prop_auto_secret struct prop_secret *reply = NULL, *back = NULL;
        prop_err_clear(&err);
        if (!fuzz_ok(prop_kp_answer(&provider, ops[i], message, &reply, &err), &err))
            FUZZ_CHECK(!reply);
        else if (ops[i] != PROP_KP_ANY && prop_kp_reply_read(reply, ops[i], &back, &err) != 0)
            fuzz_fail(err.message, __FILE__, __LINE__);
        prop_secret_free(back);
        back = NULL;
        prop_err_clear(&err);
        if (ops[i] != PROP_KP_ANY)
            (void)fuzz_ok(prop_kp_reply_read(message, ops[i], &back, &err), &err);
    }
    return 0;
}
