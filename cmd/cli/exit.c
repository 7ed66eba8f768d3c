/* Exit statuses: the one table (design.md section 2). */
#include "cmd/cli/cli.h"

int prop_exit_code(const struct prop_err *err)
{
    switch (err->code) {
    case PROP_OK: return 0;
    case PROP_E_NO: return 1;
    case PROP_E_USAGE: return 2;
    case PROP_E_INPUT: return 3;
    case PROP_E_VERIFY: return 4;
    case PROP_E_AUTH:
    case PROP_E_DENIED: return 5;
    case PROP_E_NETWORK:
    case PROP_E_REMOTE: return 6;
    case PROP_E_EXISTS:
    case PROP_E_IO:
    case PROP_E_NOMEM: return 7;
    case PROP_E_NOTFOUND: return 8;
    case PROP_E_UNSUPPORTED:
    case PROP_E_LIMIT:
    case PROP_E_TIMEOUT:
    case PROP_E_TRAP: return 9;
    case PROP_E_INTERRUPTED: return 130;
    case PROP_E_BUG: break;
    }
    return 70;
}
