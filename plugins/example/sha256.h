/* SHA-256 of a block of memory, as FIPS 180-4 has it. */
#ifndef CAPSTAN_EXAMPLE_SHA256_H_
#define CAPSTAN_EXAMPLE_SHA256_H_

#include <stddef.h>

#define SHA256_SIZE 32

void sha256(const void* data, size_t size, unsigned char digest[SHA256_SIZE]);

#endif /* CAPSTAN_EXAMPLE_SHA256_H_ */
