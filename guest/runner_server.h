/* How the fork server knows that it is one. */
#ifndef PROP_GUEST_RUNNER_SERVER_H
#define PROP_GUEST_RUNNER_SERVER_H

#define RUNNER_ARGV0 "propcvm-runner"

#endif
