/* SPDX-License-Identifier: Apache-2.0 */
/* plugins/backend-s3/endpoint.c and profile.c: where requests go, and whose store it is. */
#include "test.h"

#include "endpoint.h"
#include "profile.h"

#include <string.h>

enum { PATH, VHOST, MUST };

static const struct {
    const char *base_url, *region, *bucket;
    bool is_plain;
    int style;
    const char *scheme, *host, *path; /* scheme NULL: refused */
} cases[] = {
    { NULL, "us-east-1", "disk", false, PATH, "https", "s3.us-east-1.amazonaws.com", "/disk/" },
    { NULL, "eu-west-1", "disk", false, VHOST, "https", "disk.s3.eu-west-1.amazonaws.com", "/" },
    { NULL, "eu-west-1", "disk", true, VHOST, "http", "disk.s3.eu-west-1.amazonaws.com", "/" },
    { NULL, "cn-north-1", "disk", false, VHOST, "https", "disk.s3.cn-north-1.amazonaws.com.cn",
      "/" },
    /* A wildcard certificate covers one label. */
    { NULL, "eu-west-1", "my.disk", false, VHOST, "https", "s3.eu-west-1.amazonaws.com",
      "/my.disk/" },
    { NULL, "eu-west-1", "my.disk", true, VHOST, "http", "my.disk.s3.eu-west-1.amazonaws.com",
      "/" },
    { NULL, "eu-west-1", "my.disk", false, MUST, NULL, NULL, NULL },
    { NULL, "eu-west-1", "Disk", false, VHOST, "https", "s3.eu-west-1.amazonaws.com", "/Disk/" },
    { NULL, "eu west", "disk", false, VHOST, NULL, NULL, NULL },
    { NULL, "evil.example/", "disk", false, VHOST, NULL, NULL, NULL },
    { "http://127.0.0.1:9000/", "r", "disk", false, PATH, "http", "127.0.0.1:9000", "/disk/" },
    { "http://127.0.0.1:9000", "r", "disk", false, VHOST, "http", "127.0.0.1:9000", "/disk/" },
    { "http://[::1]:9000/", "r", "disk", false, VHOST, "http", "[::1]:9000", "/disk/" },
    { "http://localhost:9000/", "r", "disk", false, MUST, "http", "disk.localhost:9000", "/" },
    { "HTTPS://S3.Example.COM:443/", "r", "disk", false, PATH, "https", "s3.example.com",
      "/disk/" },
    { "http://s3.example.com:80/", "r", "disk", false, PATH, "http", "s3.example.com", "/disk/" },
    { "http://s3.example.com:443/", "r", "disk", false, PATH, "http", "s3.example.com:443",
      "/disk/" },
    { "https://example.com/s3/gate", "r", "disk", false, PATH, "https", "example.com",
      "/s3/gate/disk/" },
    { "s3.example.com", "r", "disk", false, PATH, "https", "s3.example.com", "/disk/" },
    { "s3.example.com", "r", "disk", true, PATH, "http", "s3.example.com", "/disk/" },
    { "ftp://s3.example.com/", "r", "disk", false, PATH, NULL, NULL, NULL },
    { "https://user:pw@s3.example.com/", "r", "disk", false, PATH, NULL, NULL, NULL },
    { "ftp://user:pw@s3.example.com/", "r", "disk", false, PATH, NULL, NULL, NULL },
    { "user:pw@s3.example.com", "r", "disk", false, PATH, NULL, NULL, NULL },
    { "https://user:p/pw@s3.example.com/", "r", "disk", false, PATH, NULL, NULL, NULL },
    { "https://s3.example.com/?a=b", "r", "disk", false, PATH, NULL, NULL, NULL },
    { "https://", "r", "disk", false, PATH, NULL, NULL, NULL },
    { "https://a b/", "r", "disk", false, PATH, NULL, NULL, NULL },
};

TEST(endpoint, urls_buckets_and_regions_give_hosts_and_paths)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct endpoint_config config = {
            .base_url = cases[i].base_url,
            .region = cases[i].region,
            .bucket = cases[i].bucket,
            .is_tls = !cases[i].is_plain,
            .wants_vhost = cases[i].style != PATH,
            .must_vhost = cases[i].style == MUST,
        };
        struct endpoint endpoint;
        char why[256] = "";
        bool is_made = endpoint_make(&config, &endpoint, why, sizeof why);

        if (is_made != (cases[i].scheme != NULL))
            fail_msg("case %zu: %s", i, why);
        if (!is_made) {
            assert_string_not_equal(why, "");
            assert_null(strstr(why, "pw"));
            continue;
        }
        assert_string_equal(endpoint.scheme, cases[i].scheme);
        assert_string_equal(endpoint.host, cases[i].host);
        assert_string_equal(endpoint.path, cases[i].path);
        assert_int_equal(endpoint.is_derived, cases[i].base_url == NULL);
    }
}

TEST(endpoint, the_longest_of_everything_fits_or_is_refused)
{
    char url[700] = "https://", bucket[BUCKET_BYTES_MAX + 1];
    struct endpoint_config config = { .base_url = url, .region = "r", .bucket = bucket };
    struct endpoint endpoint;
    char why[256];

    memset(bucket, 'b', BUCKET_BYTES_MAX);
    bucket[BUCKET_BYTES_MAX] = '\0';
    for (size_t host = 1; host < 300; host++) {
        memset(url + 8, 'h', host);
        url[8 + host] = '/';
        memset(url + 8 + host + 1, 'p', 300);
        for (size_t path = 0; path < 300; path += 7) {
            url[8 + host + 1 + path] = '\0';
            endpoint_make(&config, &endpoint, why, sizeof why);
            url[8 + host + 1 + path] = 'p';
        }
    }
}

TEST(profile, the_choices_are_the_profiles_in_order)
{
    unsigned choice = 1;

    assert_string_equal(profile_names[0], "auto");
    for (; profile_names[choice] != NULL; choice++)
        assert_string_equal(profile_of(choice, "")->name, profile_names[choice]);
    assert_string_equal(profile_of(choice, "")->name, "generic");
}

TEST(profile, host_names_tell_whose_store_it_is)
{
    static const char *const hosts[][3] = {
        { "s3.eu-west-1.amazonaws.com", "amazon", "eu-west-1" },
        { "s3.cn-north-1.amazonaws.com.cn", "amazon", "cn-north-1" },
        { "S3.amazonaws.com:443", "amazon", "" },
        { "s3-accelerate.amazonaws.com", "amazon", "" },
        { "s3.wasabisys.com", "wasabi", "" },
        { "s3.amazonaws.com.evil.example", "generic", "" },
        { "s3.us-west-004.backblazeb2.com", "backblaze", "us-west-004" },
        { "fra1.digitaloceanspaces.com", "digitalocean", "fra1" },
        { "abc.r2.cloudflarestorage.com", "cloudflare", "" },
        { "storage.googleapis.com", "google", "" },
        { "s3.eu-central-1.wasabisys.com:443", "wasabi", "eu-central-1" },
        { "127.0.0.1:9000", "generic", "" },
        { "", "generic", "" },
        { ".wasabisys.com", "wasabi", "" },
    };

    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        const struct s3_profile *profile = profile_of(0, hosts[i][0]);
        char region[64] = "";

        assert_string_equal(profile->name, hosts[i][1]);
        profile_region(profile, hosts[i][0], region, sizeof region);
        assert_string_equal(region, hosts[i][2]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(endpoint, urls_buckets_and_regions_give_hosts_and_paths),
        RUN(endpoint, the_longest_of_everything_fits_or_is_refused),
        RUN(profile, the_choices_are_the_profiles_in_order),
        RUN(profile, host_names_tell_whose_store_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
