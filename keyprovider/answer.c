/* One request, one reply: the messages around what a provider does. */
#include "keyprovider/keyprovider.h"

#include "keyprovider/message.h"
#include "util/limits.h"

static int do_wrap(const struct prop_kp_provider *p, const char *const *params,
                   const struct prop_kp_request *r, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf annotation = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    int rc = p->wrap(p->ctx, params, r->n_params, r->data, &annotation, err);
    return rc == 0 ? prop_kp_reply_write(PROP_KP_WRAP, annotation.data, annotation.len, ret, err)
                   : rc;
}

static int do_unwrap(const struct prop_kp_provider *p, const char *const *params,
                     const struct prop_kp_request *r, struct prop_secret **ret,
                     struct prop_err *err)
{
    prop_auto_secret struct prop_secret *privopts = NULL;
    int rc = p->unwrap(p->ctx, params, r->n_params, prop_secret_data(r->data),
                       prop_secret_len(r->data), &privopts, err);
    return rc == 0 ? prop_kp_reply_write(PROP_KP_UNWRAP, prop_secret_data(privopts),
                                         prop_secret_len(privopts), ret, err)
                   : rc;
}

int prop_kp_answer(const struct prop_kp_provider *p, enum prop_kp_op only,
                   const struct prop_secret *request, struct prop_secret **ret_reply,
                   struct prop_err *err)
{
    prop_auto_kp_request struct prop_kp_request r = PROP_KP_REQUEST_INIT;
    const char *params[PROP_KP_LIMIT_PARAMS];
    int rc = prop_kp_request_read(request, p->name, only, &r, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < r.n_params; i++) /* a 0 stands behind a secret's last byte */
        params[i] = (const char *)prop_secret_data(r.params[i]);
    return r.op == PROP_KP_WRAP ? do_wrap(p, params, &r, ret_reply, err)
                                : do_unwrap(p, params, &r, ret_reply, err);
}
