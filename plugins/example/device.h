/* A device: one medium that is open, and the thread that carries its requests out. */
#ifndef CAPSTAN_EXAMPLE_DEVICE_H_
#define CAPSTAN_EXAMPLE_DEVICE_H_

#include <capstan/plugin.h>

/* As the functions of capstan_plugin. */
int device_open(const capstan_open_params* params, capstan_device** device, capstan_error* error);
int device_submit(capstan_device* device, capstan_request* request, capstan_error* error);
int device_close(capstan_device* device, uint32_t outcome, capstan_error* error);

/* Fills in *error; returns -1. */
int fail(capstan_error* error, int os_error, const char* doing, const char* what);

#endif /* CAPSTAN_EXAMPLE_DEVICE_H_ */
