/* SPDX-License-Identifier: Apache-2.0 */
/* What bucketdisk-format(5) says in numbers, as the compiler has it; manual.py compares.
 *
 *   offset STRUCT NAME OFFSET BYTES     a member of what stands in files
 *   limit WHAT: VALUE                   a row of the table of limits
 *   lock LINE                           a lock object: its attributes, then its body */
#include "cachefile_impl.h"
#include "chain.h"
#include "lock.h"
#include "manifest.h"
#include "seal.h"
#include "volume_samples.h"

#include <stdio.h>
#include <string.h>

#define OFFSET(type, name)                                                                         \
    printf("offset %s %s %zu %zu\n", #type, #name, offsetof(struct type, name),                    \
           sizeof(((struct type *)NULL)->name))

static void
print_super(void)
{
    OFFSET(super, magic);
    OFFSET(super, version);
    OFFSET(super, bytes);
    OFFSET(super, generation);
    OFFSET(super, id);
    OFFSET(super, block_bytes);
    OFFSET(super, seal_bytes);
    OFFSET(super, slots);
    OFFSET(super, flags);
    OFFSET(super, journal_offset);
    OFFSET(super, journal_bytes_max);
    OFFSET(super, journal_bytes);
    OFFSET(super, mark);
    OFFSET(super, seed);
    OFFSET(super, durable);
    OFFSET(super, dirty);
    OFFSET(super, identity_bytes);
    OFFSET(super, note_bytes);
    OFFSET(super, identity);
    OFFSET(super, volume);
    OFFSET(super, note);
    OFFSET(super, sum);
}

static void
print_record(void)
{
    OFFSET(record, mark);
    OFFSET(record, sum);
    OFFSET(record, bytes);
    OFFSET(record, kind);
    OFFSET(record, base);
    OFFSET(record, tag_bytes);
    OFFSET(record, sequence);
    OFFSET(record, durable);
    OFFSET(record, block);
    OFFSET(record, slot);
    OFFSET(record, sectors);
    OFFSET(record, data_sum);
    OFFSET(record, seal_bytes);
    OFFSET(record, is_zeros);
}

static void
print_limits(void)
{
    const struct {
        const char *what;
        uint64_t value;
    } limits[] = {
        { "blocks of a volume", LAYOUT_BLOCKS_MAX },
        { "smallest block", LAYOUT_BLOCK_BYTES_MIN },
        { "largest block", LAYOUT_BLOCK_BYTES_MAX },
        { "prefix", LAYOUT_PREFIX_BYTES_MAX },
        { "object name", BD_NAME_BYTES_MAX },
        { "value of an attribute", BD_ATTR_VALUE_BYTES_MAX },
        { "layers of a list", ENCODING_LAYERS_MAX },
        { "token", BD_TOKEN_BYTES_MAX },
        { "list in format 1", CHAIN_S3BACKER_LIST_BYTES_MAX },
        { "list in a header of format 2", ENVELOPE_LIST_BYTES_MAX },
        { "bits of the counter in a generation", GENERATION_COUNTER_BITS },
        { "epoch", MANIFEST_EPOCH_MAX },
        { "description", MANIFEST_BYTES_MAX },
        { "key slots", MANIFEST_SLOTS },
        { "blob of a slot", MANIFEST_BLOB_BYTES_MAX },
        { "label of a slot", MANIFEST_LABEL_BYTES_MAX },
        { "volume's key", VOLUME_KEY_BYTES },
        { "lease and settle time, ms", LEASE_MS_MAX },
        { "what sealing adds", SEAL_BYTES },
        { "sector of a cache file", CACHEFILE_SECTOR_BYTES },
        { "slots of a cache file", CACHEFILE_SLOTS_MAX },
        { "tag", BD_TAG_BYTES_MAX },
    };

    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        printf("limit %s: %llu\n", limits[i].what, (unsigned long long)limits[i].value);
}

static int
print_lock(void)
{
    const struct lock lock = {
        .value = 0x1234abcd,
        .owner = "0f3c27d5b1d94a6ea2a5c1f0e4b7d893 5e0f8c1a-7d52-4c0b-9a3e-2f6d1b8c4e70 "
                 "19:4d1:8f3e2a6b9c0d1e57 ash",
        .lease = { .beat = 7,
                   .epoch = 42,
                   .lease_ms = 60000,
                   .settle_ms = 30000,
                   .at_s = 1795176554 },
        .is_local = true,
    };
    struct lock_text text;
    struct backend_io io = { .io.op = BD_PUT };
    int rc = lock_put(&io, &lock, "20261120T134914Z", &text);
    char *rest = text.body;

    for (uint32_t i = 0; rc == 0 && i < text.attrs.count; i++)
        printf("lock %s: %.*s\n", text.attrs.list[i].name, (int)text.attrs.list[i].value_bytes,
               (const char *)text.attrs.list[i].value);
    for (char *line; rc == 0 && (line = strsep(&rest, "\n")) != NULL && rest != NULL;)
        printf("lock %s\n", line);
    attrs_clear(&text.attrs);
    return rc;
}

int
main(void)
{
    print_super();
    print_record();
    print_limits();
    return print_lock() == 0 ? 0 : 1;
}
