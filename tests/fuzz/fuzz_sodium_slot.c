/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz wrapped keys: what is taken has one text, and what it costs is within the bounds. */
#include "argon2id.h"
#include "host.h"
#include "slot.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static unsigned errors;

static void count_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
    BD_PRINTF(3, 4);

static void
count_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
{
    char text[1024];
    va_list args;

    (void)table;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    errors += level == BD_ERROR;
}

static void
fuzz_parse(struct bd_bytes text)
{
    char why[128] = "", again[SLOT_TEXT_BYTES];
    struct slot slot;

    if (!slot_parse(text, &slot, why, sizeof why)) {
        assert(why[0] != '\0');
        return;
    }
    assert(why[0] == '\0');
    assert(slot_print(&slot, again) == text.len);
    assert(memcmp(again, text.data, text.len) == 0);
}

/* Nobody who does not know the passphrase makes a slot that opens. */
static void
fuzz_unwrap(struct bd_bytes text)
{
    static const struct machine machine = { 1 << 20, 1 << 20 };
    static const struct argon2id_options options = {
        .memory_bytes = 8192, .passes = 1, .memory_bytes_max = 65536, .passes_max = 2
    };
    static struct host *host;
    unsigned char out[64];
    struct bd_buf key = { .data = out, .cap = sizeof out };
    struct bd_host table;
    enum bd_status status;

    if (host == NULL && host_new("crypto-sodium", NULL, NULL, &host) != 0)
        abort();
    table = *host_table(host);
    table.log = count_log;
    errors = 0;
    status = argon2id_unwrap_on(&machine, &table, &options, (struct bd_bytes){ "secret", 6 }, text,
                                &key);
    assert(status == BD_INVALID ? errors == 1 : status == BD_DENIED && errors == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_parse((struct bd_bytes){ data, bytes });
    fuzz_unwrap((struct bd_bytes){ data, bytes });
    return 0;
}
