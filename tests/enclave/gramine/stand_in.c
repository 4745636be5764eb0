/* Stands in for Gramine's libra_tls_attest.so: hands out the key and certificate that lie in the folder STAND_IN, or the
 * negative number in STAND_IN_ERROR, as Gramine hands out those that it makes. Buffers are the caller's to free. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int read_whole(const char* name, uint8_t** data, size_t* size) {
    char path[4096];
    const char* folder = getenv("STAND_IN");
    if (!folder || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return -1;
    FILE* file = fopen(path, "rb");
    if (!file)
        return -2;
    uint8_t* buffer = malloc(65536);
    *size = buffer ? fread(buffer, 1, 65536, file) : 0;
    *data = buffer;
    fclose(file);
    return buffer ? 0 : -3;
}

int ra_tls_create_key_and_crt_der(uint8_t** key, size_t* key_size, uint8_t** certificate, size_t* certificate_size) {
    const char* error = getenv("STAND_IN_ERROR");
    if (error)
        return atoi(error);
    int failed = read_whole("key.der", key, key_size);
    return failed ? failed : read_whole("certificate.der", certificate, certificate_size);
}
