/* What a service manager is told (systemd's sd_notify protocol: datagrams to $NOTIFY_SOCKET). */
#ifndef NODE_NOTIFY_H
#define NODE_NOTIFY_H

#include <stdint.h>

/* Sends "READY=1", "STOPPING=1", "WATCHDOG=1" …; nothing happens without a manager. */
void notify_send(const char *state);
/* How often the manager wants to hear WATCHDOG=1, in milliseconds; 0: not at all. */
uint64_t notify_watchdog_ms(void);

#endif
