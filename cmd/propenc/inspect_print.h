/* The table form of what inspect found. */
#ifndef PROP_CMD_PROPENC_INSPECT_PRINT_H
#define PROP_CMD_PROPENC_INSPECT_PRINT_H

#include <jansson.h>
#include <stdbool.h>

/* For prop_cli_result: `stream` is a FILE. Text of the image is made printable first. */
void propenc_print_inspected(const json_t *doc, void *stream);

/* Of prop_layer_describe's object: is the layer encrypted, as far as can be told without a key? A type
 * that says so does not do: anybody can write it over a plain blob. */
bool propenc_layer_is_sealed(const json_t *layer);

#endif
