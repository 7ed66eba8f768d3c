/* Every maximum for what comes from outside, in one list. Bytes unless the name says otherwise. */
#ifndef PROP_UTIL_LIMITS_H
#define PROP_UTIL_LIMITS_H

#define PROP_LIMIT_SECRET (64u << 20)        /* one guarded allocation */
#define PROP_LIMIT_JSON_DEPTH 64             /* nesting; jansson's own limit is 2048 */
#define PROP_LIMIT_MANIFEST (4u << 20)       /* registry.md 2.2 rule 6 */
#define PROP_LIMIT_CONFIG (4u << 20)         /* image config blobs */
#define PROP_LIMIT_TOKEN_ANSWER (1u << 20)   /* registry token servers */
#define PROP_LIMIT_KBS_BODY (2u << 20)       /* kbs.md 1: payload_request_size */
#define PROP_LIMIT_KBS_ANSWER (8u << 20)     /* a JWE of a 2 MiB resource, with room */
#define PROP_LIMIT_ERROR_BODY (64u << 10)    /* what is read of a refusal */
#define PROP_LIMIT_KEY_FILE (64u << 10)
#define PROP_LIMIT_POLICY (1u << 20)
#define PROP_LIMIT_TASK_FILE (16u << 20)     /* with a module inside */
#define PROP_LIMIT_CRED_FILE (4u << 20)
#define PROP_LIMIT_ANNOTATION (1u << 20)     /* one annotation's value */
#define PROP_LIMIT_LAYERS 4096               /* layers of one manifest */
#define PROP_LIMIT_RECIPIENTS 256            /* blocks in one annotation */
#define PROP_LIMIT_WASM_MODULE (1u << 30)    /* decrypted in guest memory */
#define PROP_LIMIT_GUEST_OUTPUT (16u << 20)  /* a workload's stdout, default */
#define PROP_LIMIT_REDIRECTS 10

#endif
