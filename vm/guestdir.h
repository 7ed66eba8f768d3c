/* A guest folder: what `vm build` makes, `vm measure` measures and `vm run` boots. Beside the files
 * stands DIR/vm.json, which names them and their digests, so that what was measured is what boots:
 *
 *     {"version":1,"name":"prop","kernel":"vmlinuz","initrd":"initrd.img","append":"console=ttyS0 ...",
 *      "init_data":"initdata.toml","kernel_release":"6.12.38+deb12-cloud-amd64","tee":"auto",
 *      "drivers":{"virtio_net":true,"vsock":true,"virtio_serial":true,"fw_cfg":true,
 *                 "sev_guest":true,"tdx_guest":true},
 *      "result":["vsock","serial"],"secrets_from_host":[],
 *      "digests":{"kernel":"sha256:...","initrd":"sha256:...",
 *                 "init_data":{"sha256":"<hex>","sha384":"<hex>"}}}
 *
 * Below it, how the host side of the VM hands things over. Nothing that comes in this way is believed
 * because it comes: init-data by its digest in the report (attestation.md 7.1), secrets only where the
 * measured image was built to take them from the host. */
#ifndef PROP_VM_GUESTDIR_H
#define PROP_VM_GUESTDIR_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stdint.h>

#define PROP_GUESTDIR_FILE "vm.json"
#define PROP_GUESTDIR_KERNEL "vmlinuz"
#define PROP_GUESTDIR_INITRD "initrd.img"
#define PROP_GUESTDIR_INITDATA "initdata.toml"
#define PROP_GUEST_NAME_MAX 63
#define PROP_INITDATA_MAX (256u << 10) /* bytes of the document */

/* `-fw_cfg name=PROP_FWCFG_INIT_DATA,file=DIR/initdata.toml`: the document, byte for byte. */
#define PROP_FWCFG_INIT_DATA "opt/org.propeller.propcvm/initdata.toml"
/* One secret, by its name in vm.json's "secrets_from_host" ("api-key"): PREFIX and name, the file's
 * bytes as they are. Refused by a guest whose image does not list the name. */
#define PROP_FWCFG_SECRET_PREFIX "opt/org.propeller.propcvm/secret/"

/* Ports on the host (CID 2) that the guest connects to, when the VM has a vsock device: one connection
 * per report: the result, then {PROP_REPORT_END: the end}, each a JSON document and a newline; then the
 * guest closes. Logs: lines, for as long as the guest lives. */
#define PROP_VSOCK_PORT_RESULT 5790u
#define PROP_VSOCK_PORT_LOG 5791u
/* The same without a vsock device: virtio-serial ports of these names (the host's end is a chardev). */
#define PROP_SERIAL_RESULT "org.propeller.propcvm.result"
#define PROP_SERIAL_LOG "org.propeller.propcvm.log"

/* {"end":{"status":0|N,"error":null|{"code","message"},"uptime_ms":N}}: only init writes to that channel,
 * so this counts before what the console says. */
#define PROP_REPORT_END "end"

/* The last line init writes to the console before it powers off (the host reads the console):
 * PREFIX at the start of the line, then one JSON object as above. */
#define PROP_GUEST_END_PREFIX "propcvm-init: end: "

struct prop_guestdir {
    json_t *json;              /* vm.json, owned; the texts below are borrowed from it */
    char *dir;                 /* as given, owned */
    char *kernel, *initrd;     /* DIR/file, owned */
    char *init_data;           /* DIR/file or NULL, owned */
    const char *name;          /* [a-z0-9-], at most PROP_GUEST_NAME_MAX */
    const char *append;        /* kernel command line, to the byte */
    const char *kernel_release;
    const char *tee;           /* evidence the image attests with: "auto" (hardware), "snp", "tdx", "sample" */
    bool virtio_net, vsock, virtio_serial, fw_cfg, sev_guest, tdx_guest; /* drivers the guest has */
    const json_t *secrets_from_host; /* array of names, may be empty; borrowed */
    bool result_console;       /* results go to the console too (--console-result) */
    bool serves;               /* runs `serve`: lives until it is stopped */
    uint8_t init_data_sha256[32], init_data_sha384[48]; /* of the document; zero without one */
};
#define PROP_GUESTDIR_INIT { .json = NULL }

/* Read DIR/vm.json and check each named file against its digest.
 * Fails: PROP_E_NOTFOUND (id "no-guest") no such folder or no vm.json in it; PROP_E_INPUT (id
 * "bad-guest") malformed, a file name with a slash; PROP_E_UNSUPPORTED another version; PROP_E_VERIFY
 * (id "guest-changed") a file is not the one that was built. */
int prop_guestdir_open(const char *dir, struct prop_guestdir *ret, struct prop_err *err);
void prop_guestdir_release(struct prop_guestdir *g);
#define prop_auto_guestdir __attribute__((cleanup(prop_guestdir_release)))

/* Write DIR/vm.json for files that already stand there: the members above are put in from `doc`
 * (borrowed; name, append, kernel_release, tee, drivers, ... as the caller has them), and "version",
 * "kernel", "initrd", "init_data" and "digests" from the files themselves. */
int prop_guestdir_write(const char *dir, const json_t *doc, bool init_data, struct prop_err *err);

/* May this be a guest's name? PROP_E_USAGE (id "bad-name") otherwise. */
int prop_guest_name_check(const char *name, struct prop_err *err);

/* Digest of a whole file of any size, as "sha256:<hex>" (72 bytes with the 0). */
int prop_guestdir_digest(const char *path, char ret[72], struct prop_err *err);

#endif
