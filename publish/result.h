/* What a publish tells at its end. */
#ifndef PROP_PUBLISH_RESULT_H
#define PROP_PUBLISH_RESULT_H

#include "publish/state.h"

/* The result document of a finished run, or of a dry one; owned by the caller. */
int prop_publish_result(const struct prop_publish_state *s, json_t **ret, struct prop_err *err);
int prop_publish_plan_result(struct prop_publish_state *s, json_t **ret, struct prop_err *err);

#endif
