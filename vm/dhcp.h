/* DHCP messages (RFC 2131, RFC 2132) as bytes: made and read here, sent by init_net.c. */
#ifndef PROP_VM_DHCP_H
#define PROP_VM_DHCP_H

#include "vm/init.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_DHCP_FRAME 590 /* IP + UDP + 300 bytes and more of BOOTP with options */

enum prop_dhcp_type { PROP_DHCP_DISCOVER = 1, PROP_DHCP_OFFER = 2, PROP_DHCP_REQUEST = 3,
                      PROP_DHCP_ACK = 5, PROP_DHCP_NAK = 6 };

/* An IPv4 packet, broadcast, from no address. `wanted` and `server` (network order) for REQUEST; 0 =
 * not said. Returns its length. */
size_t prop_dhcp_make(enum prop_dhcp_type type, uint32_t xid, const uint8_t mac[6],
                      uint32_t wanted, uint32_t server, uint8_t out[PROP_DHCP_FRAME]);

/* Is this IPv4 packet an answer to `xid` for `mac`? Fills everything of `ret` but the interface. */
bool prop_dhcp_read(const uint8_t *packet, size_t len, uint32_t xid, const uint8_t mac[6],
                    enum prop_dhcp_type *ret_type, struct prop_lease *ret);

#endif
