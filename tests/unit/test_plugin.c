/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: what it takes, what it refuses, and in which words. */
#include "test.h"

#include "base/options.h"
#include "loader.h"
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Plugins are tried in a directory of their own below /tmp: the build tree may belong to anybody,
 * and root loads nothing from there. */
static char top[PATH_MAX];
static unsigned place_count;

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void
run(const char *format, ...)
{
    char command[3 * PATH_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

/* A new directory with a copy of the plugins of a case; "" for an empty one. */
static const char *
place_of(const char *case_name)
{
    static char dir[PATH_MAX + 32];

    snprintf(dir, sizeof dir, "%s/%u", top, place_count++);
    assert_int_equal(mkdir(dir, 0755), 0);
    if (case_name[0] != '\0')
        run("cp %s/tests/plugins/%s/*.so %s/ && chmod 755 %s/*.so", TEST_BINARY_DIR, case_name, dir,
            dir);
    return dir;
}

static int
load(struct plugins *plugins, const char *dir, struct error *why)
{
    const struct plugin_search search = { .extra = dir };

    why->text[0] = '\0';
    return plugins_load(plugins, &search, why);
}

static const struct plugin *
find(const struct plugins *plugins, const char *name)
{
    for (unsigned i = 0; i < plugins->count; i++) {
        if (strcmp(plugins->all[i].name, name) == 0)
            return &plugins->all[i];
    }
    fail_msg("%s was not found", name);
    return NULL;
}

static void
expect_text(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("expected \"%s\" in: %s", part, text);
}

static void
expect_refused(const char *dir, const char *name, const char *part)
{
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, dir, &why), 0);
    const struct plugin *plugin = find(&plugins, name);

    expect_text(plugin->why.text, part);
    expect_text(plugin->why.text, dir);
    assert_null(plugin->desc.backend);
    assert_int_equal(plugin->desc.codec_count, 0);
    assert_null(plugins_codec(&plugins, "case", NULL));
    plugins_free(&plugins);
}

static const struct {
    const char *name; /* of the case, see tests/plugins/CMakeLists.txt */
    const char *why;
} wrong[] = {
    { "no-symbol", "exports no bd_plugin_query, so it is no plugin of bucketdisk" },
    { "returns-null", "has nothing for plugin ABI 1: its bd_plugin_query returned NULL" },
    { "wrong-magic", "its descriptor begins with 0x12345678 instead of 0x42447001" },
    { "other-major", "its descriptor is made for plugin ABI 7, and this bucketdisk has ABI 1" },
    { "unknown-flags", "its descriptor has flags 0x80, which this bucketdisk does not know" },
    { "reserved", "its descriptor has 0x40 in a member that is reserved and must be 0" },
    { "codec-reserved", "a codec table has 0x20 in a member that is reserved and must be 0" },
    { "short-required", "its descriptor says that it is 40 bytes long; at least 48 are needed" },
    { "null-name", "has no name in its descriptor" },
    { "other-name", "calls itself \"codec-other\", but its file is named \"codec-case.so\"" },
    { "nothing", "provides nothing: no backend, no codec, no key wrap" },
    { "no-open", "its backend has no function \"open\", which is required" },
    { "no-info", "its backend has no function \"info\", which is required" },
    { "no-submit", "its backend has no function \"submit\", which is required" },
    { "no-close", "its backend has no function \"close\", which is required" },
    { "backend-traits", "its backend has traits 0x40, of which this bucketdisk knows 0x1" },
    { "no-decode", "codec \"case\" has no function \"decode\", which is required" },
    { "no-worker-free", "codec \"case\" has no function \"worker_free\", which is required" },
    { "upper-token", "a codec has the token \"Case\": lower-case letters" },
    { "null-token", "a codec has the token \"\": lower-case letters" },
    { "identity", "a codec has the token \"identity\", which means no codec" },
    { "encrypts-declines",
      "codec \"case\" encrypts and may decline: then a block could be stored plain" },
    { "authenticates-declines", "codec \"case\" authenticates and may decline" },
    { "compresses-encrypts", "compresses and also encrypts or authenticates" },
    { "no-traits", "says neither that it compresses, encrypts, authenticates nor transforms" },
    { "codec-short", "a codec table says that it is 104 bytes long; at least 112 are needed" },
    { "codec-stride",
      "the stride of its codecs is 16 bytes; a multiple of 8, at least 112, is needed" },
    { "codec-stride-odd", "the stride of its codecs is 121 bytes; a multiple of 8" },
    { "codec-overlap", "a codec table is 4096 bytes long but only 120 bytes from the next" },
    { "codecs-null", "it says that it has 1 codecs, but not where" },
    { "option-stride",
      "the stride of its options is 16 bytes; a multiple of 8, at least 80, is needed" },
    { "scratch", "its backend wants 2147483647 bytes of scratch in each request; at most 1048576" },
    { "keywrap-no-name", "a key wrap has the name \"\": lower-case letters" },
    { "keywrap-no-unwrap", "key wrap \"case\" has no function \"unwrap\", which is required" },
    { "keywrap-many", "it says that it has 100000 key wraps; at most 1000 are allowed" },
    { "options-many", "it says that it has 4294967295 options; at most 1000 are allowed" },
    { "row-beyond", "option \"level\" of case has a field that ends outside the options struct" },
    { "row-wraps", "option \"level\" of case has a field that ends outside the options struct" },
    { "row-unaligned", "option \"level\" of case has a field that is not aligned" },
    { "row-field", "option \"level\" of case has a field whose size does not fit its type" },
    { "row-type", "option \"level\" of case has a type that this bucketdisk does not know" },
    { "row-flags", "option \"level\" of case has flags that this bucketdisk does not know" },
    { "row-no-name", "option 0 of case has the name \"\": letters, digits and - are allowed" },
    { "row-bad-name", "option 0 of case has the name \"le vel\"" },
    { "row-no-help", "option \"level\" of case has no help line" },
    { "row-bad-default",
      "option \"level\" of case has a bad default: \"lots\" is not a whole number" },
    { "row-default-range",
      "option \"level\" of case has a bad default: 20 is out of range: 1 to 19" },
    { "row-same-name",
      "two options are called --case-Le-vel: \"level\" of case and \"Le-vel\" of case" },
    { "row-two-locations", "two options of case are its location: \"level\" and \"b\"" },
    { "unresolved-now", "cannot be loaded: undefined symbol: bd_a_symbol_that_nobody_has" },
    { "unresolved-lazy", "cannot be loaded: undefined symbol: bd_a_symbol_that_nobody_has" },
};

TEST(plugin, each_wrong_plugin_is_refused_with_its_own_sentence)
{
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        print_message("    %s\n", wrong[i].name);
        expect_refused(place_of(wrong[i].name), "codec-case", wrong[i].why);
    }
}

TEST(plugin, right_plugin_loads_with_options_and_codec)
{
    const char *dir = place_of("good");
    const struct plugin *plugin, *owner = NULL;
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, dir, &why), 0);
    plugin = find(&plugins, "codec-case");
    assert_string_equal(plugin->why.text, "");
    assert_string_equal(plugin->desc.version, "1.0");
    assert_string_equal(plugin_owner(plugin), "case");
    assert_int_equal(plugin->desc.option_count, 2);
    assert_string_equal(plugin->options[1].name, "word");
    assert_non_null(plugin->option_fields);
    assert_ptr_equal(plugins_codec(&plugins, "CASE", &owner), &plugin->codecs[0]);
    assert_ptr_equal(owner, plugin);
    assert_null(plugins_codec(&plugins, "other", &owner));
    assert_null(plugins_backend(&plugins, "case", &why));
    plugins_free(&plugins);
    assert_int_equal(plugins.count, 0);
}

TEST(plugin, table_that_is_shorter_by_optional_members_loads)
{
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, place_of("short-optional"), &why), 0);
    const struct plugin *plugin = find(&plugins, "codec-case");

    /* The codec arrays lie before the cut, the key wraps behind it. */
    assert_string_equal(plugin->why.text, "");
    assert_int_equal(plugin->desc.codec_count, 1);
    assert_null(plugin->desc.keywraps);
    plugins_free(&plugins);
}

TEST(plugin, two_plugins_with_one_token_are_an_error_that_names_both)
{
    const char *dir = place_of("same-token");
    char one[PATH_MAX + 64], two[PATH_MAX + 64];
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, dir, &why), 0);
    assert_int_equal(plugins_check_token(&plugins, "other", &why), 0);
    assert_int_equal(plugins_check(&plugins, &why), -EEXIST);
    expect_text(why.text, "two plugins claim the token \"case\"");
    assert_int_equal(plugins_check_token(&plugins, "CASE", &why), -EEXIST);
    snprintf(one, sizeof one, "%s/codec-one.so", dir);
    snprintf(two, sizeof two, "%s/codec-two.so", dir);
    expect_text(why.text, "two plugins claim the token \"CASE\"");
    expect_text(why.text, one);
    expect_text(why.text, two);
    assert_int_equal(plugins.count, 2);
    plugins_free(&plugins);
}

TEST(plugin, key_wrap_alone_is_enough_and_two_of_a_name_are_not_allowed)
{
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, place_of("keywrap"), &why), 0);
    assert_string_equal(plugins.all[0].why.text, "");
    assert_string_equal(plugins.all[0].keywraps[0].name, "case");
    assert_string_equal(plugin_owner(&plugins.all[0]), "case");
    plugins_free(&plugins);
    assert_int_equal(load(&plugins, place_of("same-keywrap"), &why), 0);
    assert_int_equal(plugins_check_keywrap(&plugins, "other", &why), 0);
    assert_int_equal(plugins_check_keywrap(&plugins, "case", &why), -EEXIST);
    expect_text(why.text, "two plugins claim the key wrap \"case\"");
    expect_text(why.text, "codec-one.so and /");
    plugins_free(&plugins);
}

TEST(plugin, file_that_is_no_elf_or_empty_is_refused)
{
    const char *dir = place_of("");

    run("echo hello, I am a plugin > %s/codec-text.so; : > %s/codec-empty.so", dir, dir);
    expect_refused(dir, "codec-empty", "cannot be loaded: file too short");
    expect_refused(dir, "codec-text", "cannot be loaded: ");
}

TEST(plugin, directory_and_fifo_named_like_a_plugin_are_refused)
{
    const char *dir = place_of("");

    run("mkdir %s/codec-dir.so && mkfifo %s/codec-fifo.so", dir, dir);
    expect_refused(dir, "codec-dir", "is no regular file");
    expect_refused(dir, "codec-fifo", "is no regular file");
}

TEST(plugin, file_name_with_upper_case_is_refused)
{
    expect_refused(place_of("upper-name"), "codec-Case",
                   "a plugin's file name has lower-case letters, digits and - before .so");
}

TEST(plugin, la_file_beside_does_not_redirect_the_loader)
{
    const char *dir = place_of("good");
    struct plugins plugins;
    struct error why;

    run("printf \"dlname='codec-evil.so'\\nlibrary_names='codec-evil.so'\\ninstalled=yes\\n"
        "libdir='/nowhere'\\n\" > %s/codec-case.la",
        dir);
    assert_int_equal(load(&plugins, dir, &why), 0);
    assert_int_equal(plugins.count, 1);
    assert_string_equal(find(&plugins, "codec-case")->why.text, "");
    plugins_free(&plugins);
}

TEST(plugin, hidden_files_and_other_names_are_not_looked_at)
{
    const char *dir = place_of("");
    struct plugins plugins;
    struct error why;

    run("touch %s/.codec-x.so %s/codec-x.so.1 %s/README %s/.so", dir, dir, dir, dir);
    assert_int_equal(load(&plugins, dir, &why), 0);
    assert_int_equal(plugins.count, 0);
    plugins_free(&plugins);
}

TEST(plugin, link_to_a_plugin_is_followed)
{
    char target[PATH_MAX + 32];
    const char *dir;
    struct plugins plugins;
    struct error why;

    snprintf(target, sizeof target, "%s", place_of("good"));
    dir = place_of("");
    run("ln -s ../$(basename %s)/codec-case.so %s/codec-case.so", target, dir);
    assert_int_equal(load(&plugins, dir, &why), 0);
    assert_string_equal(find(&plugins, "codec-case")->why.text, "");
    plugins_free(&plugins);
}

TEST(plugin, first_of_a_name_wins)
{
    char both[2 * PATH_MAX], first[PATH_MAX + 32];
    struct plugins plugins;
    struct error why;

    snprintf(first, sizeof first, "%s", place_of("good"));
    snprintf(both, sizeof both, "%s:%s", first, place_of("wrong-magic"));
    assert_int_equal(load(&plugins, both, &why), 0);
    assert_int_equal(plugins.count, 1);
    assert_string_equal(plugins.all[0].why.text, "");
    assert_memory_equal(plugins.all[0].path, first, strlen(first));
    plugins_free(&plugins);
}

TEST(plugin, search_path_may_name_one_file)
{
    char file[PATH_MAX + 64];
    struct plugins plugins;
    struct error why;

    snprintf(file, sizeof file, "%s/codec-two.so", place_of("same-token"));
    assert_int_equal(load(&plugins, file, &why), 0);
    assert_int_equal(plugins.count, 1);
    assert_string_equal(plugins.all[0].name, "codec-two");
    assert_string_equal(plugins.all[0].why.text, "");
    plugins_free(&plugins);
}

TEST(plugin, relative_search_path_is_refused)
{
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, "/tmp:plugins", &why), -EINVAL);
    assert_string_equal(why.text, "--plugin-path: \"plugins\" is not an absolute path");
    assert_int_equal(plugins.count, 0);
}

TEST(plugin, builtin_only_looks_nowhere_else)
{
    const struct plugin_search search = { .extra = place_of("good"), .builtin_only = true };
    struct plugins plugins;
    struct error why;

    assert_int_equal(plugins_load(&plugins, &search, &why), 0);
    assert_null(plugins_codec(&plugins, "case", NULL));
    plugins_free(&plugins);
}

TEST(plugin, environment_counts_for_users_but_not_for_root)
{
    struct plugins plugins;
    struct error why;

    setenv("BUCKETDISK_PLUGIN_PATH", place_of("good"), 1);
    assert_int_equal(load(&plugins, NULL, &why), 0);
    unsetenv("BUCKETDISK_PLUGIN_PATH");
    if (geteuid() == 0)
        assert_null(plugins_codec(&plugins, "case", NULL));
    else
        assert_non_null(plugins_codec(&plugins, "case", NULL));
    plugins_free(&plugins);
}

TEST(plugin, missing_backend_is_an_error_that_says_what_there_is_and_where)
{
    const char *dir = place_of("good-backend");
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, dir, &why), 0);
    assert_non_null(plugins_backend(&plugins, "case", &why));
    assert_non_null(plugins_backend(&plugins, "backend-case", &why));
    assert_null(plugins_backend(&plugins, "s3", &why));
    expect_text(why.text, "there is no backend \"s3\"; found: case; searched: ");
    expect_text(why.text, dir);
    plugins_free(&plugins);
}

TEST(plugin, broken_backend_is_an_error_that_says_what_is_wrong)
{
    const char *dir = place_of("");
    struct plugins plugins;
    struct error why;

    run(": > %s/backend-s3.so", dir);
    assert_int_equal(load(&plugins, dir, &why), 0);
    assert_null(plugins_backend(&plugins, "s3", &why));
    expect_text(why.text, "backend \"s3\" is no good: ");
    expect_text(why.text, "/backend-s3.so: cannot be loaded: file too short");
    plugins_free(&plugins);
}

/* ------------------------------------------------------------------ other headers */

static enum bd_status completed;

static void
complete(struct bd_io *io, enum bd_status status)
{
    assert_non_null(io);
    completed = status;
}

/* Room that ends where the process may touch nothing: a plugin whose struct is longer must not, either. */
static void *
room_before_nothing(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(pages, MAP_FAILED);
    assert_true(bytes <= page);
    assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    return pages + page - bytes;
}

static void
room_free(void *room)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    munmap((void *)((uintptr_t)room & ~(page - 1)), 2 * page);
}

static void
expect_age_works(const struct plugins *plugins, const char *age)
{
    struct bd_host *host = room_before_nothing(sizeof *host);
    struct bd_backend_info *info = room_before_nothing(sizeof *info);
    struct bd_io *io = room_before_nothing(sizeof *io);
    struct bd_coding *coding = room_before_nothing(sizeof *coding);
    uint8_t data[64] = { 0 };
    const struct plugin *plugin;
    struct options *options;
    struct error why = { "" };
    char name[40];
    void *handle;

    snprintf(name, sizeof name, "backend-%s", age);
    plugin = find(plugins, name);
    assert_string_equal(plugin->why.text, "");

    /* Rows at their stride: defaults land in the right fields. */
    assert_int_equal(options_new(&options), 0);
    assert_int_equal(options_add(options, age, plugin->options, plugin->desc.option_count,
                                 sizeof *plugin->options, plugin->option_fields, &why),
                     0);
    snprintf(name, sizeof name, "%s-kind", age);
    assert_int_equal(options_set(options, name, "second", &why), 0);
    struct {
        uint64_t size_bytes;
        const char *word;
        uint32_t kind;
    } fields;
    assert_true(plugin->desc.options_bytes >= sizeof fields);
    memcpy(&fields, plugin->option_fields, sizeof fields);
    assert_int_equal(fields.size_bytes, 4096);
    assert_string_equal(fields.word, "hello");
    assert_int_equal(fields.kind, 1);

    /* The backend. */
    *host = (struct bd_host){ .head = BD_HEAD(HOST, struct bd_host), .complete = complete };
    info->size = sizeof *info;
    *io = (struct bd_io){ .size = sizeof *io, .op = BD_GET, .data = data, .cap = sizeof data };
    assert_int_equal(plugin->backend.scratch_bytes, 24);
    assert_int_equal(plugin->backend.open(host, plugin->option_fields, NULL, &handle), BD_OK);
    plugin->backend.info(handle, info);
    assert_string_equal(info->identity, "hello");
    completed = BD_FATAL;
    plugin->backend.submit(handle, io);
    assert_int_equal(completed, BD_OK);
    assert_int_equal(io->len, sizeof data);
    assert_int_equal(data[63], 'h');
    plugin->backend.close(handle);

    /* Codecs at their stride. */
    *coding = (struct bd_coding){ .size = sizeof *coding, .inner = "" };
    for (unsigned i = 1; i <= 3; i++) {
        const uint8_t plain[4] = { 10, 20, 30, 255 };
        uint8_t coded[4], back[4];
        struct bd_buf out = { .data = coded, .cap = sizeof coded };
        struct bd_buf again = { .data = back, .cap = sizeof back };
        const struct bd_codec *codec;

        snprintf(name, sizeof name, "%s-%u", age, i);
        codec = plugins_codec(plugins, name, NULL);
        assert_non_null(codec);
        assert_int_equal(codec->open(host, NULL, codec->token, &handle), BD_OK);
        assert_int_equal(codec->encode(handle, NULL, coding, (struct bd_bytes){ plain, 4 }, &out),
                         BD_OK);
        assert_int_equal(coded[0], 10 + i);
        assert_int_equal(coded[3], i - 1);
        assert_int_equal(codec->decode(handle, NULL, coding, (struct bd_bytes){ coded, 4 }, &again),
                         BD_OK);
        assert_memory_equal(back, plain, sizeof plain);
        codec->close(handle);
    }
    options_free(options);
    room_free(host);
    room_free(info);
    room_free(io);
    room_free(coding);
}

TEST(plugin, plugin_built_with_the_frozen_header_loads_and_works)
{
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, place_of("frozen"), &why), 0);
    expect_age_works(&plugins, "frozen");
    assert_int_equal(plugins.all[0].desc.head.abi_major, 1);
    assert_int_equal(plugins.all[0].desc.abi_minor, 0);
    plugins_free(&plugins);
}

TEST(plugin, plugin_built_with_an_older_header_loads_and_works)
{
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, place_of("older"), &why), 0);
    expect_age_works(&plugins, "older");
    assert_true(plugins.all[0].desc.head.size < sizeof(struct bd_plugin));
    plugins_free(&plugins);
}

TEST(plugin, plugin_built_with_a_newer_header_loads_and_works)
{
    struct plugins plugins;
    struct error why;

    assert_int_equal(load(&plugins, place_of("newer"), &why), 0);
    expect_age_works(&plugins, "newer");
    assert_int_equal(plugins.all[0].desc.abi_minor, 900);
    assert_true(plugins.all[0].desc.head.size > sizeof(struct bd_plugin));
    assert_true(plugins.all[0].backend.head.size > sizeof(struct bd_backend));
    assert_true(plugins.all[0].desc.codec_stride > sizeof(struct bd_codec));
    assert_true(plugins.all[0].desc.option_stride > sizeof(struct bd_option));
    plugins_free(&plugins);
}

/* ------------------------------------------------------------------ whom root trusts */

#define ROOT_ONLY()                                                                                \
    do {                                                                                           \
        if (geteuid() != 0)                                                                        \
            skip();                                                                                \
    } while (0)

TEST(plugin, root_refuses_a_directory_that_others_may_write)
{
    const char *dir = place_of("good");

    ROOT_ONLY();
    run("chmod 777 %s", dir);
    expect_refused(dir, "codec-case", "is writable by its group or by others (mode 0777)");
    run("chmod 1777 %s", dir);
    expect_refused(dir, "codec-case", "is writable by its group or by others (mode 1777)");
    run("chmod 775 %s", dir);
    expect_refused(dir, "codec-case", "is writable by its group or by others (mode 0775)");
}

TEST(plugin, root_refuses_a_file_that_others_may_write_or_own)
{
    const char *dir = place_of("good");

    ROOT_ONLY();
    run("chmod 757 %s/codec-case.so", dir);
    expect_refused(dir, "codec-case", "codec-case.so is writable by its group or by others");
    run("chmod 755 %s/codec-case.so; chown 12345 %s/codec-case.so", dir, dir);
    expect_refused(dir, "codec-case", "codec-case.so belongs to user 12345");
}

TEST(plugin, root_refuses_a_directory_of_somebody_else_anywhere_above)
{
    char deep[PATH_MAX + 64];
    const char *dir = place_of("good");

    ROOT_ONLY();
    snprintf(deep, sizeof deep, "%s/a/b", dir);
    run("mkdir -p %s && mv %s/codec-case.so %s/ && chown 12345 %s/a", deep, dir, deep, dir);
    expect_refused(deep, "codec-case", "/a belongs to user 12345");
    run("chown 0 %s/a && chmod 777 %s/a", dir, dir);
    expect_refused(deep, "codec-case", "/a is writable by its group or by others (mode 0777)");
}

TEST(plugin, root_accepts_a_sticky_directory_further_up)
{
    char deep[PATH_MAX + 64];
    const char *dir = place_of("good");
    struct plugins plugins;
    struct error why;

    ROOT_ONLY();
    snprintf(deep, sizeof deep, "%s/a/b", dir);
    run("mkdir -p %s && mv %s/codec-case.so %s/ && chmod 1777 %s/a", deep, dir, deep, dir);
    assert_int_equal(load(&plugins, deep, &why), 0);
    assert_string_equal(find(&plugins, "codec-case")->why.text, "");
    plugins_free(&plugins);
}

TEST(plugin, root_follows_links_and_checks_where_they_lead)
{
    char target[PATH_MAX + 32], middle[PATH_MAX + 32];
    const char *dir;

    ROOT_ONLY();
    snprintf(target, sizeof target, "%s", place_of("good"));
    snprintf(middle, sizeof middle, "%s", place_of(""));
    dir = place_of("");
    run("ln -s %s/codec-case.so %s/codec-case.so && ln -s %s/codec-case.so %s/codec-case.so",
        target, middle, middle, dir);
    /* The file and both ends are root's, but anybody may change the link in the middle. */
    run("chmod 777 %s", middle);
    expect_refused(dir, "codec-case", middle);
    run("chmod 755 %s; chown -h 12345 %s/codec-case.so", middle, dir);
    expect_refused(dir, "codec-case", "belongs to user 12345");
    run("chown -h 0 %s/codec-case.so; chmod 777 %s", dir, target);
    expect_refused(dir, "codec-case", target);
}

TEST(plugin, trust_extends_to_one_more_owner_when_told)
{
    char file[PATH_MAX + 64];
    const char *dir = place_of("good");
    struct error why;

    ROOT_ONLY();
    snprintf(file, sizeof file, "%s/../%s/./codec-case.so", dir, strrchr(dir, '/') + 1);
    run("chown 12345 %s %s/codec-case.so", dir, dir);
    assert_int_equal(trust_path(file, 0, &why), -EPERM);
    assert_int_equal(trust_path(file, 12345, &why), 0);
    assert_int_equal(trust_path("codec-case.so", 12345, &why), -EINVAL);
    run("ln -s codec-loop.so %s/codec-loop.so", dir);
    snprintf(file, sizeof file, "%s/codec-loop.so", dir);
    assert_int_equal(trust_path(file, 12345, &why), -ELOOP);
}

static int
setup(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/bucketdisk-test-plugin-XXXXXX");
    umask(022);
    return mkdtemp(top) != NULL && chmod(top, 0755) == 0 ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    run("rm -rf %s", top);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(plugin, each_wrong_plugin_is_refused_with_its_own_sentence),
        RUN(plugin, right_plugin_loads_with_options_and_codec),
        RUN(plugin, table_that_is_shorter_by_optional_members_loads),
        RUN(plugin, two_plugins_with_one_token_are_an_error_that_names_both),
        RUN(plugin, key_wrap_alone_is_enough_and_two_of_a_name_are_not_allowed),
        RUN(plugin, file_that_is_no_elf_or_empty_is_refused),
        RUN(plugin, directory_and_fifo_named_like_a_plugin_are_refused),
        RUN(plugin, file_name_with_upper_case_is_refused),
        RUN(plugin, la_file_beside_does_not_redirect_the_loader),
        RUN(plugin, hidden_files_and_other_names_are_not_looked_at),
        RUN(plugin, link_to_a_plugin_is_followed),
        RUN(plugin, first_of_a_name_wins),
        RUN(plugin, search_path_may_name_one_file),
        RUN(plugin, relative_search_path_is_refused),
        RUN(plugin, builtin_only_looks_nowhere_else),
        RUN(plugin, environment_counts_for_users_but_not_for_root),
        RUN(plugin, missing_backend_is_an_error_that_says_what_there_is_and_where),
        RUN(plugin, broken_backend_is_an_error_that_says_what_is_wrong),
        RUN(plugin, plugin_built_with_the_frozen_header_loads_and_works),
        RUN(plugin, plugin_built_with_an_older_header_loads_and_works),
        RUN(plugin, plugin_built_with_a_newer_header_loads_and_works),
        RUN(plugin, root_refuses_a_directory_that_others_may_write),
        RUN(plugin, root_refuses_a_file_that_others_may_write_or_own),
        RUN(plugin, root_refuses_a_directory_of_somebody_else_anywhere_above),
        RUN(plugin, root_accepts_a_sticky_directory_further_up),
        RUN(plugin, root_follows_links_and_checks_where_they_lead),
        RUN(plugin, trust_extends_to_one_more_owner_when_told),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
