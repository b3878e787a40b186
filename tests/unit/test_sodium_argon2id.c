/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/crypto-sodium/argon2id.c: passphrases, what they cost, and subkeys. */
#include "test.h"

#include "argon2id.h"
#include "base/util.h"
#include "host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define BLOB_BYTES_MAX 4096u

/* ---- a host that remembers what was said, and counts secrets */

static struct bd_host host;
static const struct bd_host *core;
static char said[2][512]; /* the last line at BD_ERROR and BD_WARNING; "" for none */
static atomic_int secrets_made, secrets_now;
static int secrets_left; /* so many secret_alloc succeed; negative: all */

static void fake_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
    BD_PRINTF(3, 4);

static void
fake_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
{
    va_list args;

    (void)table;
    assert_true(level <= BD_WARNING);
    va_start(args, format);
    vsnprintf(said[level], sizeof said[level], format, args);
    va_end(args);
}

static void *
fake_secret_alloc(size_t bytes)
{
    if (secrets_left == 0)
        return NULL;
    if (secrets_left > 0)
        secrets_left--;
    secrets_made++;
    secrets_now++;
    return core->secret_alloc(bytes);
}

static void
fake_secret_free(void *secret)
{
    secrets_now--;
    core->secret_free(secret);
}

static int
setup(void **state)
{
    static struct host *real;

    (void)state;
    if (core == NULL && host_new("crypto-sodium", NULL, NULL, &real) != 0)
        return -1;
    core = host_table(real);
    host = *core;
    host.log = fake_log;
    host.secret_alloc = fake_secret_alloc;
    host.secret_free = fake_secret_free;
    said[BD_ERROR][0] = said[BD_WARNING][0] = '\0';
    secrets_left = -1;
    secrets_made = 0;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    return secrets_now != 0;
}

static void
expect_said(enum bd_log_level level, const char *part)
{
    if (part == NULL ? said[level][0] != '\0' : strstr(said[level], part) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", said[level], part != NULL ? part : "");
    said[level][0] = '\0';
}

/* ---- keys and passphrases */

#define PASSPHRASE BYTES("correct horse battery staple")
#define BYTES(literal)                                                                             \
    (struct bd_bytes)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct machine large = { 64 * 1024 * MIB, 32 * 1024 * MIB };
/* As cheap as it can be: these tests are not about time. */
static const struct argon2id_options cheap = {
    .memory_bytes = 8192, .passes = 1, .memory_bytes_max = 32768, .passes_max = 4
};
static const struct argon2id_options usual = {
    .memory_bytes = 256 * MIB, .passes = 3, .memory_bytes_max = 4096 * MIB, .passes_max = 64
};

struct blob {
    char text[BLOB_BYTES_MAX + 1];
    size_t bytes;
};

static struct bd_bytes
counted_key(size_t bytes)
{
    static unsigned char key[64];

    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (unsigned char)i;
    return (struct bd_bytes){ key, bytes };
}

static enum bd_status
wrap_on(const struct machine *machine, const struct argon2id_options *options, struct bd_bytes key,
        struct blob *blob)
{
    struct bd_buf out = { .data = blob->text, .cap = BLOB_BYTES_MAX };
    enum bd_status status = argon2id_wrap_on(machine, &host, options, PASSPHRASE, key, &out);

    blob->bytes = out.len;
    blob->text[out.len] = '\0';
    return status;
}

static struct blob
wrapped(size_t key_bytes)
{
    struct blob blob;

    assert_int_equal(wrap_on(&large, &cheap, counted_key(key_bytes), &blob), BD_OK);
    expect_said(BD_ERROR, NULL);
    expect_said(BD_WARNING, NULL);
    return blob;
}

static enum bd_status
unwrap_on(const struct machine *machine, const struct argon2id_options *options,
          struct bd_bytes passphrase, struct bd_bytes text, size_t key_bytes)
{
    unsigned char key[64] = { 0 }, zeros[64] = { 0 };
    struct bd_buf out = { .data = key, .cap = sizeof key };
    enum bd_status status = argon2id_unwrap_on(machine, &host, options, passphrase, text, &out);

    if (status == BD_OK) {
        if (out.len != key_bytes)
            fail_msg("opened: %.*s", (int)text.len, (const char *)text.data);
        assert_memory_equal(key, counted_key(key_bytes).data, key_bytes);
    } else {
        assert_memory_equal(key, zeros, sizeof key);
    }
    return status;
}

static struct bd_bytes
text_of(const struct blob *blob)
{
    return (struct bd_bytes){ blob->text, blob->bytes };
}

TEST(argon2id, a_key_comes_back_by_its_passphrase)
{
    static const size_t sizes[] = { 16, 32, 33, 64 };

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct blob blob = wrapped(sizes[i]);

        assert_int_equal(unwrap_on(&large, &cheap, PASSPHRASE, text_of(&blob), sizes[i]), BD_OK);
        assert_int_equal(secrets_now, 0);
    }
    expect_said(BD_ERROR, NULL);
}

TEST(argon2id, what_is_stored_can_stand_in_json)
{
    struct blob blob = wrapped(64);

    assert_true(blob.bytes > 100 && blob.bytes <= BLOB_BYTES_MAX);
    for (size_t i = 0; i < blob.bytes; i++)
        assert_true(blob.text[i] >= ' ' && blob.text[i] <= '~' && blob.text[i] != '"'
                    && blob.text[i] != '\\');
    assert_int_equal(strncmp(blob.text, "argon2id v=1 m=8 t=1 p=1 salt=", 30), 0);
}

TEST(argon2id, the_same_key_is_never_wrapped_alike)
{
    struct blob one = wrapped(32), two = wrapped(32);

    assert_memory_not_equal(strstr(one.text, "salt="), strstr(two.text, "salt="), 27);
    assert_memory_not_equal(strstr(one.text, "nonce="), strstr(two.text, "nonce="), 38);
    assert_memory_not_equal(strstr(one.text, "key="), strstr(two.text, "key="), 68);
}

/* Of several slots the host tries one after the other: which one was wrong is nothing to log. */
TEST(argon2id, a_wrong_passphrase_is_denied_without_a_word)
{
    struct blob blob = wrapped(32);

    assert_int_equal(
        unwrap_on(&large, &cheap, BYTES("correct horse battery stapl"), text_of(&blob), 0),
        BD_DENIED);
    assert_int_equal(
        unwrap_on(&large, &cheap, BYTES("correct horse battery staple\n"), text_of(&blob), 0),
        BD_DENIED);
    assert_int_equal(
        unwrap_on(&large, &cheap, BYTES("correct horse battery staple\0"), text_of(&blob), 0),
        BD_DENIED);
    assert_int_equal(
        unwrap_on(&large, &cheap, BYTES("Correct horse battery staple"), text_of(&blob), 0),
        BD_DENIED);
    assert_int_equal(unwrap_on(&large, &cheap, BYTES(""), text_of(&blob), 0), BD_DENIED);
    expect_said(BD_ERROR, NULL);
}

static void
expect_unusable(struct bd_bytes text)
{
    enum bd_status status = unwrap_on(&large, &cheap, PASSPHRASE, text, 0);

    assert_true(status == BD_INVALID || status == BD_DENIED);
    assert_true((status == BD_INVALID) == (said[BD_ERROR][0] != '\0'));
    said[BD_ERROR][0] = '\0';
    assert_int_equal(secrets_now, 0);
}

TEST(argon2id, a_blob_changed_anywhere_is_refused)
{
    struct blob good = wrapped(32), blob;

    for (size_t bit = 0; bit < good.bytes * 8; bit++) {
        blob = good;
        blob.text[bit / 8] = (char)(blob.text[bit / 8] ^ (1 << bit % 8));
        expect_unusable(text_of(&blob));
    }
    for (size_t at = 0; at < good.bytes; at++) {
        expect_unusable((struct bd_bytes){ good.text, at });
        expect_unusable((struct bd_bytes){ good.text + at + 1, good.bytes - at - 1 });
        blob = good; /* without one byte, and with one twice */
        memmove(blob.text + at, good.text + at + 1, good.bytes - at - 1);
        expect_unusable((struct bd_bytes){ blob.text, good.bytes - 1 });
        memmove(blob.text + at + 1, good.text + at, good.bytes - at);
        memcpy(blob.text, good.text, at + 1);
        expect_unusable((struct bd_bytes){ blob.text, good.bytes + 1 });
    }
    assert_int_equal(unwrap_on(&large, &cheap, PASSPHRASE, text_of(&good), 32), BD_OK);
}

/* Parts of two good ones make no third. */
TEST(argon2id, what_stands_before_the_key_is_authenticated)
{
    struct blob one = wrapped(32), two = wrapped(32), mixed = one;
    size_t key_at = (size_t)(strstr(one.text, " key=") - one.text);

    memcpy(mixed.text + key_at, two.text + key_at, one.bytes - key_at);
    assert_int_equal(unwrap_on(&large, &cheap, PASSPHRASE, text_of(&mixed), 0), BD_DENIED);
}

/* Made by other programs (Python's argon2 and cryptography, see tests/crypto/sodium_formats.py): they must open for ever. */
TEST(argon2id, blobs_of_long_ago_open)
{
    static const char first[] =
        "argon2id v=1 m=1024 t=3 p=1 salt=QEFCQ0RFRkdISUpLTE1OTw== "
        "nonce=gIGCg4SFhoeIiYqLjI2Oj5CRkpOU"
        "lZaX key=74NlcMepqsUDaRJzfsWyXdp3FFCMYjk/SFAB9hh6Cm4GbU/0bPBzWzeROSJeTkEo";
    static const char second[] =
        "argon2id v=1 m=65536 t=1 p=1 salt=8PHy8/T19vf4+fr7/P3+/w== "
        "nonce=AAECAwQFBgcICQoLDA0ODxAREhMU"
        "FRYX "
        "key=yjuM0++B1pbBJyqONiTAZhydHA6ytYY6lNVdORFIVEuKj6nQZOtabvN/Xlm3zS+3t8apsBNwQ8r354yrvl6t"
        "c3DGnT63ZONL6t+NyYYMaMg=";

    assert_int_equal(unwrap_on(&large, &usual, PASSPHRASE, BYTES(first), 32), BD_OK);
    assert_int_equal(
        unwrap_on(&large, &usual, BYTES("p\xe4ssword\0with all bytes\xff"), BYTES(second), 64),
        BD_OK);
    assert_int_equal(unwrap_on(&large, &usual, BYTES("p\xe4ssword"), BYTES(second), 0), BD_DENIED);
}

/* ---- costs */

static void
expect_cost_refused(const struct machine *machine, const char *cost, const char *reason)
{
    char text[320];
    int len = snprintf(
        text, sizeof text,
        "argon2id v=1 %s p=1 salt=QEFCQ0RFRkdISUpLTE1OTw== nonce=gIGCg4SFhoeIiYqLjI2Oj5CRkpOUlZaX "
        "key=74NlcMepqsUDaRJzfsWyXdp3FFCMYjk/SFAB9hh6Cm4GbU/0bPBzWzeROSJeTkEo",
        cost);

    assert_int_equal(
        unwrap_on(machine, &usual, PASSPHRASE, (struct bd_bytes){ text, (size_t)len }, 0),
        BD_INVALID);
    expect_said(BD_ERROR, reason);
    assert_int_equal(secrets_made, 0); /* the first thing that the work takes */
}

TEST(argon2id, stored_costs_over_the_bounds_are_refused_before_any_work)
{
    static const struct machine small = { 512 * MIB, 400 * MIB };

    expect_cost_refused(&large, "m=4294967295 t=1", "4294967295 KiB of memory are asked for");
    expect_cost_refused(&large, "m=4194305 t=1",
                        "at most 4096 MiB are allowed (--argon2id-memory-max)");
    expect_cost_refused(&large, "m=8 t=65", "65 passes of Argon2id are asked for, at most 64");
    expect_cost_refused(&large, "m=8 t=4294967295", "--argon2id-passes-max");
    expect_cost_refused(&small, "m=524289 t=1",
                        "need 524289 KiB of memory, and this machine has 512");
    expect_cost_refused(&small, "m=1048576 t=1", "need 1024 MiB of memory");
}

TEST(argon2id, a_key_is_not_wrapped_so_that_it_would_be_refused)
{
    struct argon2id_options options = usual;
    struct blob blob;

    options.memory_bytes = options.memory_bytes_max + 1024;
    assert_int_equal(wrap_on(&large, &options, counted_key(32), &blob), BD_INVALID);
    expect_said(BD_ERROR, "4194305 KiB of memory are asked for Argon2id, at most 4096 MiB");
    options = usual;
    options.passes = 65;
    assert_int_equal(wrap_on(&large, &options, counted_key(32), &blob), BD_INVALID);
    expect_said(BD_ERROR, "65 passes of Argon2id are asked for, at most 64");
    assert_int_equal(secrets_made, 0);
}

/* What the machine is like; what it comes to; whether it says so. */
static void
expect_cost(uint64_t available_mib, uint64_t asked_mib, uint64_t used_mib, const char *warning)
{
    const struct machine machine = { 64 * 1024 * MIB, available_mib * MIB };
    const struct argon2id_options options = {
        .memory_bytes = asked_mib * MIB, .passes = 1, .memory_bytes_max = 256 * MIB, .passes_max = 1
    };
    struct blob blob;
    char m[32];

    assert_int_equal(wrap_on(&machine, &options, counted_key(32), &blob), BD_OK);
    snprintf(m, sizeof m, " m=%u t=1 ", (unsigned)(used_mib * 1024));
    if (strstr(blob.text, m) == NULL)
        fail_msg("no%sin: %s", m, blob.text);
    expect_said(BD_ERROR, NULL);
    expect_said(BD_WARNING, warning);
}

TEST(argon2id, a_small_machine_pays_less_and_is_told)
{
    expect_cost(1024, 40, 40, NULL);
    expect_cost(1023, 40, 40, NULL);
    expect_cost(100, 40, 25,
                "only 100 MiB of memory are available: the passphrase is protected by "
                "Argon2id with 25 MiB instead of 40 MiB");
    expect_cost(100, 25, 25, NULL);
    expect_cost(103, 40, 25, "25 MiB instead of 40 MiB");
    expect_cost(64, 40, 16, "16 MiB instead of 40 MiB");
    expect_cost(20, 40, 16, "16 MiB instead of 40 MiB");
    expect_cost(20, 8, 8, NULL);
}

TEST(argon2id, more_than_is_available_is_tried_and_more_than_there_is_is_not)
{
    static const struct machine full = { 512 * MIB, 0 }, tiny = { 12 * MIB, 10 * MIB };
    struct argon2id_options options = usual;
    struct blob blob;

    assert_int_equal(unwrap_on(&full, &usual, BYTES("wrong"),
                               BYTES("argon2id v=1 m=1024 t=1 p=1 salt=QEFCQ0RFRkdISUpLTE1OTw== "
                                     "nonce=gIGCg4SFhoeIiYqLjI2Oj5CRkpOUlZaX "
                                     "key=74NlcMepqsUDaRJzfsWyXdp3FFCMYjk/"
                                     "SFAB9hh6Cm4GbU/0bPBzWzeROSJeTkEo"),
                               0),
                     BD_DENIED);
    expect_said(BD_WARNING, "needs 1 MiB of memory, and only 0 MiB are available");
    assert_int_equal(wrap_on(&tiny, &usual, counted_key(32), &blob), BD_INVALID);
    expect_said(BD_ERROR, "would need 16 MiB of memory, and this machine has 12 MiB");
    options.memory_bytes = options.memory_bytes_max = 128 * 1024 * MIB;
    assert_int_equal(wrap_on(&large, &options, counted_key(32), &blob), BD_INVALID);
    expect_said(BD_ERROR, "would need 131072 MiB of memory, and this machine has 65536 MiB");
}

/* Not where a sanitizer has taken the address space. */
TEST(argon2id, out_of_memory_says_how_much_was_needed)
{
#ifdef SANITIZED
    skip();
#else
    struct rlimit old, low;
    unsigned long pages;
    struct blob blob;
    enum bd_status status;
    FILE *statm = fopen("/proc/self/statm", "r");

    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%lu", &pages), 1);
    fclose(statm);
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    low = old;
    low.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + 64 * MIB;
    assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
    status = wrap_on(&large, &usual, counted_key(32), &blob);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(status, BD_FATAL);
    expect_said(BD_ERROR, "out of memory: Argon2id needs 256 MiB at once");
    assert_int_equal(blob.bytes, 0);
#endif
}

TEST(argon2id, without_memory_for_secrets_it_fails)
{
    struct blob blob = wrapped(32), other;

    secrets_left = 0;
    assert_int_equal(wrap_on(&large, &cheap, counted_key(32), &other), BD_FATAL);
    expect_said(BD_ERROR, "out of memory");
    assert_int_equal(unwrap_on(&large, &cheap, PASSPHRASE, text_of(&blob), 0), BD_FATAL);
    expect_said(BD_ERROR, "out of memory");
}

/* ---- what the host must not ask for */

TEST(argon2id, keys_and_rooms_of_wrong_sizes_are_refused)
{
    struct blob blob = wrapped(32), other;
    unsigned char key[31];
    struct bd_buf few = { .data = key, .cap = sizeof key };
    struct bd_buf out = { .data = other.text };

    assert_int_equal(argon2id_unwrap_on(&large, &host, &cheap, PASSPHRASE, text_of(&blob), &few),
                     BD_INVALID);
    expect_said(BD_ERROR, "has 32 bytes, at most 31");
    assert_int_equal(wrap_on(&large, &cheap, counted_key(15), &other), BD_INVALID);
    expect_said(BD_ERROR, "a key of 15 bytes");
    assert_int_equal(wrap_on(&large, &cheap, (struct bd_bytes){ other.text, 65 }, &other),
                     BD_INVALID);
    expect_said(BD_ERROR, "a key of 65 bytes");
    for (; out.cap < blob.bytes; out.cap++) {
        assert_int_equal(argon2id_wrap_on(&large, &host, &cheap, PASSPHRASE, counted_key(32), &out),
                         BD_INVALID);
        expect_said(BD_ERROR, "there is room for");
    }
    assert_int_equal(argon2id_wrap_on(&large, &host, &cheap, PASSPHRASE, counted_key(32), &out),
                     BD_OK);
    assert_int_equal(argon2id_wrap_on(&large, &host, &cheap, BYTES(""), counted_key(32), &out),
                     BD_INVALID);
    expect_said(BD_ERROR, "an empty passphrase");
}

TEST(argon2id, options_that_contradict_each_other_are_refused)
{
    struct argon2id_options options = usual;
    char why[128] = "";

    assert_int_equal(argon2id_check(&options, why, sizeof why), BD_OK);
    options.memory_bytes = options.memory_bytes_max + 1;
    assert_int_equal(argon2id_check(&options, why, sizeof why), BD_INVALID);
    assert_string_equal(why, "--argon2id-memory is more than --argon2id-memory-max");
    options = usual;
    options.passes = 65;
    assert_int_equal(argon2id_check(&options, why, sizeof why), BD_INVALID);
    assert_string_equal(why, "--argon2id-passes is more than --argon2id-passes-max");
}

/* By the table, on this machine as it is. */
TEST(argon2id, the_plugins_functions_look_at_this_machine)
{
    struct blob blob;
    struct bd_buf out = { .data = blob.text, .cap = BLOB_BYTES_MAX };
    unsigned char key[64];
    struct bd_buf back = { .data = key, .cap = sizeof key };

    assert_int_equal(argon2id_keywrap.wrap(&host, &cheap, PASSPHRASE, counted_key(32), &out),
                     BD_OK);
    assert_int_equal(argon2id_keywrap.unwrap(&host, &cheap, PASSPHRASE,
                                             (struct bd_bytes){ blob.text, out.len }, &back),
                     BD_OK);
    assert_int_equal(back.len, 32);
    assert_memory_equal(key, counted_key(32).data, 32);
}

/* ---- subkeys */

static void
subkey(struct bd_bytes key, const char *purpose, size_t bytes, unsigned char *out)
{
    struct bd_buf buf = { .data = out, .cap = bytes };

    assert_int_equal(argon2id_keywrap.subkey(key, purpose, &buf), BD_OK);
    assert_int_equal(buf.len, bytes);
}

static void
expect_subkey(const char *purpose, size_t bytes, const char *digits)
{
    unsigned char out[64];
    char hex[2 * sizeof out + 1];

    subkey(counted_key(32), purpose, bytes, out);
    for (size_t i = 0; i < bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", out[i]);
    assert_string_equal(hex, digits);
}

/* Computed by Python's hashlib.blake2b. */
TEST(subkey, the_same_for_ever)
{
    char thousand[1001];

    memset(thousand, 'x', 1000);
    thousand[1000] = '\0';
    expect_subkey("codec xchacha20-poly1305", 32,
                  "27ff07ea229815aedf4d2a7e3119de9cc942dbf4dca1f8ad4839f695978b432b");
    expect_subkey("codec xchacha20-poly1305", 64,
                  "4e4fdbf2b69508a9b9038d3c118c643347f65cdf3bc31565eae1b999bacaa63a"
                  "0770d1983621e3e0d1407a9a2cbbde8acd18ab389392b0704838f7ee832417ff");
    expect_subkey("", 16, "fe1e82005687792bf4e542570ed8142e");
    expect_subkey(thousand, 64,
                  "61f055b4bb6f1c840a09419e72d2d26883690b5d170aef47b9dfb22904b1bad4"
                  "09532e7a4ed1ab42aa04e7fa4a1e8f457c57e41bb07b0b6c92d09176979a8c68");
}

TEST(subkey, another_purpose_length_or_key_is_another_subkey)
{
    unsigned char one[64], two[64], key[32];

    subkey(counted_key(32), "a", 32, one);
    subkey(counted_key(32), "b", 32, two);
    assert_memory_not_equal(one, two, 32);
    subkey(counted_key(32), "a", 64, two);
    assert_memory_not_equal(one, two, 32);
    subkey(counted_key(33), "a", 32, two);
    assert_memory_not_equal(one, two, 32);
    memcpy(key, counted_key(32).data, 32);
    key[31] ^= 0x80;
    subkey((struct bd_bytes){ key, 32 }, "a", 32, two);
    assert_memory_not_equal(one, two, 32);
}

TEST(subkey, sizes_that_cannot_be_are_refused)
{
    unsigned char out[80];
    struct bd_buf buf = { .data = out };

    for (buf.cap = 0; buf.cap <= sizeof out; buf.cap++)
        assert_int_equal(argon2id_keywrap.subkey(counted_key(32), "a", &buf),
                         buf.cap >= 16 && buf.cap <= 64 ? BD_OK : BD_INVALID);
    buf.cap = 32;
    assert_int_equal(argon2id_keywrap.subkey(counted_key(15), "a", &buf), BD_INVALID);
    assert_int_equal(argon2id_keywrap.subkey((struct bd_bytes){ out, 65 }, "a", &buf), BD_INVALID);
}

/* ---- threads */

struct at_work {
    pthread_t thread;
    unsigned wrong; /* assertions belong to the main thread */
};

static const char cheap_blob[] =
    "argon2id v=1 m=8 t=1 p=1 salt=QEFCQ0RFRkdISUpLTE1OTw== nonce=gIGCg4SFhoeIiYqLjI2Oj5CRkpOUl"
    "ZaX key=BHWdu6HY9wa7Kp+zspJYcbVcarYg+mQSdO8HOpvvwNGla719wj/vGQ1IGd9D7H3H";

static void *
work(void *arg)
{
    struct at_work *mine = arg;

    for (unsigned round = 0; round < 50; round++) {
        unsigned char key[64], sub[32];
        struct bd_buf out = { .data = key, .cap = sizeof key };
        struct bd_buf sub_out = { .data = sub, .cap = sizeof sub };

        if (argon2id_unwrap_on(&large, &host, &cheap, PASSPHRASE, BYTES(cheap_blob), &out) != BD_OK
            || argon2id_keywrap.subkey((struct bd_bytes){ key, out.len }, "a", &sub_out) != BD_OK)
            mine->wrong++;
    }
    return NULL;
}

TEST(argon2id, many_threads_unwrap_at_once)
{
    struct at_work threads[8];

    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        threads[i] = (struct at_work){ 0 };
        assert_int_equal(pthread_create(&threads[i].thread, NULL, work, &threads[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].wrong, 0);
    }
}

#define RUN_ALONE(file, sentence)                                                                  \
    cmocka_unit_test_setup_teardown(file##_##sentence, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_ALONE(argon2id, many_threads_unwrap_at_once), /* first: they start libsodium */
        RUN_ALONE(argon2id, a_key_comes_back_by_its_passphrase),
        RUN_ALONE(argon2id, what_is_stored_can_stand_in_json),
        RUN_ALONE(argon2id, the_same_key_is_never_wrapped_alike),
        RUN_ALONE(argon2id, a_wrong_passphrase_is_denied_without_a_word),
        RUN_ALONE(argon2id, a_blob_changed_anywhere_is_refused),
        RUN_ALONE(argon2id, what_stands_before_the_key_is_authenticated),
        RUN_ALONE(argon2id, blobs_of_long_ago_open),
        RUN_ALONE(argon2id, stored_costs_over_the_bounds_are_refused_before_any_work),
        RUN_ALONE(argon2id, a_key_is_not_wrapped_so_that_it_would_be_refused),
        RUN_ALONE(argon2id, a_small_machine_pays_less_and_is_told),
        RUN_ALONE(argon2id, more_than_is_available_is_tried_and_more_than_there_is_is_not),
        RUN_ALONE(argon2id, out_of_memory_says_how_much_was_needed),
        RUN_ALONE(argon2id, without_memory_for_secrets_it_fails),
        RUN_ALONE(argon2id, keys_and_rooms_of_wrong_sizes_are_refused),
        RUN_ALONE(argon2id, options_that_contradict_each_other_are_refused),
        RUN_ALONE(argon2id, the_plugins_functions_look_at_this_machine),
        RUN_ALONE(subkey, the_same_for_ever),
        RUN_ALONE(subkey, another_purpose_length_or_key_is_another_subkey),
        RUN_ALONE(subkey, sizes_that_cannot_be_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
