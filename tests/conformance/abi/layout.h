/* What a compiler makes of a version of capstan/plugin.h: where each field lies, what each number
 * is. */
#ifndef CAPSTAN_ABI_LAYOUT_H_
#define CAPSTAN_ABI_LAYOUT_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct abi_entry {
  const char* name; /* "capstan_request.size", "sizeof(capstan_request)", "CAPSTAN_OP_READ" */
  long long offset; /* or the value of a number, or the size of a struct */
  size_t size;      /* of a field */
};

/* Of the frozen header, as a C99 compiler sees it; ends with a null name. */
extern const struct abi_entry golden_layout[];

#ifdef __cplusplus
}
#endif

#endif /* CAPSTAN_ABI_LAYOUT_H_ */
