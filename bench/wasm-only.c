/* The engine alone, for comparison: compile and call one export of a plain module in this process.
 * usage: wasm-only MODULE FUNCTION [ARGS...] */
#include "engine/wasm.h"
#include "util/file.h"
#include "util/limits.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    prop_auto_buf struct prop_buf module = PROP_BUF_INIT(PROP_LIMIT_WASM_MODULE);
    struct prop_wasm_result result = {.exit_status = 0};
    struct prop_err err = PROP_ERR_INIT;

    if (argc < 3)
        return 2;
    int rc = prop_file_read(argv[1], &module, &err);
    struct prop_wasm_run run = {
        .module = module.data, .module_len = module.len, .name = argv[1], .invoke = argv[2],
        .args = (const char *const *)argv + 3, .n_args = (size_t)argc - 3,
    };
    if (rc == 0)
        rc = prop_wasm_run(&run, &result, &err);
    if (rc)
        (void)fprintf(stderr, "wasm-only: %s\n", err.message);
    else
        (void)fwrite(result.out.data, 1, result.out.len, stdout);
    prop_wasm_result_release(&result);
    return rc ? 1 : 0;
}
