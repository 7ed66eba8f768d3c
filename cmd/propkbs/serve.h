/* The verbs of propkbs. */
#ifndef PROP_CMD_PROPKBS_SERVE_H
#define PROP_CMD_PROPKBS_SERVE_H

#include "cmd/cli/cli.h"

extern const struct prop_verb propkbs_verb_serve;

#endif
