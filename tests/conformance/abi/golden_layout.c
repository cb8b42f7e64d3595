/* Compiled against the frozen header. The numbers below hold the frozen header itself in its place:
 * they are those of x86-64 Linux, and of every other system with 64-bit pointers and longs whose
 * integers are aligned to their size. */
#include "layout.h"

#include <capstan/plugin.h>

const struct abi_entry golden_layout[] = {
#define STRUCT(type) {"sizeof(" #type ")", (long long)sizeof(type), 0},
#define FIELD(type, field) {#type "." #field, (long long)offsetof(type, field), sizeof(((type *)0)->field)},
#define NUMBER(name) {#name, (long long)(name), 0},
#include "version_1.inc"
    {NULL, 0, 0}};

/* C99 has no static assertions. */
#define ASSERT_SIZE(type, bytes) \
  typedef char type##_has_##bytes##_bytes[sizeof(type) == (bytes) ? 1 : -1]
#define ASSERT_OFFSET(type, field, bytes) \
  typedef char type##_##field##_at_##bytes[offsetof(type, field) == (bytes) ? 1 : -1]

#if defined(__LP64__)
ASSERT_SIZE(capstan_error, 1008);
ASSERT_SIZE(capstan_request, 1072);
ASSERT_SIZE(capstan_open_params, 56);
ASSERT_SIZE(capstan_stat_result, 32);
ASSERT_SIZE(capstan_device_status, 272);
ASSERT_SIZE(capstan_plugin, 128);
ASSERT_OFFSET(capstan_request, buffer, 8);
ASSERT_OFFSET(capstan_request, position, 24);
ASSERT_OFFSET(capstan_request, completion_code, 32);
ASSERT_OFFSET(capstan_request, error, 48);
ASSERT_OFFSET(capstan_request, complete, 1056);
ASSERT_OFFSET(capstan_request, context, 1064);
ASSERT_OFFSET(capstan_open_params, target, 8);
ASSERT_OFFSET(capstan_open_params, size_estimate, 32);
ASSERT_OFFSET(capstan_open_params, retain_until_unix_s, 48);
ASSERT_OFFSET(capstan_plugin, name, 8);
ASSERT_OFFSET(capstan_plugin, capabilities, 48);
ASSERT_OFFSET(capstan_plugin, open, 64);
ASSERT_OFFSET(capstan_plugin, device_status, 120);
#endif
