/* SPDX-License-Identifier: Apache-2.0 */
/* codec-reverse: an example of a codec.  It stores the bytes of a block in reverse order.
 *
 * Of no use to anybody but authors of codecs: copy it, then replace the four steps marked (1) to
 * (4). It shows an upper bound, declining, and an attribute stored beside the object. */
#include <bucketdisk/sdk.h>

#include <stdlib.h>
#include <string.h>

/* (1) What an instance is.  It never changes after open, so all threads share it without a lock. */
struct reverse {
    const struct bd_host *host;
    struct bd_counter *blocks;
};

/* These bytes precede the body, which makes the result larger than the input: see reverse_bound. */
static const unsigned char prefix[] = { 'R', 'V' };

/* The attribute: the length before encoding, in decimal digits.  An attribute is the place for what
 * a decoder needs but the body has no room for; S3 keeps it as the header
 * x-amz-meta-reverse-length. */
#define LENGTH_ATTR "reverse-length"

/* ---- lifecycle */

static enum bd_status
reverse_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    struct reverse *reverse = calloc(1, sizeof *reverse);

    (void)options; /* it has none */
    (void)token;   /* only families of tokens look at it: see bd_codec.match */
    if (reverse == NULL)
        return BD_FATAL;
    reverse->host = host;
    reverse->blocks = host->counter(host, "blocks", "blocks reversed");
    *handle = reverse;
    return BD_OK;
}

static void
reverse_close(void *handle)
{
    free(handle);
}

/* (2) The largest result for `plain_bytes`.  The host gives encode this much room, once, for its
 * largest block, so it must hold for every content. */
static size_t
reverse_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return plain_bytes + sizeof prefix;
}

/* ---- operations: any thread, many at once, no I/O */

static int
is_palindrome(const unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len / 2; i++) {
        if (data[i] != data[len - 1 - i])
            return 0;
    }
    return 1;
}

static void
reverse_bytes(const unsigned char *in, size_t len, unsigned char *out)
{
    for (size_t i = 0; i < len; i++)
        out[i] = in[len - 1 - i];
}

/* Decimal digits without locale and without stdio: returns how many. */
static size_t
print_length(size_t value, char out[20])
{
    char digits[20];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < count; i++)
        out[i] = digits[count - 1 - i];
    return count;
}

/* (3) Encode.  An empty block and a palindrome gain nothing: decline, and the host leaves our token
 * out of the object's Content-Encoding, so that decode is never called for it. */
static enum bd_status
reverse_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
               struct bd_buf *out)
{
    struct reverse *reverse = handle;
    char digits[20];

    (void)worker; /* one thread's own state, for codecs that have a worker_new */
    if (is_palindrome(in.data, in.len) && !(coding->flags & BD_CODING_ALWAYS))
        return BD_DECLINED;
    if (out->cap < reverse_bound(handle, in.len)) {
        reverse->host->coding_error(coding, "%zu bytes of room are too few", out->cap);
        return BD_INVALID;
    }
    memcpy(out->data, prefix, sizeof prefix);
    reverse_bytes(in.data, in.len, (unsigned char *)out->data + sizeof prefix);
    out->len = sizeof prefix + in.len;
    reverse->host->coding_attr_add(coding, LENGTH_ATTR, digits, print_length(in.len, digits));
    reverse->host->counter_add(reverse->blocks, 1);
    return BD_OK;
}

/* (4) Decode.  All of `in` and the attributes come from outside and may be anything: check each
 * length before its use, never write more than out->cap, and say in one sentence what is wrong. */
static enum bd_status
reverse_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
               struct bd_buf *out)
{
    struct reverse *reverse = handle;
    const unsigned char *body = in.data;
    const void *attr;
    char digits[20];
    size_t attr_bytes = 0, len;

    (void)worker;
    if (in.len < sizeof prefix || memcmp(body, prefix, sizeof prefix) != 0) {
        reverse->host->coding_error(coding, "the body does not begin as a reversed one does");
        return BD_CORRUPT;
    }
    len = in.len - sizeof prefix;
    attr = reverse->host->coding_attr_get(coding, LENGTH_ATTR, &attr_bytes);
    if (attr == NULL) {
        reverse->host->coding_error(coding, "the attribute " LENGTH_ATTR " is missing");
        return BD_CORRUPT;
    }
    if (attr_bytes != print_length(len, digits) || memcmp(attr, digits, attr_bytes) != 0) {
        reverse->host->coding_error(coding, "%zu bytes are not what " LENGTH_ATTR " says", len);
        return BD_CORRUPT;
    }
    if (len > out->cap) {
        reverse->host->coding_error(coding, "%zu bytes, at most %zu expected", len, out->cap);
        return BD_CORRUPT;
    }
    reverse_bytes(body + sizeof prefix, len, out->data);
    out->len = len;
    return BD_OK;
}

/* ---- tables */

static const char *const reverse_aliases[] = { "x-reverse", NULL };

static const struct bd_codec reverse_codec = {
    .head = BD_HEAD(CODEC, struct bd_codec),
    .token = "reverse",
    .aliases = reverse_aliases,
    .summary = "the bytes of the block in reverse order",
    .traits = BD_CODEC_TRANSFORMS | BD_CODEC_MAY_DECLINE,
    .open = reverse_open,
    .close = reverse_close,
    .bound = reverse_bound,
    .encode = reverse_encode,
    .decode = reverse_decode,
};

static const struct bd_plugin reverse_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "codec-reverse",
    .version = "1.0",
    .summary = "example: reverses the bytes of each block",
    .codecs = &reverse_codec,
    .codec_count = 1,
    .codec_stride = sizeof reverse_codec,
};

BD_PLUGIN(reverse_plugin)
