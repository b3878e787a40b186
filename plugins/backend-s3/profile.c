/* SPDX-License-Identifier: Apache-2.0 */
/* How stores differ, as data.
 *
 * Sources: the stores' own documents of their S3 interfaces, and for those in tests/servers what they
 * answered (tests/servers/README.md). */
#include "profile.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define GENERIC 0 /* the row for whom nothing is known */

/* clang-format off */
static const struct s3_profile profiles[] = {
    { .name = "generic", .if_put = true, .idle_s = 20 },
    { .name = "amazon", .hosts = { ".amazonaws.com", ".amazonaws.com.cn" },
      .region_in_host = true, .is_vhost = true, .if_put = true, .if_delete = true, .idle_s = 15 },
    { .name = "backblaze", .hosts = { ".backblazeb2.com" }, .region_in_host = true, .idle_s = 20 },
    { .name = "ceph", .if_put = true, .etag_bare = true, .idle_s = 60 },
    { .name = "cloudflare", .hosts = { ".r2.cloudflarestorage.com" }, .region = "auto",
      .if_put = true, .idle_s = 60 },
    { .name = "digitalocean", .hosts = { ".digitaloceanspaces.com" }, .region_in_host = true,
      .if_put = true, .idle_s = 20 },
    { .name = "google", .hosts = { "storage.googleapis.com" }, .region = "auto",
      .delete_single = true, .idle_s = 60 },
    { .name = "minio", .if_put = true, .idle_s = 30 },
    { .name = "s3rver", .delete_single = true, .idle_s = 5 },
    { .name = "swift", .is_eventual = true, .idle_s = 50 },
    { .name = "wasabi", .hosts = { ".wasabisys.com" }, .region_in_host = true, .idle_s = 20 },
};
/* clang-format on */

const char *const profile_names[] = {
    "auto",   "generic", "amazon", "backblaze", "ceph",   "cloudflare", "digitalocean",
    "google", "minio",   "s3rver", "swift",     "wasabi", NULL,
};

/* Where the matching end begins, or NULL. */
static const char *
match(const struct s3_profile *profile, const char *host)
{
    size_t host_bytes = strcspn(host, ":"); /* the port is no part of the name */

    for (size_t i = 0; i < sizeof profile->hosts / sizeof profile->hosts[0]; i++) {
        const char *end = profile->hosts[i];

        if (end != NULL && strlen(end) <= host_bytes
            && strncasecmp(host + host_bytes - strlen(end), end, strlen(end)) == 0)
            return host + host_bytes - strlen(end);
    }
    return NULL;
}

const struct s3_profile *
profile_of(unsigned choice, const char *host)
{
    const size_t count = sizeof profiles / sizeof profiles[0];

    if (choice > 0 && choice <= count)
        return &profiles[choice - 1];
    for (size_t i = 0; i < count; i++) {
        if (match(&profiles[i], host) != NULL)
            return &profiles[i];
    }
    return &profiles[GENERIC];
}

void
profile_region(const struct s3_profile *profile, const char *host, char *region,
               unsigned region_bytes)
{
    const char *end = match(profile, host), *begin = end;

    if (!profile->region_in_host || end == NULL)
        return;
    while (begin > host && begin[-1] != '.')
        begin--;
    if (end == begin || (size_t)(end - begin) >= region_bytes || strncasecmp(begin, "s3.", 3) == 0
        || strncasecmp(begin, "s3-", 3) == 0)
        return;
    memcpy(region, begin, (size_t)(end - begin));
    region[end - begin] = '\0';
}
