/* The policies of the first start, in our own words: what they decide is what kbs.md 4.1 and 4.2
 * document of the real server's. */
#ifndef PROP_KBSD_DEFAULTS_H
#define PROP_KBSD_DEFAULTS_H

/* Any resource for whoever attested, except with sample evidence. */
extern const char prop_kbsd_default_resource_policy[];
/* Trust vector of CPU evidence from reference values: sample, SNP, TDX. */
extern const char prop_kbsd_default_cpu_policy[];
/* Trust vector of device evidence: nothing is affirmed. */
extern const char prop_kbsd_default_gpu_policy[];

#endif
