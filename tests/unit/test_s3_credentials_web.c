/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials that a service gives: the token service, a container's, an instance's.
 *
 * What is secret in a test has MARKER in it, and no line of the log ever may. */
#include "s3_credentials.h"

/* ------------------------------------------------------------------ the token service */

static void
expect_xml(const char *text, const char *fault)
{
    struct keys keys;
    char why[128] = "";
    bool ok = xml_parse_keys(text, strlen(text), &keys, why, sizeof why);

    if (ok != (fault == NULL) || (fault != NULL && strstr(why, fault) == NULL))
        fail_msg("%s: %s", text, why);
    assert_null(strstr(why, "MARKER"));
    if (ok) {
        assert_string_equal(keys.access_id, "AKSTS");
        assert_string_equal(keys.secret, "MARKER-8");
        assert_string_equal(keys.token, "MARKER-9");
    }
    keys_clear(&keys);
}

#define STS_FIELDS                                                                                 \
    "<AccessKeyId>AKSTS</AccessKeyId><SecretAccessKey>MARKER-8</SecretAccessKey>"                  \
    "<SessionToken>\nMARKER-9\n</SessionToken>"
#define STS_UNTIL(date)                                                                            \
    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>"   \
    "<AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials>" STS_FIELDS "<Expiration>" date  \
    "</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
#define STS_ANSWER STS_UNTIL("2199-01-02T03:04:05Z")

TEST(xml, what_gives_keys)
{
    expect_xml(STS_ANSWER, NULL);
    expect_xml("<a:r xmlns:a='x'><a:Credentials>" STS_FIELDS
               "<a:Expiration>2199-01-02T03:04:05Z</a:Expiration></a:Credentials></a:r>",
               NULL);
    expect_xml("<r><Credentials>" STS_FIELDS "</Credentials></r>", "Expiration");
    expect_xml(STS_UNTIL("MARKER"), "Expiration");
    expect_xml("<r>" STS_FIELDS "<Expiration>2199-01-02T03:04:05Z</Expiration></r>", "Expiration");
    expect_xml("<r><Credentials><Expiration>2199-01-02T03:04:05Z</Expiration>"
               "<AccessKeyId>A</AccessKeyId></Credentials></r>",
               "no secret");
    expect_xml("<r><Credentials>" STS_FIELDS STS_FIELDS "</Credentials></r>", "not the XML");
    expect_xml("<!DOCTYPE r [<!ENTITY e 'x'>]>" STS_ANSWER, "not the XML");
    expect_xml("<r><Credentials>" STS_FIELDS, "not the XML");
    expect_xml("MARKER", "not the XML");
    expect_xml("", "not the XML");
}

/* Sets the endpoint, and AKBASE in a profile "base". */
static void
sts_home(const char *config)
{
    home_file(".aws/config", config);
    home_file(".aws/credentials", "[base]\naws_access_key_id = AKBASE\n"
                                  "aws_secret_access_key = MARKER-base\n"
                                  "[self]\naws_access_key_id = AKSELF\n"
                                  "aws_secret_access_key = MARKER-self\n");
    set_url("AWS_ENDPOINT_URL_STS", "");
    web_answer(web, "POST /", NULL, 200, STS_ANSWER);
}

TEST(credentials, a_role_is_assumed_with_the_keys_of_another_profile)
{
    sts_home("[profile app]\nrole_arn = arn:aws:iam::1:role/app\nsource_profile = base\n"
             "external_id = a b&c\nrole_session_name = me\nduration_seconds = 900\n");
    open_with(.profile = "app", .region = "us-west-2");
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "Credential=AKBASE/"), 1);
    assert_int_equal(web_seen(web, "/us-west-2/sts/aws4_request"), 1);
    assert_int_equal(web_seen(web,
                              "Action=AssumeRole&Version=2011-06-15"
                              "&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fapp"
                              "&RoleSessionName=me&ExternalId=a%20b%26c&DurationSeconds=900\n"),
                     1);
    assert_int_equal(web_seen(web, "MARKER"), 0); /* a secret signs, and is not sent */
}

/* The server's side: sign what arrived, with its own date. */
TEST(credentials, what_is_signed_is_what_is_sent)
{
    static struct http_request http = { .method = "POST", .path = "/", .query = "" };
    struct credentials base = { .access_id = "AKBASE", .secret = "MARKER-base" };
    static struct sigv4_key key;
    char got[512], date[64], host[64], type[128], body[512], digest[65];
    struct tm tm = { 0 };

    sts_home("[profile app]\nrole_arn = arn:x\nsource_profile = base\nrole_session_name = me\n");
    open_with(.profile = "app", .region = "us-west-2");
    web_header(web, "\nauthorization", got, sizeof got);
    web_header(web, "\nx-amz-date", date, sizeof date);
    web_header(web, "\nhost", host, sizeof host);
    web_header(web, "\ncontent-type", type, sizeof type);
    web_header(web, "\r\n\r\n", body, sizeof body);
    assert_non_null(strptime(date, "%Y%m%dT%H%M%SZ", &tm));
    http.host = host;
    http.body = body;
    http.body_bytes = strlen(body);
    assert_true(sha256_hex(body, strlen(body), digest));
    http.payload_sha256 = digest;
    headers_init(&http.headers);
    headers_add(&http.headers, "content-type", type);
    assert_true(sigv4_sign(&http, &base, "us-west-2", "sts", timegm(&tm), &key));
    assert_string_equal(got, headers_get(&http.headers, "authorization"));
}

TEST(credentials, a_role_is_assumed_through_another_role)
{
    sts_home("[profile app]\nrole_arn = arn:app\nsource_profile = mid\n"
             "[profile mid]\nrole_arn = arn:mid\nsource_profile = base\n");
    open_with(.profile = "app");
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "RoleArn=arn%3Amid"), 1);
    assert_int_equal(web_seen(web, "RoleArn=arn%3Aapp"), 1);
    assert_int_equal(web_seen(web, "Credential=AKSTS/"), 1);
    assert_int_equal(web_seen(web, "MARKER-9"), 1); /* the middle role's token */
}

TEST(credentials, a_profile_that_is_its_own_source_has_the_keys_in_it)
{
    sts_home("[profile self]\nrole_arn = arn:x\nsource_profile = self\n");
    open_with(.profile = "self");
    assert_int_equal(web_seen(web, "Credential=AKSELF/"), 1);
}

TEST(credentials, a_role_is_assumed_with_the_keys_of_the_environment)
{
    sts_home("[profile app]\nrole_arn = arn:x\ncredential_source = Environment\n");
    expect_failure(BD_INVALID, "AWS_ACCESS_KEY_ID is not set", .profile = "app");
    set_environment_keys();
    open_with(.profile = "app");
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "Credential=AKENV/"), 1);
    assert_int_equal(web_seen(web, "x-amz-security-token: MARKER-token"), 1);
}

TEST(credentials, profiles_that_make_no_sense_are_errors)
{
    sts_home("[profile ring]\nrole_arn = arn:x\nsource_profile = gnir\n"
             "[profile gnir]\nrole_arn = arn:x\nsource_profile = ring\n"
             "[profile gone]\nrole_arn = arn:x\nsource_profile = nowhere\n"
             "[profile both]\nrole_arn = arn:x\nsource_profile = base\n"
             "credential_source = Environment\n"
             "[profile odd]\nrole_arn = arn:x\ncredential_source = Oddment\n"
             "[profile none]\nrole_arn = arn:x\n"
             "[profile mfa]\nrole_arn = arn:x\nsource_profile = base\nmfa_serial = 1\n"
             "[profile dry]\nrole_arn = arn:x\nsource_profile = empty\n[profile empty]\n"
             "[profile fine]\nrole_arn = arn:x\nsource_profile = base\n");
    expect_failure(BD_INVALID, "from one to the next", .profile = "ring");
    expect_failure(BD_INVALID, "nowhere, which does not exist", .profile = "gone");
    expect_failure(BD_INVALID, "one must go", .profile = "both");
    expect_failure(BD_INVALID, "Oddment is unknown", .profile = "odd");
    expect_failure(BD_INVALID, "to assume it with", .profile = "none");
    expect_failure(BD_UNSUPPORTED, "mfa_serial", .profile = "mfa");
    expect_failure(BD_INVALID, "empty, which has no keys", .profile = "dry");
    expect_failure(BD_INVALID, "cannot be a region", .profile = "fine", .region = "evil.example/");
    assert_int_equal(web_seen(web, "POST"), 0);
}

TEST(credentials, a_web_identity_is_exchanged_unsigned)
{
    sts_home("");
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "MARKER.jwt+\n"), 1);
    expect_failure(BD_INVALID, "AWS_ROLE_ARN is not", .region = NULL);
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_ROLE_SESSION_NAME", "pod", 1);
    open_with(.region = NULL);
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
                                   "&RoleArn=arn%3Airsa&RoleSessionName=pod"
                                   "&WebIdentityToken=MARKER.jwt%2B\n"),
                     1);
    assert_int_equal(web_seen(web, "uthorization:"), 0);
    assert_int_equal(credentials->expires, 7226679845);
}

TEST(credentials, a_profile_may_name_a_web_identity)
{
    char config[512];

    snprintf(config, sizeof config,
             "[default]\nrole_arn = arn:profile\nweb_identity_token_file = %s\n",
             home_file("token", "MARKER.jwt"));
    sts_home(config);
    open_with(.region = NULL);
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "RoleArn=arn%3Aprofile"), 1);
}

TEST(credentials, what_is_wrong_with_a_web_identity_is_said)
{
    sts_home("");
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", in_home("missing"), 1);
    expect_failure(BD_DENIED, "No such file", .region = NULL);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "\n"), 1);
    expect_failure(BD_INVALID, "holds no token", .region = NULL);
    home_file("token", "MARKER.jwt");
    web_answer(web, "POST /", NULL, 403,
               "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
               "<Message>Not authorized</Message></Error></ErrorResponse>");
    expect_failure(BD_DENIED, "403, AccessDenied: Not authorized", .region = NULL);
    home_file("token", "MARKER.jwt.of-a-pod");
    web_answer(web, "POST /", NULL, 403,
               "<ErrorResponse><Error><Code>InvalidIdentityToken</Code>"
               "<Message>It was MARKER.jwt.of-a-pod.</Message></Error></ErrorResponse>");
    expect_failure(BD_DENIED, "InvalidIdentityToken: It was *******************.", .region = NULL);
    web_answer(web, "POST /", NULL, 400, "MARKER");
    expect_failure(BD_DENIED, "HTTP status 400", .region = NULL);
    web_answer(web, "POST /", NULL, 200, "MARKER");
    expect_failure(BD_RETRY, "not the XML", .region = NULL);
    web_answer(web, "POST /", NULL, 200, STS_UNTIL("2001-01-01T00:00:00Z"));
    expect_failure(BD_DENIED, "expired at 2001-01-01T00:00:00Z", .region = NULL);
    setenv("AWS_ENDPOINT_URL_STS", "http://", 1);
    expect_failure(BD_INVALID, "not a URL", .region = NULL);
}

TEST(credentials, a_token_service_that_fails_once_is_asked_again)
{
    sts_home("");
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "MARKER"), 1);
    web_answer(web, "POST /", NULL, 503, "");
    expect_failure(BD_RETRY, "HTTP status 503", .region = NULL);
    assert_int_equal(web_seen(web, "POST /"), 3);
}

TEST(credentials, the_token_service_is_asked_through_a_proxy)
{
    sts_home("");
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "MARKER"), 1);
    setenv("AWS_ENDPOINT_URL_STS", "http://sts.example.invalid", 1);
    set_url("http_proxy", "");
    web_answer(web, "POST http://sts.example.invalid/", NULL, 200, STS_ANSWER);
    open_with(.region = NULL);
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
}

TEST(credentials, of_a_proxy_that_cannot_be_used_nobody_learns_the_password)
{
    static const char *const proxies[] = { "user:MARKER/pass@proxy", "http://user:MARKER/@proxy",
                                           "http://user:MARKER pass@proxy", "nosuch://u:MARKER@h" };

    sts_home("");
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "MARKER"), 1);
    setenv("AWS_ENDPOINT_URL_STS", "http://sts.example.invalid", 1);
    for (size_t i = 0; i < sizeof proxies / sizeof proxies[0]; i++) {
        setenv("http_proxy", proxies[i], 1);
        expect_failure(BD_RETRY, "proxy", .region = NULL);
    }
}

/* ------------------------------------------------------------------ containers */

#define METADATA_UNTIL(id, date)                                                                   \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"" id "\",\"SecretAccessKey\":\"MARKER-" id "\","      \
    "\"Token\":\"MARKER-token\",\"Expiration\":\"" date "\"}"
#define METADATA(id) METADATA_UNTIL(id, "2199-01-02T03:04:05Z")

TEST(credentials, a_container_gives_keys)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds?x=1");
    web_answer(web, "GET /creds?x=1", NULL, 200, METADATA("AKPOD"));
    open_with(.region = NULL);
    expect_keys("AKPOD", "MARKER-AKPOD", "MARKER-token");
    assert_int_equal(web_seen(web, "uthorization:"), 0);
}

TEST(credentials, a_container_authorizes)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds");
    web_answer(web, "GET /creds", "authorization: Basic MARKER-a\r\n", 200, METADATA("AKPOD"));
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic MARKER-a", 1);
    open_with(.region = NULL);
    expect_keys("AKPOD", "MARKER-AKPOD", "MARKER-token");
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", home_file("token", "MARKER-b\n"), 1);
    expect_failure(BD_DENIED, "HTTP status 401", .region = NULL);
    home_file("token", "Basic MARKER-a\n");
    reopen_with(.region = NULL);
    expect_keys("AKPOD", "MARKER-AKPOD", "MARKER-token");
    home_file("token", "Basic MARKER-a\r\nx: y");
    expect_failure(BD_INVALID, "cannot be a header's value", .region = NULL);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", in_home("missing"), 1);
    expect_failure(BD_DENIED, "No such file", .region = NULL);
}

TEST(credentials, what_is_wrong_with_a_container_is_said)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds");
    expect_failure(BD_DENIED, "HTTP status 404", .region = NULL);
    web_answer(web, "GET /creds", NULL, 200, "MARKER");
    expect_failure(BD_RETRY, "not JSON", .region = NULL);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/creds", 1);
    expect_failure(BD_INVALID, "must be https", .region = NULL);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/creds", 1);
    expect_failure(BD_RETRY, "container's credential service", .region = NULL);
}

TEST(credentials, an_answer_that_is_too_long_is_refused)
{
    static char body[100000];

    memset(body, ' ', sizeof body - 1);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds");
    web_answer(web, "GET /creds", NULL, 200, body);
    expect_failure(BD_INVALID, "too long", .region = NULL);
}

TEST(container, which_url_may_be_asked)
{
    static const struct {
        const char *relative, *full, *url; /* NULL: none */
    } cases[] = {
        { "/v2/x", NULL, "http://169.254.170.2/v2/x" },
        { "/v2/x", "https://a/", "http://169.254.170.2/v2/x" },
        { "@evil/x", NULL, NULL },
        { ":80@evil/x", "https://a/", NULL },
        { NULL, "https://a.example/x", "https://a.example/x" },
        { NULL, "http://localhost:8080/x", "http://localhost:8080/x" },
        { NULL, "http://127.9.8.7/x", "http://127.9.8.7/x" },
        { NULL, "http://[::1]/x", "http://[::1]/x" },
        { NULL, "http://169.254.170.23/v1/credentials", "http://169.254.170.23/v1/credentials" },
        { NULL, "http://[fd00:ec2::23]/v1", "http://[fd00:ec2::23]/v1" },
        { NULL, "http://a.example/x", NULL },
        { NULL, "http://127.0.0.1.example/x", NULL },
        { NULL, "http://127.0.0.1@a.example/x", NULL },
        { NULL, "http://169.254.169.254/x", NULL },
        { NULL, "http://localhost.example/x", NULL },
        { NULL, "ftp://127.0.0.1/x", NULL },
        { NULL, "file:///etc/passwd", NULL },
        { NULL, "nothing", NULL },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char url[256];
        const char *why;
        bool may = container_url(cases[i].relative, cases[i].full, url, sizeof url, &why);

        if (may != (cases[i].url != NULL))
            fail_msg("%s %s", cases[i].relative, cases[i].full);
        if (may)
            assert_string_equal(url, cases[i].url);
    }
}

/* ------------------------------------------------------------------ instances */

#define TOKEN_PATH "PUT /latest/api/token"
#define ROLES_PATH "GET /latest/meta-data/iam/security-credentials/"

/* Version 2: nothing without its token. */
static void
instance(void)
{
    unsetenv("AWS_EC2_METADATA_DISABLED");
    set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
    web_answer(web, TOKEN_PATH, "x-aws-ec2-metadata-token-ttl-seconds: 21600", 200, "MARKER-imds");
    web_answer(web, ROLES_PATH, "x-aws-ec2-metadata-token: MARKER-imds", 200, "app\nother\n");
    web_answer(web, ROLES_PATH "app", "x-aws-ec2-metadata-token: MARKER-imds", 200,
               METADATA("AKEC2"));
    web_answer(web, ROLES_PATH "a%2Fb", "x-aws-ec2-metadata-token: MARKER-imds", 200,
               METADATA("AKNAMED"));
}

TEST(credentials, an_instance_role_is_found)
{
    instance();
    open_with(.region = NULL);
    expect_keys("AKEC2", "MARKER-AKEC2", "MARKER-token");
    assert_string_equal(credentials->source, "EC2 instance role app");
}

TEST(credentials, an_instance_role_can_be_asked_for)
{
    instance();
    set_environment_keys();
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    open_with(.ec2_role = "");
    expect_keys("AKEC2", "MARKER-AKEC2", "MARKER-token");
    reopen_with(.ec2_role = "a/b");
    expect_keys("AKNAMED", "MARKER-AKNAMED", "MARKER-token");
    expect_failure(BD_INVALID, "no role nobody", .ec2_role = "nobody");
}

TEST(credentials, an_instance_service_can_be_turned_off)
{
    instance();
    setenv("AWS_EC2_METADATA_DISABLED", "TRUE", 1);
    open_with(.region = NULL);
    assert_null(credentials->access_id);
    assert_int_equal(web_seen(web, "HTTP/1.1"), 0);
}

TEST(credentials, version_1_is_used_only_if_allowed)
{
    instance();
    web_answer(web, TOKEN_PATH, NULL, 404, "");
    web_answer(web, ROLES_PATH, NULL, 200, "app");
    web_answer(web, ROLES_PATH "app", NULL, 200, METADATA("AKV1"));
    expect_failure(BD_DENIED, "version 2", .ec2_role = "");
    assert_int_equal(web_seen(web, ROLES_PATH), 0);
    open_with(.ec2_role = "", .allow_imds_v1 = true);
    expect_keys("AKV1", "MARKER-AKV1", "MARKER-token");
    assert_int_equal(web_seen(web, "metadata-token:"), 0);
}

TEST(credentials, version_2_is_used_though_version_1_is_allowed)
{
    instance();
    open_with(.ec2_role = "", .allow_imds_v1 = true);
    expect_keys("AKEC2", "MARKER-AKEC2", "MARKER-token");
}

TEST(credentials, an_empty_token_is_none)
{
    instance();
    web_answer(web, TOKEN_PATH, NULL, 200, "");
    expect_failure(BD_RETRY, "no token", .ec2_role = "");
}

TEST(credentials, an_instance_without_a_role_is_none)
{
    instance();
    web_answer(web, ROLES_PATH, NULL, 404, "");
    open_with(.region = NULL);
    assert_null(credentials->access_id);
    assert_int_equal(log_count(BD_INFO, "has no role"), 1);
    expect_failure(BD_INVALID, "has no role", .ec2_role = "");
}

TEST(credentials, a_role_whose_keys_do_not_come_is_an_error)
{
    instance();
    web_answer(web, ROLES_PATH "app", NULL, 200,
               "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"no\"}");
    expect_failure(BD_RETRY, "AssumeRoleUnauthorizedAccess", .region = NULL);
    web_answer(web, ROLES_PATH "app", NULL, 500, "");
    expect_failure(BD_RETRY, "HTTP status 500", .region = NULL);
}

TEST(credentials, a_machine_that_only_looks_like_an_instance_does_not_wait_long)
{
    uint64_t begin_ns = clock_now_ns();

    instance();
    web_answer(web, TOKEN_PATH, NULL, WEB_HANGS, "");
    open_with(.region = NULL);
    assert_null(credentials->access_id);
    assert_true(clock_now_ns() - begin_ns < 2 * NS_PER_S);
}

TEST(credentials, an_instance_that_was_asked_for_and_hangs_is_an_error)
{
    uint64_t begin_ns = clock_now_ns();

    instance();
    web_answer(web, TOKEN_PATH, NULL, WEB_HANGS, "");
    expect_failure(BD_RETRY, "instance metadata service", .ec2_role = "");
    assert_true(clock_now_ns() - begin_ns < 8 * NS_PER_S);
}

TEST(credentials, metadata_never_goes_through_a_proxy)
{
    instance();
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    open_with(.region = NULL);
    expect_keys("AKEC2", "MARKER-AKEC2", "MARKER-token");
}

TEST(credentials, the_firmware_tells_an_instance)
{
    home_file("nitro/sys_vendor", "Amazon EC2\n");
    home_file("xen/sys_vendor", "Xen\n");
    home_file("xen/product_uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n");
    home_file("old/product_uuid", "EC2E1916-9099-7CAF-FD21-012345ABCDEF\n");
    home_file("other/sys_vendor", "QEMU\n");
    assert_true(instance_is_ec2(in_home("nitro")));
    assert_true(instance_is_ec2(in_home("xen")));
    assert_true(instance_is_ec2(in_home("old")));
    assert_false(instance_is_ec2(in_home("other")));
    assert_false(instance_is_ec2(in_home("missing")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(xml, what_gives_keys),
        FRESH(credentials, a_role_is_assumed_with_the_keys_of_another_profile),
        FRESH(credentials, what_is_signed_is_what_is_sent),
        FRESH(credentials, a_role_is_assumed_through_another_role),
        FRESH(credentials, a_profile_that_is_its_own_source_has_the_keys_in_it),
        FRESH(credentials, a_role_is_assumed_with_the_keys_of_the_environment),
        FRESH(credentials, profiles_that_make_no_sense_are_errors),
        FRESH(credentials, a_web_identity_is_exchanged_unsigned),
        FRESH(credentials, a_profile_may_name_a_web_identity),
        FRESH(credentials, what_is_wrong_with_a_web_identity_is_said),
        FRESH(credentials, a_token_service_that_fails_once_is_asked_again),
        FRESH(credentials, the_token_service_is_asked_through_a_proxy),
        FRESH(credentials, of_a_proxy_that_cannot_be_used_nobody_learns_the_password),
        FRESH(credentials, a_container_gives_keys),
        FRESH(credentials, a_container_authorizes),
        FRESH(credentials, what_is_wrong_with_a_container_is_said),
        FRESH(credentials, an_answer_that_is_too_long_is_refused),
        RUN(container, which_url_may_be_asked),
        FRESH(credentials, an_instance_role_is_found),
        FRESH(credentials, an_instance_role_can_be_asked_for),
        FRESH(credentials, an_instance_service_can_be_turned_off),
        FRESH(credentials, version_1_is_used_only_if_allowed),
        FRESH(credentials, version_2_is_used_though_version_1_is_allowed),
        FRESH(credentials, an_empty_token_is_none),
        FRESH(credentials, an_instance_without_a_role_is_none),
        FRESH(credentials, a_role_whose_keys_do_not_come_is_an_error),
        FRESH(credentials, a_machine_that_only_looks_like_an_instance_does_not_wait_long),
        FRESH(credentials, an_instance_that_was_asked_for_and_hangs_is_an_error),
        FRESH(credentials, metadata_never_goes_through_a_proxy),
        FRESH(credentials, the_firmware_tells_an_instance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
