/* SPDX-License-Identifier: Apache-2.0 */
/* What a shared object exports, read from its file: the dynamic linker would run its code. */
#include "impl.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
    const unsigned char *bytes;
    size_t len;
};

/* `count` things of `bytes` at `offset` of the file, if they are in it. */
static const void *
image_at(const struct image *image, uint64_t offset, uint64_t count, uint64_t bytes)
{
    if (offset > image->len || (bytes > 0 && count > (image->len - offset) / bytes))
        return NULL;
    return image->bytes + offset;
}

/* Sanitizers and gcov put symbols of their own into every object, old linkers marks of its parts. */
static bool
is_of_the_toolchain(const char *name)
{
    static const char *const begins[] = { "__asan",      "__odr_asan", "__ubsan", "__tsan",
                                          "__lsan",      "__gcov",     "_edata",  "_end",
                                          "__bss_start", "_init",      "_fini" };

    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        if (strncmp(name, begins[i], strlen(begins[i])) == 0)
            return true;
    }
    return false;
}

static void
symbols_check(struct check *check, const struct image *image, const ElfW(Shdr) * table,
              const ElfW(Shdr) * strings)
{
    const ElfW(Sym) *symbols = image_at(image, table->sh_offset, table->sh_size, 1);
    const char *texts = image_at(image, strings->sh_offset, strings->sh_size, 1);
    bool is_query_there = false;

    if (symbols == NULL || texts == NULL || strings->sh_size == 0
        || texts[strings->sh_size - 1] != '\0') {
        check_fail(check, "its table of symbols is damaged");
        return;
    }
    for (size_t i = 0; i < table->sh_size / sizeof *symbols; i++) {
        const ElfW(Sym) *symbol = &symbols[i];
        const char *name = symbol->st_name < strings->sh_size ? texts + symbol->st_name : "";

        if (symbol->st_shndx == SHN_UNDEF || name[0] == '\0' || is_of_the_toolchain(name)
            || (symbol->st_info >> 4) == STB_LOCAL)
            continue;
        if (strcmp(name, "bd_plugin_query") == 0)
            is_query_there = true;
        else
            check_fail(check,
                       "expected bd_plugin_query alone, and it exports %s: compile with "
                       "-fvisibility=hidden, link with -Wl,--exclude-libs,ALL",
                       name);
    }
    if (!is_query_there)
        check_fail(check, "it exports no bd_plugin_query");
}

static void
image_check(struct check *check, const struct image *image)
{
    const ElfW(Ehdr) *head = image_at(image, 0, 1, sizeof *head);
    const ElfW(Shdr) * sections;

    if (head == NULL || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0
        || head->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)) {
        check_fail(check, "it is no shared object of this machine");
        return;
    }
    sections = image_at(image, head->e_shoff, head->e_shnum, sizeof *sections);
    for (unsigned i = 0; sections != NULL && i < head->e_shnum; i++) {
        if (sections[i].sh_type != SHT_DYNSYM || sections[i].sh_link >= head->e_shnum)
            continue;
        symbols_check(check, image, &sections[i], &sections[sections[i].sh_link]);
        return;
    }
    check_fail(check, "it has no table of dynamic symbols: link it with -shared");
}

void
check_exports(struct check *check)
{
    struct image image = { NULL, 0 };
    const int fd = open(check->config->file, O_RDONLY | O_CLOEXEC);
    struct stat status;
    void *bytes;

    if (fd == -1 || fstat(fd, &status) != 0) {
        check_fail(check, "it cannot be read: %m");
        return;
    }
    bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED) {
        check_fail(check, "it cannot be read: %m");
        return;
    }
    image = (struct image){ bytes, (size_t)status.st_size };
    image_check(check, &image);
    munmap(bytes, image.len);
}
