/* Where the words of a running VM go: results to stdout, log and console to stderr or a file. */
#ifndef PROP_CMD_PROPCVM_VM_RUN_TALK_H
#define PROP_CMD_PROPCVM_VM_RUN_TALK_H

#include "cmd/cli/cli.h"
#include "vm/launch.h"
#include "vm/lines.h"

struct vm_talk {
    struct prop_vm_ears ears; /* hand these to prop_vm_launch */
    struct prop_cli *cli;
    const char *console;      /* file name, "-", or NULL = stderr */
    int fd;                   /* of that file; -1 = none */
    bool serves;              /* its results are documents, one per line; else one workload's output */
    struct prop_lines lines;  /* of the console */
    char last[160];           /* the console's last line that says something, printable */
    json_t *results;          /* what came over the result channel, owned */
};
/* Begin. The console's file is made (0600) or emptied. Fails: PROP_E_USAGE (id "console-and-json"),
 * PROP_E_IO. */
int vm_talk_open(struct vm_talk *t, struct prop_cli *cli, const char *console, bool serves,
                 struct prop_err *err);
/* The VM has ended: see that the console is whole in its file. */
int vm_talk_end(struct vm_talk *t, struct prop_err *err);
void vm_talk_release(struct vm_talk *t);
#define vm_auto_talk __attribute__((cleanup(vm_talk_release)))

#endif
