/* SPDX-License-Identifier: Apache-2.0 */
/* What volume it is: its format, sizes and keys, and the chain of codecs that its blocks go through.  Nothing is stored
 * before stack_claim, and nothing is believed that a password or a stored block contradicts. */
#include "stack.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "codecs.h"
#include "copymark.h"
#include "keyslots.h"
#include "layer.h"
#include "passphrase.h"
#include "volume_samples.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_WRAP "argon2id" /* of new volumes */

/* ---- the password and the chain */

/* s3backer salts with "BUCKET/PREFIX".  A store without a name for its container has "/". */
static int
password_salt(const struct stack *stack, char **out)
{
    const char *container = backend_info(stack->backend)->container;

    if (options_given(stack->options, "password-salt")) {
        *out = strdup(stack->settings.password_salt);
        return *out != NULL ? 0 : -ENOMEM;
    }
    return asprintf(out, "%s%s", container != NULL ? container : "/", stack->settings.prefix) == -1
               ? -ENOMEM
               : 0;
}

/* At a terminal. */
static int
ask_passphrase(const struct stack *stack, const char *encrypted, const char *wanted,
               struct passphrase *out, struct error *why)
{
    const char *called = stack->side.called != NULL ? stack->side.called : "the volume";
    char prompt[80];
    int rc;

    snprintf(prompt, sizeof prompt, "Password %s %s: ", encrypted != NULL ? "of" : "for", called);
    rc =
        encrypted != NULL ? passphrase_ask(prompt, out, why) : passphrase_ask_new(prompt, out, why);
    if (rc != -ENOTTY)
        return rc;
    if (encrypted != NULL)
        return error_set(why, -EINVAL,
                         "the volume is encrypted (%s); give --password-file or --key-file",
                         encrypted);
    return error_set(why, -EINVAL, "%s needs a password; give --password-file or --key-file",
                     wanted);
}

/* `encrypted`: what the volume is encrypted with; NULL: it is not; `wanted`: the option that shall encrypt it.  In format 2 the passphrase is kept until there is a
 * volume's key behind it in the store; in format 1 to the end, since each cipher that is met derives its own key. */
static int
take_passphrase(struct stack *stack, const char *encrypted, const char *wanted, struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct passphrase_options given = { settings->password, settings->password_file,
                                              settings->key_file };
    struct passphrase passphrase;
    char *salt = NULL;
    int rc;

    if (stack->keyring.passphrase.data != NULL || stack->keyring.volume_key != NULL)
        return 0;
    rc = passphrase_given(&given, &passphrase, why);
    if (rc == 0 && passphrase.data == NULL && (encrypted != NULL || wanted != NULL))
        rc = ask_passphrase(stack, encrypted, wanted, &passphrase, why);
    if (rc == 0 && passphrase.data != NULL) {
        rc = password_salt(stack, &salt);
        if (rc == 0)
            rc = keyring_set_passphrase(&stack->keyring, passphrase_bytes(&passphrase), salt);
        if (rc != 0)
            error_set(why, rc, "out of memory");
        options_forget(stack->options, "password");
    }
    passphrase_clear(&passphrase);
    free(salt);
    return rc;
}

/* The level goes to the codec that compresses, as an option of its plugin. */
static int
set_level(struct stack *stack, const char *list, const char *option, const char *level,
          struct error *why)
{
    struct error reason = { "" };
    struct encoding encoding;
    const struct plugin *owner;
    char name[128];

    encoding_parse(list, &encoding, NULL);
    for (unsigned i = 0; i < encoding.count; i++) {
        const struct bd_codec *codec = plugins_codec(&stack->plugins, encoding.tokens[i], &owner);

        if (codec == NULL || !(codec->traits & BD_CODEC_COMPRESSES))
            continue;
        snprintf(name, sizeof name, "%s:level", owner->name);
        if (options_set(stack->options, name, level, &reason) == 0)
            return 0;
        return error_set(why, -EINVAL, "%s=%s: %s", option, level, reason.text);
    }
    return error_set(why, -EINVAL, "%s=%s, but nothing compresses; give --compress", option, level);
}

static const char *
if_given(const struct stack *stack, const char *name, const char *value)
{
    return options_given(stack->options, name) ? value : NULL;
}

/* What is written must be read as the default says, if a store keeps no Content-Encoding. */
static const char *
codec_wanted(const struct stack *stack)
{
    const struct settings *settings = &stack->settings;

    if (options_given(stack->options, "codec"))
        return settings->codec;
    if (options_given(stack->options, "compress") || options_given(stack->options, "encrypt")
        || stack->layout.is_format_2)
        return NULL;
    return if_given(stack, "default-content-encoding", settings->default_content_encoding);
}

/* What a new mount is written with. */
static int
choose_codecs(struct stack *stack, bool is_new_format_2, const char *stored,
              char list[ENCODING_JOINED_BYTES], struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct codecs_wish wish = {
        .codec = codec_wanted(stack),
        .compress = if_given(stack, "compress", settings->compress),
        .encrypt = if_given(stack, "encrypt", settings->encrypt),
        .is_new_format_2 = is_new_format_2,
        .has_password = stack->keyring.passphrase.data != NULL,
        .stored = stored,
    };
    char level[BD_TOKEN_BYTES_MAX + 1];
    int rc = codecs_choose(&wish, list, level, why);

    if (rc == 0 && options_given(stack->options, "compress-level"))
        rc = set_level(stack, list, "--compress-level", settings->compress_level, why);
    else if (rc == 0 && level[0] != '\0')
        rc = set_level(stack, list, "--compress", level, why);
    return rc;
}

static int
open_chain_as(struct stack *stack, const char *list, bool must_authenticate, struct chain **out,
              struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct manifest *manifest = &stack->description.manifest;
    struct chain_config config = {
        .plugins = &stack->plugins,
        .keyring = &stack->keyring,
        .block_bytes = stack->layout.block_bytes,
        .write_list = list,
        .read_default = settings->default_content_encoding,
        .must_authenticate = must_authenticate,
        .accepts_plain = settings->accept_plain,
        .list_bytes_max = stack->layout.is_format_2 ? 0 : CHAIN_S3BACKER_LIST_BYTES_MAX,
        .is_format_2 = stack->layout.is_format_2,
        .key_id = manifest->key_id,
    };

    memcpy(config.volume_id, manifest->id, VOLUME_ID_BYTES);
    if (manifest_is_encrypted(manifest))
        config.accepts = &manifest->accepts;
    return chain_open(&config, stack->pool, stack->stats, why, out);
}

static int
open_chain(struct stack *stack, const char *list, bool must_authenticate, struct error *why)
{
    chain_close(stack->chain);
    stack->chain = NULL;
    return open_chain_as(stack, list, must_authenticate, &stack->chain, why);
}

/* The block size of a volume of format 1 that does not say it. */
static int
measure(void *arg, const struct volume_sample *sample, uint64_t *block_bytes, struct error *why)
{
    struct stack *stack = arg;
    int rc = take_passphrase(stack, sample->is_encrypted ? sample->encoding : NULL, NULL, why);

    stack->layout.block_bytes = LAYOUT_BLOCK_BYTES_MAX; /* until it is known */
    if (rc == 0)
        rc = open_chain(stack, "", false, why);
    return rc != 0
               ? rc
               : volume_try(stack->backend, &stack->layout, stack->chain, sample, block_bytes, why);
}

/* ---- format 2 */

/* Does one of these encrypt?  `but_s3backers`: in a way that s3backer does not know. */
static bool
is_encrypting(const struct stack *stack, const struct encoding *encoding, bool but_s3backers)
{
    const struct plugin *owner;
    bool is = false;

    for (unsigned i = 0; i < encoding->count; i++) {
        const char *token = encoding->tokens[i];
        const struct bd_codec *codec = plugins_codec(&stack->plugins, token, &owner);
        bool encrypts =
            codecs_encrypt(token) || (codec != NULL && codec->traits & BD_CODEC_ENCRYPTS);

        is = is || (encrypts && !(but_s3backers && codecs_are_s3backers(token)));
    }
    return is;
}

/* Whoever puts a description in the place of another one could have blocks written that nothing encrypts. */
static int
refuse_encrypted_block(const struct stack *stack, struct error *why)
{
    struct volume_look look;
    struct encoding encoding;
    char list[ENCODING_JOINED_BYTES];
    int rc = volume_look_any(stack->backend, &stack->layout, &look, why);

    if (rc != 0 || !look.is_there)
        return rc;
    encoding_parse(look.encoding, &encoding, NULL);
    if (look.has_envelope
        && (look.envelope.key_id != 0 || is_encrypting(stack, &look.envelope.encoding, false)))
        encoding = look.envelope.encoding;
    else if (!is_encrypting(stack, &encoding, false))
        return 0;
    encoding_join(&encoding, encoding.count, list, sizeof list);
    return error_set(why, -EINVAL,
                     "block %08" PRIx64
                     " is encrypted (%s), but the volume's description, " MANIFEST_OBJECT
                     ", says that the volume is not; somebody has replaced it",
                     look.block, list);
}

/* Who names what encrypts means it; and there is no key. */
static int
refuse_encrypting(const struct stack *stack, const char *list, struct error *why)
{
    struct encoding encoding;

    encoding_parse(list, &encoding, NULL);
    if (!is_encrypting(stack, &encoding, false))
        return 0;
    return error_set(why, -EINVAL,
                     "\"%s\" encrypts, but the volume says that it is not encrypted; if it should "
                     "be, somebody has replaced its description, " MANIFEST_OBJECT,
                     list);
}

/* A volume of format 2 that is there: its key, and then what its description says. */
static int
detect_format_2(struct stack *stack, const struct volume_wish *wish, struct error *why)
{
    const struct manifest *manifest = &stack->description.manifest;
    bool is_encrypted = manifest_is_encrypted(manifest);
    char list[ENCODING_JOINED_BYTES];
    unsigned slot;
    int rc;

    if (stack->settings.format == 1)
        return error_set(why, -EINVAL, "the volume is of format 2; leave --format=1 out");
    rc = take_passphrase(stack, is_encrypted ? manifest->codec : NULL, NULL, why);
    if (rc == 0 && !is_encrypted
        && (stack->keyring.passphrase.data != NULL || stack->keyring.volume_key != NULL))
        return error_set(why, -EINVAL,
                         "a password is given, but the volume says that it is not encrypted; if it "
                         "should be, somebody has replaced its description, " MANIFEST_OBJECT);
    if (rc == 0 && is_encrypted && stack->keyring.volume_key == NULL)
        rc = keyslots_open(manifest, &stack->plugins, passphrase_bytes(&stack->keyring.passphrase),
                           &stack->keyring, &slot, why);
    if (rc == 0)
        keyring_drop_passphrase(&stack->keyring);
    if (rc == 0)
        rc = manifest_verify(manifest, &stack->keyring, why);
    if (rc == 0)
        rc = volume_manifest_layout(manifest, wish, &stack->layout, why);
    if (rc == 0 && !is_encrypted)
        rc = refuse_encrypted_block(stack, why);
    if (rc == 0)
        rc = choose_codecs(stack, false, manifest->codec, list, why);
    if (rc == 0 && !is_encrypted)
        rc = refuse_encrypting(stack, list, why);
    stack->block_0 = BLOCK_0_RIGHT;
    return rc != 0 ? rc : open_chain(stack, list, is_encrypted, why);
}

/* A volume that is going to be of format 2: all that can be known before it is made. */
static int
prepare_format_2(struct stack *stack, const char *list, struct error *why)
{
    struct manifest *manifest = &stack->description.manifest;
    struct encoding written;
    int rc = 0;

    random_fill(manifest->id, VOLUME_ID_BYTES);
    strcpy(manifest->wrap, KEY_WRAP);
    manifest->key_id = stack->keyring.passphrase.data != NULL;
    if (stack->keyring.passphrase.data != NULL)
        rc = keyslots_new_key(manifest, &stack->plugins, &stack->keyring, why);
    manifest->disk_bytes = stack->layout.block_bytes * stack->layout.block_count;
    manifest->block_bytes = stack->layout.block_bytes;
    manifest->is_hashed = stack->layout.is_hashed;
    stack->layout.is_format_2 = stack->is_new = true;
    if (rc == 0)
        rc = open_chain(stack, list, false, why);
    if (rc == 0 && stack->keyring.passphrase.data != NULL && !chain_encrypts(stack->chain))
        rc = error_set(why, -EINVAL, "a password is given, but \"%s\" does not encrypt", list);
    if (rc != 0)
        return rc;
    strcpy(manifest->codec, chain_written(stack->chain));
    if (!chain_authenticates(stack->chain))
        return 0;
    /* From the first mount on it is what every later one finds. */
    encoding_parse(manifest->codec, &written, NULL);
    manifest->accepts.count = 0;
    encoding_add(&manifest->accepts, written.tokens[written.count - 1]);
    return open_chain(stack, list, true, why);
}

/* ---- format 1 */

/* A block of format 2 without the volume's description cannot be read, and what would be written beside it would be for
 * everyone to read.  A store may have dropped its Content-Encoding; but what is plain and just a block long is the
 * guest's, whatever it begins with. */
static int
refuse_format_2_block(const struct stack *stack, const struct volume_sample *sample,
                      struct error *why)
{
    struct volume_look look = { .is_there = false };
    struct encoding encoding;
    char list[ENCODING_JOINED_BYTES];
    int rc = 0;

    encoding_parse(sample->encoding, &encoding, NULL);
    if (!is_encrypting(stack, &encoding, true)) {
        if (sample->is_encrypted
            || (encoding.count == 0 && sample->object_bytes == stack->layout.block_bytes))
            return 0;
        rc = volume_look(stack->backend, &stack->layout, sample->block, &look, why);
        if (rc != 0 || !look.has_envelope)
            return rc;
        encoding = look.envelope.encoding;
    }
    encoding_join(&encoding, encoding.count, list, sizeof list);
    return error_set(why, -EINVAL,
                     "block %08" PRIx64 " is one of format 2 (%s), but the volume's description "
                     "with its key, " MANIFEST_OBJECT ", is not there",
                     sample->block, list);
}

/* Does the password open this block?  Then the chain writes as that one was written. */
static bool
opens(struct stack *stack, uint64_t block)
{
    struct volume_sample sample = { .is_there = true, .block = block };
    struct volume_look look;
    char list[ENCODING_JOINED_BYTES];
    struct error ignored;

    if (volume_look(stack->backend, &stack->layout, block, &look, &ignored) != 0 || !look.is_there)
        return false;
    sample.is_encrypted = codecs_encrypt(look.encoding);
    return sample.is_encrypted && choose_codecs(stack, false, look.encoding, list, &ignored) == 0
           && open_chain(stack, list, true, &ignored) == 0
           && volume_try(stack->backend, &stack->layout, stack->chain, &sample, NULL, &ignored)
                  == 0;
}

/* A block that nothing encrypts is no try.  If others are encrypted, one of them is. */
static int
try_others(struct stack *stack, struct error *why)
{
    uint64_t blocks[VOLUME_SAMPLES_MAX];
    unsigned count = 0, encrypted = 0;
    struct volume_look look = { .is_there = false };
    int rc = volume_samples(stack->backend, &stack->layout, blocks, &count, why);

    for (unsigned i = 0; i < count && rc == 0; i++) {
        rc = volume_look(stack->backend, &stack->layout, blocks[i], &look, why);
        if (rc != 0 || !codecs_encrypt(look.encoding))
            continue;
        if (opens(stack, blocks[i]))
            return 0;
        encrypted++;
    }
    if (rc != 0 || encrypted == 0)
        return rc;
    if (encrypted == 1)
        return error_set(why, -EKEYREJECTED,
                         "the password does not open the only encrypted block that was tried");
    return error_set(why, -EKEYREJECTED,
                     "the password opens none of the %u encrypted blocks that were tried",
                     encrypted);
}

/* The password is tried on one block, and if that fails on a few others: so one that is damaged is no wrong password. */
static int
try_password(struct stack *stack, const struct volume_sample *sample, struct error *why)
{
    uint64_t blocks[VOLUME_SAMPLES_MAX];
    unsigned count = 0;
    struct error reason, ignored;
    int rc = volume_try(stack->backend, &stack->layout, stack->chain, sample, NULL, &reason);

    if (rc == 0 && !sample->is_encrypted)
        return try_others(stack, why);
    if (rc == -EKEYREJECTED)
        volume_samples(stack->backend, &stack->layout, blocks, &count, &ignored);
    for (unsigned i = 0; i < count; i++) {
        if (blocks[i] == sample->block || !opens(stack, blocks[i]))
            continue;
        if (!stack->is_damage_told)
            log_line(BD_WARNING,
                     "block %08" PRIx64 " shows that the password is right, so block %08" PRIx64
                     " is damaged: it cannot be read, all else can",
                     blocks[i], sample->block);
        stack->is_damage_told = true;
        return 0;
    }
    return rc != 0 ? error_set(why, rc, "%s", reason.text) : 0;
}

/* The option that says that blocks shall be encrypted; NULL: none does. */
static const char *
encryption_wanted(const struct stack *stack)
{
    struct encoding encoding;

    if (options_given(stack->options, "encrypt"))
        return "--encrypt";
    if (stack->is_encryption_wanted)
        return "encryption";
    encoding_parse(stack->settings.codec, &encoding, NULL);
    return is_encrypting(stack, &encoding, false) ? "--codec" : NULL;
}

/* Also when it is looked at again: what was agreed to is not asked twice. */
static int
ask_when_new(struct stack *stack, struct error *why)
{
    stack_when_new *when_new = stack->when_new;

    if (when_new == NULL || stack->settings.read_only)
        return 0;
    stack->when_new = NULL;
    return when_new(stack, stack->when_new_arg, why);
}

static int
refuse_not_s3backers(const struct stack *stack, const char *list, struct error *why)
{
    struct encoding wanted;
    const struct plugin *owner;
    int rc = encoding_parse(list, &wanted, why);

    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < wanted.count; i++) {
        if (plugins_codec(&stack->plugins, wanted.tokens[i], &owner) == NULL)
            return layer_unknown(wanted.tokens[i], why);
    }
    return error_set(why, -EINVAL,
                     "the volume is of format 1, which is s3backer's, and s3backer does not know "
                     "\"%s\"; only a new volume can be written so",
                     list);
}

static int
detect_format_1(struct stack *stack, const struct volume_wish *wish, struct error *why)
{
    unsigned format;
    char list[ENCODING_JOINED_BYTES];
    const char *read_default = stack->settings.default_content_encoding;
    struct volume_sample sample = { false };
    const char *encrypted = NULL;
    bool is_s3backers;
    int rc = volume_detect(stack->backend, wish, &stack->layout, &stack->block_0, &sample, why);
    int block_rc = sample.is_there ? refuse_format_2_block(stack, &sample, why) : 0;

    if (rc == 0)
        rc = block_rc;
    if (sample.has_hmac && !sample.is_encrypted)
        rc = error_set(why, -EINVAL,
                       "block %08" PRIx64 " is encrypted as s3backer does it, but its "
                       "Content-Encoding, which names the cipher, is lost; give "
                       "--defaultContentEncoding, as in deflate,encrypt-AES-128-CBC",
                       sample.block);
    if (sample.is_encrypted)
        encrypted = sample.encoding;
    else if (codecs_encrypt(read_default))
        encrypted = read_default;
    if (rc == 0 && !sample.is_there)
        rc = ask_when_new(stack, why);
    format = stack->settings.format;
    if (rc == 0)
        rc = take_passphrase(
            stack, sample.is_there ? encrypted : NULL,
            encrypted != NULL ? "--defaultContentEncoding" : encryption_wanted(stack), why);
    if (rc == 0)
        rc = choose_codecs(stack, !sample.is_there && format == 2, encrypted, list, why);
    if (rc != 0)
        return rc;
    is_s3backers = codecs_are_s3backers(list);
    if (!sample.is_there && format != 1 && (format == 2 || !is_s3backers))
        return prepare_format_2(stack, list, why);
    if (format == 2)
        return error_set(why, -EINVAL, "there is a volume of format 1 here; leave --format=2 out");
    if (!is_s3backers)
        return refuse_not_s3backers(stack, list, why);
    rc = open_chain(stack, list, encrypted != NULL, why);
    if (rc == 0 && stack->keyring.passphrase.data != NULL && !chain_encrypts(stack->chain))
        rc =
            error_set(why, -EINVAL,
                      "a password is given, but the volume is not encrypted; leave it out, or give "
                      "--encrypt for a new volume");
    /* Of a volume that nothing encrypts, a damaged block is that block's matter alone. */
    if (rc == 0 && sample.is_there && chain_authenticates(stack->chain))
        rc = try_password(stack, &sample, why);
    /* That was no try; from now on it is one, and whoever gives no password is asked for it. */
    if (rc == 0 && sample.is_there && !sample.is_encrypted && chain_encrypts(stack->chain)
        && !stack->is_damage_told && stack->block_0 == BLOCK_0_RIGHT)
        stack->block_0 = BLOCK_0_OTHER_SIZES;
    return rc;
}

/* ---- either */

static struct volume_wish
wish_of(const struct stack *stack)
{
    const struct settings *settings = &stack->settings;

    return (struct volume_wish){
        .prefix = settings->prefix,
        .is_hashed = settings->block_hash_prefix,
        .disk_bytes = settings->size,
        .block_bytes = settings->block_size,
        .auto_detect = !settings->no_auto_detect,
        .read_default = settings->default_content_encoding,
        .is_forced = settings->force,
        .is_read_only = settings->read_only,
    };
}

int
stack_layout_begin(struct stack *stack, struct error *why)
{
    const struct settings *settings = &stack->settings;

    if (strlen(settings->prefix) > LAYOUT_PREFIX_BYTES_MAX)
        return error_set(why, -EINVAL, "--prefix is longer than %u bytes", LAYOUT_PREFIX_BYTES_MAX);
    stack->layout =
        (struct layout){ .prefix = settings->prefix, .is_hashed = settings->block_hash_prefix };
    return 0;
}

int
stack_look(struct stack *stack, struct error *why)
{
    struct volume_wish wish = wish_of(stack);
    struct volume_sample sample;
    int rc = stack_layout_begin(stack, why);

    wish.is_read_only = true;
    if (rc == 0)
        rc = volume_manifest_read(stack->backend, &stack->layout, &stack->description, why);
    if (rc != 0)
        return rc;
    if (stack->description.is_there)
        return volume_manifest_layout(&stack->description.manifest, &wish, &stack->layout, why);
    return volume_detect(stack->backend, &wish, &stack->layout, &stack->block_0, &sample, why);
}

/* What the store cannot hold would fail at each write, long after the first ones were said to be done. */
static int
check_objects_fit(const struct stack *stack, struct error *why)
{
    const struct bd_backend_info *info = backend_info(stack->backend);
    const uint64_t largest = chain_written_bytes_max(stack->chain);

    if (largest <= info->object_bytes_max)
        return 0;
    return error_set(why, -EFBIG,
                     "blocks of %" PRIu32 " bytes become objects of up to %" PRIu64
                     " bytes, and %s holds at most %" PRIu64
                     " in one: a new volume needs a smaller --block-size; one that is there can be "
                     "mounted with --read-only, and copied",
                     stack->layout.block_bytes, largest, info->display, info->object_bytes_max);
}

int
stack_detect(struct stack *stack, struct error *why)
{
    const struct settings *settings = &stack->settings;
    struct volume_wish wish = wish_of(stack);
    int rc;

    wish.measure = measure;
    wish.measure_arg = stack;
    /* A key that was made for a new volume opens none that somebody has made meanwhile. */
    if (stack->is_new)
        keyring_drop_volume_key(&stack->keyring);
    stack->is_new = false;
    rc = stack_layout_begin(stack, why);
    if (rc == 0)
        rc = volume_manifest_read(stack->backend, &stack->layout, &stack->description, why);
    /* Half a copy that is being erased can only be erased. */
    if (rc == 0 && !stack->is_copied_to)
        rc = copymark_refuse(stack->backend, &stack->layout, why);
    if (rc != 0)
        return rc;
    if (!stack->description.is_there && stack->keyring.volume_key != NULL)
        return error_set(why, -EBUSY,
                         "the volume's description, " MANIFEST_OBJECT
                         ", was there just now, and is gone");
    rc = stack->description.is_there ? detect_format_2(stack, &wish, why)
                                     : detect_format_1(stack, &wish, why);
    /* After a stored block has been tried: what it is read with is what is written with. */
    if (rc == 0 && !settings->read_only)
        rc = chain_prove(stack->chain, why);
    if (rc == 0 && !settings->read_only)
        rc = check_objects_fit(stack, why);
    return rc;
}

int
stack_seal(struct stack *stack, struct chain **out, struct error *why)
{
    struct encoding written, only = { 0 };
    char list[ENCODING_JOINED_BYTES];

    encoding_parse(chain_written(stack->chain), &written, NULL);
    for (unsigned i = 0; i < written.count; i++) {
        const struct encoding one = { .count = 1, .tokens = { { 0 } } };
        struct encoding token = one;

        strcpy(token.tokens[0], written.tokens[i]);
        if (is_encrypting(stack, &token, false))
            strcpy(only.tokens[only.count++], written.tokens[i]);
    }
    encoding_format(&only, list, sizeof list);
    return open_chain_as(stack, list, true, out, why);
}

int
stack_lease(struct stack *stack, const struct token *token, struct error *why)
{
    const struct settings *settings = &stack->settings;
    struct lease_config config = {
        .backend = stack->backend,
        .pool = stack->pool,
        .prefix = settings->prefix,
        .is_format_2 = token->is_format_2,
        .lock = { .is_there = true,
                  .value = token->value,
                  .is_local = token->is_local,
                  .lease = { .epoch = token->epoch,
                             .lease_ms = settings->lease_ms,
                             .settle_ms = settings->settle_time_ms } },
        .since_ns = token->since_ns,
        .hold_until_ns = token_hold_until_ns(token),
    };

    if (!token->has_if_match) {
        log_line(BD_WARNING,
                 "the store does not replace objects on a condition: if somebody else takes the "
                 "volume, nothing tells us, and if this machine dies, nothing tells others");
        return 0;
    }
    memcpy(config.lock.owner, token->owner, sizeof config.lock.owner);
    memcpy(config.lock.tag, token->tag, sizeof config.lock.tag);
    memcpy(config.when, token->when, sizeof config.when);
    return lease_begin(&config, stack->stats, &stack->lease, why);
}

int
stack_claim(struct stack *stack, const struct token *token, struct error *why)
{
    struct manifest *manifest = &stack->description.manifest;
    int rc = 0;

    /* A store that shows something old may have hidden the description once. */
    if (token->is_format_2 != stack->layout.is_format_2)
        return error_set(why, -EBUSY, "the volume has just become one of format %d; try again",
                         stack->layout.is_format_2 ? 2 : 1);
    if (!stack->layout.is_format_2)
        return 0;
    if (manifest->epoch == MANIFEST_EPOCH_MAX)
        return error_set(why, -EINVAL,
                         "the volume was mounted %u times, which is as often as "
                         "can be; copy it",
                         MANIFEST_EPOCH_MAX);
    if (stack->is_new && manifest_is_encrypted(manifest)) {
        rc = keyslots_add(manifest, &stack->plugins, &stack->keyring, 0,
                          passphrase_bytes(&stack->keyring.passphrase), "", why);
        keyring_drop_passphrase(&stack->keyring);
    }
    manifest->epoch++;
    if (rc == 0)
        rc = manifest_seal(manifest, &stack->keyring, why);
    if (rc == 0)
        rc = volume_fence_s3backer(stack->backend, &stack->layout, why);
    if (rc == 0)
        rc = volume_manifest_write(stack->backend, &stack->layout, &stack->description, why);
    chain_set_epoch(stack->chain, manifest->epoch);
    if (stack->lease != NULL)
        lease_set_epoch(stack->lease, manifest->epoch);
    stack->is_new = stack->is_new && rc != 0;
    return rc;
}

uint64_t
stack_settled_at_ns(const struct stack *stack)
{
    uint64_t unknown_at_ns = stack->description.unknown_at_ns;

    return unknown_at_ns == 0 ? 0 : unknown_at_ns + stack->settings.settle_time_ms * NS_PER_MS;
}
