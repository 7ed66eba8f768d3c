/* coco_keyprovider's --daemon: go on in the background once the address is taken. */
#ifndef PROP_CMD_PROPENC_KEYPROVIDER_DAEMON_H
#define PROP_CMD_PROPENC_KEYPROVIDER_DAEMON_H

#include "util/err.h"

#include <stdbool.h>

/* Fork. In the parent ret_status is the status to exit with, after the child is ready or has ended;
 * in the child it is -1, and ret_ready a descriptor for propenc_daemon_ready. */
int propenc_daemon_start(int *ret_status, int *ret_ready, struct prop_err *err);
/* In the child, when it serves: leave the terminal (stderr goes to keyprovider.log in our state
 * folder, beside keyprovider.pid) and let the parent end. */
int propenc_daemon_ready(int ready, struct prop_err *err);

#endif
