/* What systemd is told about a service of Type=notify: datagrams to $NOTIFY_SOCKET (sd_notify(3)).
 * Everywhere else nothing happens. */
#ifndef PROP_GUEST_NOTIFY_H
#define PROP_GUEST_NOTIFY_H

#include <stdint.h>

/* "READY=1\nSTATUS=..." and so on. */
void prop_notify(const char *state);
/* How often WATCHDOG=1 is wanted of this process, in ms; 0 = it is not. */
uint64_t prop_notify_watchdog_ms(void);

#endif
