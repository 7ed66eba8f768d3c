#include "archive/late.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#define SONAME "libarchive.so.13"

struct prop_libarchive prop_la;

/* One function; the copy through memory is how ISO C lets an object pointer become one. */
static bool find(void *lib, const char *name, void *member)
{
    void *symbol = dlsym(lib, name);

    if (symbol == NULL)
        return false;
    memcpy(member, &symbol, sizeof(symbol));
    return true;
}

int prop_libarchive_load(struct prop_err *err)
{
    static bool loaded;
    void *lib;

    if (loaded)
        return 0;
    lib = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
    if (lib == NULL) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-libarchive",
                              "archives need " SONAME ", which cannot be loaded");
        return prop_err_hint(err, "install libarchive13, or use an oci: folder");
    }
#define FIND(name) find(lib, #name, &prop_la.name) &&
    loaded = PROP_LIBARCHIVE(FIND) true;
    if (!loaded) {
        (void)dlclose(lib);
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-libarchive",
                               SONAME " lacks a function that archives need");
    }
    return 0;
}
