/* SPDX-License-Identifier: Apache-2.0 */
/* backend-s3/xml.c and what it stands on: documents as stores send them, and as no honest store
 * would. */
#include "test.h"

#include "base/util.h"
#include "xml.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define ENTRY(key, size) "<Contents><Key>" key "</Key><Size>" size "</Size></Contents>"
#define LISTING(body)                                                                              \
    "<ListBucketResult><IsTruncated>false</IsTruncated>" body "</ListBucketResult>"

/* A copy that ends where the document does, so that a sanitizer sees who reads on. */
static void *
exact(const char *text, size_t bytes)
{
    void *copy = malloc(bytes == 0 ? 1 : bytes);

    assert_non_null(copy);
    memcpy(copy, text, bytes);
    return copy;
}

/* What came out of a document, as lines. */
struct lines {
    char text[8192];
    size_t bytes;
    unsigned count, limit;
};

static void
lines_add(struct lines *lines, const char *line)
{
    lines->count++;
    lines->bytes += (size_t)snprintf(lines->text + lines->bytes, sizeof lines->text - lines->bytes,
                                     "%s\n", line);
    assert_true(lines->bytes < sizeof lines->text);
}

static bool
entry(void *arg, const char *key, uint64_t bytes, const char *tag)
{
    struct lines *lines = arg;
    char line[2048];

    snprintf(line, sizeof line, "%s %" PRIu64 " %s", key, bytes, tag == NULL ? "-" : tag);
    lines_add(lines, line);
    return lines->limit == 0 || lines->count < lines->limit;
}

static bool
parse_listing_bytes(const char *xml, size_t xml_bytes, struct s3_listing *listing,
                    struct lines *lines, char why[256])
{
    void *copy = exact(xml, xml_bytes);
    bool is_good;

    listing->entry = entry;
    listing->arg = lines;
    lines->bytes = lines->count = 0;
    lines->text[0] = '\0';
    why[0] = '\0';
    is_good = xml_parse_listing(copy, xml_bytes, listing, why, 256);
    free(copy);
    assert_int_equal(why[0] == '\0', is_good);
    if (is_good)
        assert_int_equal(listing->count, lines->count);
    else
        assert_int_equal(lines->count, 0);
    return is_good;
}

static bool
parse_listing(const char *xml, struct s3_listing *listing, struct lines *lines, char why[256])
{
    return parse_listing_bytes(xml, strlen(xml), listing, lines, why);
}

static void
expect_listing(const char *xml, const char *expected)
{
    struct s3_listing listing;
    struct lines lines = { "" };
    char why[256];

    if (!parse_listing(xml, &listing, &lines, why))
        fail_msg("%s: %s", why, xml);
    assert_string_equal(lines.text, expected);
}

static void
expect_bad_listing(const char *xml, const char *reason)
{
    struct s3_listing listing;
    struct lines lines = { "" };
    char why[256];

    if (parse_listing(xml, &listing, &lines, why))
        fail_msg("taken: %s", xml);
    if (strstr(why, reason) == NULL)
        fail_msg("\"%s\" has no \"%s\": %s", why, reason, xml);
}

/* ------------------------------------------------------------------ listings */

static const char version_2[] =
    HEAD "<ListBucketResult" NS "><Name>bucket</Name><Prefix>disk/</Prefix>"
         "<NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</"
         "NextContinuationToken>"
         "<KeyCount>2</KeyCount><MaxKeys>2</MaxKeys><EncodingType>url</EncodingType>"
         "<IsTruncated>true</IsTruncated>"
         "<Contents><Key>disk/0000%2B1+x</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>"
         "<ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag><Size>434234</Size>"
         "<StorageClass>STANDARD</StorageClass>"
         "<Owner><ID>1</ID><DisplayName>a</DisplayName></Owner></Contents>"
         "<Contents><Key>disk/2</Key><Size>0</Size></Contents>"
         "<CommonPrefixes><Prefix>disk/photos/</Prefix></CommonPrefixes>"
         "</ListBucketResult>";

TEST(xml, a_listing_of_version_2_is_read)
{
    struct s3_listing listing;
    struct lines lines = { "" };
    char why[256];

    assert_true(parse_listing(version_2, &listing, &lines, why));
    assert_string_equal(lines.text, "disk/0000+1 x 434234 fba9dede5f27731c9771645a39863328\n"
                                    "disk/2 0 -\n");
    assert_true(listing.is_truncated);
    assert_false(listing.is_v1);
    assert_int_equal(listing.count, 2);
}

TEST(xml, version_1_is_told_by_its_marker)
{
    static const struct {
        const char *body;
        bool is_v1;
    } rows[] = {
        { "<Marker/>", true },
        { "<Marker></Marker><KeyCount>0</KeyCount>", false },
        { "<KeyCount>0</KeyCount>", false },
        { "", false },
        { "<Contents><Key>k</Key><Size>1</Size><Marker/></Contents>", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char xml[512], why[256];
        struct s3_listing listing;
        struct lines lines = { "" };

        snprintf(xml, sizeof xml, LISTING("%s"), rows[i].body);
        assert_true(parse_listing(xml, &listing, &lines, why));
        assert_int_equal(listing.is_v1, rows[i].is_v1);
        assert_false(listing.is_truncated);
    }
}

TEST(xml, order_space_prefixes_and_unknown_elements_do_not_matter)
{
    expect_listing(LISTING(""), "");
    expect_listing("<ListBucketResult>" ENTRY("a", "1") "<IsTruncated> TRUE\n</IsTruncated>"
                                                        "</ListBucketResult>",
                   "a 1 -\n");
    expect_listing(LISTING("<Contents><Size>\n 7 </Size><ETag>x</ETag><Key>a</Key></Contents>"),
                   "a 7 x\n");
    expect_listing(
        "<s3:ListBucketResult xmlns:s3=\"x\"><s3:IsTruncated>false</s3:IsTruncated>"
        "<t:Contents><s3:Key>a</s3:Key><Size>1</Size></t:Contents></s3:ListBucketResult>",
        "a 1 -\n");
    expect_listing(LISTING("<a><Contents><Key/></Contents><b><c/></b></a><!-- <Contents> -->"
                           "<?pi x?>" ENTRY("b", "2")),
                   "b 2 -\n");
    expect_listing("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>" LISTING(ENTRY("\xe9", "1")),
                   "\xc3\xa9 1 -\n");
    expect_listing(LISTING(ENTRY("<![CDATA[<&>]]>&lt;&#x2f;&amp;", "1")), "<&></& 1 -\n");
    expect_listing("\xef\xbb\xbf" LISTING(ENTRY("a", "1")) "\n ", "a 1 -\n");
    expect_listing(LISTING(ENTRY(" a ", "1")), " a  1 -\n");
}

TEST(xml, keys_are_decoded_only_if_the_listing_says_so_and_wherever_it_does)
{
    expect_listing(LISTING(ENTRY("a%20b+c", "1")), "a%20b+c 1 -\n");
    expect_listing(LISTING(ENTRY("a%", "1")), "a% 1 -\n");
    expect_listing(LISTING("<EncodingType/>" ENTRY("a%", "1")), "a% 1 -\n");
    expect_listing(LISTING("<EncodingType>url</EncodingType>" ENTRY("a%20b+c", "1")),
                   "a b c 1 -\n");
    expect_listing(LISTING(ENTRY("a%20b+c", "1") "<EncodingType>url</EncodingType>"),
                   "a b c 1 -\n");
    expect_bad_listing(LISTING(ENTRY("a%", "1") "<EncodingType>url</EncodingType>"), "not encoded");
    expect_bad_listing(LISTING("<EncodingType>url</EncodingType>" ENTRY("a%00", "1")),
                       "not encoded");
    expect_bad_listing(LISTING("<EncodingType>base64</EncodingType>"), "EncodingType");
    expect_bad_listing(LISTING("<EncodingType>url</EncodingType><EncodingType/>"), "EncodingType");
}

TEST(xml, a_key_may_be_as_long_as_a_name_and_no_longer)
{
    static const struct {
        const char *piece;
        unsigned count;
        bool is_url, is_good;
    } rows[] = {
        { "k", 1024, false, true },  { "k", 1025, false, false },   { "k", 0, false, false },
        { "%6b", 1024, true, true }, { "%6b", 1025, true, false },  { "%6b", 1024, false, false },
        { "k", 9000, true, false },  { "k", 100000, false, false }, { "k", 3073, true, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        static char xml[400000];
        char why[256];
        struct s3_listing listing;
        struct lines lines = { "" };
        int at = snprintf(xml, sizeof xml,
                          "<ListBucketResult><IsTruncated>false</IsTruncated>%s<Contents><Key>",
                          rows[i].is_url ? "<EncodingType>url</EncodingType>" : "");

        for (unsigned j = 0; j < rows[i].count; j++)
            at += snprintf(xml + at, sizeof xml - (size_t)at, "%s", rows[i].piece);
        snprintf(xml + at, sizeof xml - (size_t)at,
                 "</Key><Size>1</Size></Contents></ListBucketResult>");
        assert_int_equal(parse_listing(xml, &listing, &lines, why), rows[i].is_good);
        assert_int_equal(lines.count, rows[i].is_good);
        if (rows[i].is_good)
            assert_int_equal(lines.bytes, 1024 + strlen(" 1 -\n"));
    }
}

TEST(xml, sizes_are_numbers_of_64_bits)
{
    static const char *const refused[] = { "",
                                           " ",
                                           "-1",
                                           "+1",
                                           "0x10",
                                           "1.0",
                                           "1e3",
                                           "1 2",
                                           "18446744073709551616",
                                           "99999999999999999999999999999999",
                                           "one",
                                           "1<a/>" };

    expect_listing(LISTING(ENTRY("a", "18446744073709551615")), "a 18446744073709551615 -\n");
    expect_listing(LISTING(ENTRY("a", "00000000000000000000000007")), "a 7 -\n");
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        char xml[512];

        snprintf(xml, sizeof xml, LISTING(ENTRY("a", "%s")), refused[i]);
        expect_bad_listing(xml, "Size");
    }
}

TEST(xml, tags_lose_their_quotes_and_those_over_the_limit_are_left_out)
{
    static const struct {
        const char *etag, *tag;
    } rows[] = {
        { "&quot;abc&quot;", "abc" },
        { "\"abc\"", "abc" },
        { "abc", "abc" },
        { "\"", "\"" },
        { "\"\"", "-" },
        { "", "-" },
        { "\"abc", "\"abc" },
    };
    char xml[1024], tag[300];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char line[64];

        snprintf(xml, sizeof xml,
                 LISTING("<Contents><Key>k</Key><Size>1</Size><ETag>%s</ETag></Contents>"),
                 rows[i].etag);
        snprintf(line, sizeof line, "k 1 %s\n", rows[i].tag);
        expect_listing(xml, line);
    }
    for (int bytes = 255; bytes < 258; bytes++) {
        char line[320];

        memset(tag, 't', sizeof tag);
        snprintf(xml, sizeof xml,
                 LISTING("<Contents><ETag>\"%.*s\"</ETag><Key>k</Key><Size>1</Size></Contents>"),
                 bytes, tag);
        snprintf(line, sizeof line, "k 1 %.*s\n", bytes <= 256 ? bytes : 1,
                 bytes <= 256 ? tag : "-");
        expect_listing(xml, line);
    }
}

TEST(xml, one_entrys_fields_are_not_taken_for_the_nexts)
{
    expect_listing(
        LISTING("<Contents><Key>a</Key><Size>1</Size><ETag>t</ETag></Contents>" ENTRY("b", "2")),
        "a 1 t\nb 2 -\n");
    expect_bad_listing(LISTING(ENTRY("a", "1") "<Contents><Key>b</Key></Contents>"), "lacks");
    expect_bad_listing(LISTING(ENTRY("a", "1") "<Contents><Size>1</Size></Contents>"), "lacks");
}

TEST(xml, listings_that_lack_or_repeat_what_must_be_there_once_are_refused)
{
    expect_bad_listing("<ListBucketResult/>", "IsTruncated");
    expect_bad_listing("<ListBucketResult>" ENTRY("a", "1") "</ListBucketResult>", "IsTruncated");
    expect_bad_listing("<ListBucketResult><IsTruncated/></ListBucketResult>", "IsTruncated");
    expect_bad_listing("<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
                       "IsTruncated");
    expect_bad_listing("<ListBucketResult><IsTruncated>true false</IsTruncated></ListBucketResult>",
                       "IsTruncated");
    expect_bad_listing("<ListBucketResult><IsTruncated>tru</IsTruncated></ListBucketResult>",
                       "IsTruncated");
    expect_bad_listing(LISTING("<IsTruncated>true</IsTruncated>"), "IsTruncated");
    expect_bad_listing(LISTING("<Contents/>"), "lacks");
    expect_bad_listing(LISTING("<Contents><Key>a</Key><Key>b</Key><Size>1</Size></Contents>"),
                       "Key");
    expect_bad_listing(LISTING("<Contents><Key>a</Key><Size>1</Size><Size>1</Size></Contents>"),
                       "Size");
    expect_bad_listing(LISTING(ENTRY("a<b/>c", "1")), "Key");
    expect_bad_listing(LISTING(ENTRY("", "1")), "empty");
    expect_bad_listing("<Error><Code>SlowDown</Code></Error>", "something else");
    expect_bad_listing("<a>" LISTING("") "</a>", "something else");
}

TEST(xml, enough_is_enough)
{
    struct s3_listing listing;
    struct lines lines = { .limit = 1 };
    char why[256];

    assert_true(parse_listing(version_2, &listing, &lines, why));
    assert_int_equal(lines.count, 1);
    assert_int_equal(listing.count, 1);
    assert_true(listing.is_truncated);
    lines.limit = 2;
    assert_true(parse_listing(version_2, &listing, &lines, why));
    assert_int_equal(listing.count, 2);
}

TEST(xml, a_listing_cut_off_anywhere_gives_nothing)
{
    for (size_t bytes = 0; bytes < sizeof version_2 - 1; bytes++) {
        struct s3_listing listing;
        struct lines lines = { "" };
        char why[256];

        assert_false(parse_listing_bytes(version_2, bytes, &listing, &lines, why));
    }
}

TEST(xml, a_listing_with_a_byte_changed_gives_all_or_nothing)
{
    for (size_t at = 0; at < sizeof version_2 - 1; at++) {
        static const char changes[] = { '\0', '\x01', '<', '&', '\xff', 'z', '"' };

        for (size_t i = 0; i < sizeof changes; i++) {
            struct s3_listing listing;
            struct lines lines = { "" };
            char xml[sizeof version_2], why[256];

            memcpy(xml, version_2, sizeof xml);
            xml[at] = changes[i];
            if (!parse_listing_bytes(xml, sizeof xml - 1, &listing, &lines, why))
                assert_int_equal(lines.count, 0);
        }
    }
}

/* ------------------------------------------------------------------ hostile documents */

TEST(xml, document_types_and_entities_are_refused)
{
    static const char laughs[] =
        "<!DOCTYPE ListBucketResult [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">"
        "<!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;\">]>";
    struct s3_error error;
    char xml[1024];

    snprintf(xml, sizeof xml, "%s%s", laughs, LISTING(ENTRY("&d;", "1")));
    expect_bad_listing(xml, "document type");
    expect_bad_listing("<!DOCTYPE ListBucketResult>" LISTING(""), "document type");
    expect_bad_listing("<!DOCTYPE x SYSTEM \"file:///etc/passwd\">" LISTING(ENTRY("a", "1")),
                       "document type");
    expect_bad_listing(
        "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>" LISTING(ENTRY("&a;", "1")),
        "document type");
    expect_bad_listing(LISTING(ENTRY("&a;", "1")), "entity");
    snprintf(xml, sizeof xml, "%s<Error><Code>&d;</Code></Error>", laughs);
    assert_false(xml_parse_error(xml, strlen(xml), &error));
    assert_string_equal(error.code, "");
}

TEST(xml, nesting_has_a_limit)
{
    static char xml[200000];
    static const struct {
        unsigned depth;
        bool is_good;
    } rows[] = { { 15, true }, { 16, false }, { 10000, false } };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct s3_listing listing;
        struct lines lines = { "" };
        char why[256];
        char *at = stpcpy(xml, "<ListBucketResult><IsTruncated>true</IsTruncated>");

        for (unsigned j = 0; j < rows[i].depth; j++)
            at = stpcpy(at, "<a>");
        for (unsigned j = 0; j < rows[i].depth; j++)
            at = stpcpy(at, "</a>");
        strcpy(at, "</ListBucketResult>");
        assert_int_equal(parse_listing(xml, &listing, &lines, why), rows[i].is_good);
        if (!rows[i].is_good)
            assert_non_null(strstr(why, "nested"));
    }
}

TEST(xml, names_of_elements_may_be_long_and_are_then_nobodys)
{
    static char xml[100000];
    char name[30001];

    memset(name, 'N', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(xml, sizeof xml, LISTING("<%s><%s:x/></%s><:/>" ENTRY("a", "1")), name, name, name);
    expect_listing(xml, "a 1 -\n");
}

TEST(xml, what_is_not_well_formed_is_refused)
{
    static const char *const documents[] = {
        "",
        " ",
        "x",
        "{\"a\": 1}",
        "<ListBucketResult>",
        LISTING("") "<a/>",
        LISTING("") "x",
        LISTING("<a></b>"),
        LISTING("<a b=1/>"),
        LISTING("<a b='1' b='2'/>"),
        LISTING(ENTRY("a\x01", "1")),
        LISTING(ENTRY("&#1;", "1")),
        LISTING(ENTRY("&#0;", "1")),
        LISTING(ENTRY("&#xD800;", "1")),
        LISTING(ENTRY("\xff", "1")),
        LISTING(ENTRY("\xc0\xaf", "1")),
        "<?xml version=\"1.0\" encoding=\"KLINGON\"?>" LISTING(""),
    };

    for (size_t i = 0; i < ARRAY_LEN(documents); i++)
        expect_bad_listing(documents[i], "XML: ");
}

TEST(xml, a_nul_in_the_document_is_refused)
{
    static const char xml[] = LISTING(ENTRY("a\0b", "1"));
    struct s3_listing listing;
    struct lines lines = { "" };
    char why[256];

    assert_false(parse_listing_bytes(xml, sizeof xml - 1, &listing, &lines, why));
}

TEST(xml, a_reason_that_does_not_fit_is_cut)
{
    struct s3_listing listing = { .entry = entry };
    char why[8] = "xxxxxxx";

    assert_false(xml_parse_listing("<a/>", 4, &listing, why, sizeof why));
    assert_string_equal(why, "listing");
}

/* ------------------------------------------------------------------ errors */

static bool
parse_error(const char *xml, struct s3_error *error)
{
    void *copy = exact(xml, strlen(xml));
    bool is_error;

    memset(error, 'x', sizeof *error);
    is_error = xml_parse_error(copy, strlen(xml), error);
    free(copy);
    return is_error;
}

TEST(xml, an_error_says_code_message_and_where_to_go)
{
    struct s3_error error;

    assert_true(
        parse_error(HEAD "<Error><Code>PermanentRedirect</Code><Message>Use &lt;it&gt;.</Message>"
                         "<Endpoint>b.s3-eu-west-1.amazonaws.com</Endpoint>"
                         "<Region>eu-west-1</Region><Bucket>b</Bucket>"
                         "<RequestId>4442587FB7D0A2F9</RequestId><HostId>h</HostId></Error>",
                    &error));
    assert_string_equal(error.code, "PermanentRedirect");
    assert_string_equal(error.message, "Use <it>.");
    assert_string_equal(error.endpoint, "b.s3-eu-west-1.amazonaws.com");
    assert_string_equal(error.region, "eu-west-1");
    assert_string_equal(error.request_id, "4442587FB7D0A2F9");
}

TEST(xml, the_error_of_sts_is_in_a_wrapper)
{
    struct s3_error error;

    assert_true(parse_error("<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
                            "<Error><Type>Sender</Type><Code>ExpiredTokenException</Code>"
                            "<Message>m</Message></Error><RequestId>r</RequestId></ErrorResponse>",
                            &error));
    assert_string_equal(error.code, "ExpiredTokenException");
    assert_string_equal(error.message, "m");
    assert_string_equal(error.request_id, "r");
    assert_string_equal(error.region, "");
}

TEST(xml, what_is_no_error_leaves_all_empty)
{
    static const char *const documents[] = {
        "",
        "<html><body>502 Bad Gateway</body></html>",
        "<html><head><title>x</title></head><Error><Code>A</Code></Error></html>",
        "<ErrorResponse><RequestId>r</RequestId></ErrorResponse>",
        "<Error><Code>A</Code>",
        "<Error><Code>A</Code></Error>x",
        "<CopyObjectResult/>",
    };

    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        static const struct s3_error empty;
        struct s3_error error;

        assert_false(parse_error(documents[i], &error));
        assert_memory_equal(&error, &empty, sizeof error);
    }
}

TEST(xml, an_error_without_a_code_is_one)
{
    struct s3_error error;

    assert_true(parse_error("<Error/>", &error));
    assert_string_equal(error.code, "");
    assert_true(parse_error("<Error><Code><b/>A</Code></Error>", &error));
    assert_string_equal(error.code, "");
}

TEST(xml, texts_of_an_error_are_cut_between_characters_and_fit_for_a_terminal)
{
    struct s3_error error;
    char xml[4000], message[2001];

    assert_true(parse_error("<Error><Code>A</Code><Code>B</Code>"
                            "<Message>a\n\tb&#x7f;c&#x9b;31md\xc3\xa9</Message></Error>",
                            &error));
    assert_string_equal(error.code, "A");
    assert_string_equal(error.message, "a  b c  31md\xc3\xa9");

    memset(message, 'm', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    snprintf(xml, sizeof xml, "<Error><Code>%s</Code><Message>%.254s\xc3\xa9</Message></Error>",
             message, message);
    assert_true(parse_error(xml, &error));
    assert_int_equal(strlen(error.code), sizeof error.code - 1);
    assert_int_equal(strlen(error.message), 254);
    snprintf(xml, sizeof xml, "<Error><Message>%.253s\xc3\xa9</Message></Error>", message);
    assert_true(parse_error(xml, &error));
    assert_int_equal(strlen(error.message), 255);
}

/* ------------------------------------------------------------------ deleting */

static void
deleted(void *arg, const char *key, const char *code, const char *message)
{
    char line[2048];

    snprintf(line, sizeof line, "%s %s %s", key, code == NULL ? "-" : code,
             message == NULL ? "-" : message);
    lines_add(arg, line);
}

static bool
parse_deleted(const char *xml, size_t bytes, struct lines *lines, char why[256])
{
    struct s3_delete_result result = { .result = deleted, .arg = lines };
    void *copy = exact(xml, bytes);
    bool is_good;

    why[0] = '\0';
    is_good = xml_parse_delete_result(copy, bytes, &result, why, 256);
    free(copy);
    assert_int_equal(why[0] == '\0', is_good);
    if (!is_good)
        assert_int_equal(lines->count, 0);
    return is_good;
}

static const char deletion[] =
    HEAD "<DeleteResult" NS ">"
         "<Deleted><Key>a&amp;b</Key><VersionId>1</VersionId></Deleted>"
         "<Error><Key>c</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
         "<Error><Key>d</Key></Error>"
         "<Deleted><DeleteMarker>true</DeleteMarker><Key>e%20+</Key></Deleted></DeleteResult>";

TEST(xml, each_key_of_a_deletion_is_answered_for)
{
    struct lines lines = { "" };
    char why[256];

    assert_true(parse_deleted(deletion, strlen(deletion), &lines, why));
    assert_string_equal(lines.text, "a&b - -\nc AccessDenied Access Denied\nd  \ne%20+ - -\n");
}

TEST(xml, a_deletion_cut_off_anywhere_gives_nothing)
{
    for (size_t bytes = 0; bytes < sizeof deletion - 1; bytes++) {
        struct lines lines = { "" };
        char why[256];

        assert_false(parse_deleted(deletion, bytes, &lines, why));
    }
}

TEST(xml, deletions_that_make_no_sense_are_refused)
{
    static const char *const documents[] = {
        "<Error><Code>InternalError</Code></Error>",
        "<DeleteResult><Deleted/></DeleteResult>",
        "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Code>x</Code></Error></DeleteResult>",
        "<DeleteResult><Deleted><Key>a</Key><Key>b</Key></Deleted></DeleteResult>",
        "<DeleteResult><Deleted><Key></Key></Deleted></DeleteResult>",
        "<DeleteResult><Deleted><Key><a/></Key></Deleted></DeleteResult>",
        "<!DOCTYPE a><DeleteResult/>",
    };

    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        struct lines lines = { "" };
        char why[256];

        assert_false(parse_deleted(documents[i], strlen(documents[i]), &lines, why));
    }
}

TEST(xml, a_request_to_delete_names_each_key_once)
{
    const char *const names[] = { "1", "2" };
    size_t bytes;
    char *xml = xml_delete_request("disk/", names, 2, &bytes);

    assert_non_null(xml);
    assert_string_equal(xml,
                        HEAD "<Delete" NS "><Object><Key>disk/1</Key></Object>"
                             "<Object><Key>disk/2</Key></Object><Quiet>false</Quiet></Delete>");
    assert_int_equal(bytes, strlen(xml));
    free(xml);
}

/* Read a request back with our own parser, as the result that it would have. */
static void
expect_key_survives(const char *key)
{
    const char *const names[] = { key };
    struct lines lines = { "" };
    char document[8192], why[256], expected[2048];
    size_t bytes;
    char *xml = xml_delete_request("", names, 1, &bytes);
    const char *from, *to;

    assert_non_null(xml);
    from = strstr(xml, "<Key>");
    to = strstr(xml, "</Object>");
    assert_true(from != NULL && to != NULL);
    snprintf(document, sizeof document, "<DeleteResult><Deleted>%.*s</Deleted></DeleteResult>",
             (int)(to - from), from);
    free(xml);
    if (!parse_deleted(document, strlen(document), &lines, why))
        fail_msg("%s: %s", why, document);
    snprintf(expected, sizeof expected, "%s - -\n", key);
    assert_string_equal(lines.text, expected);
}

TEST(xml, names_of_any_characters_come_back_as_they_were)
{
    static const char *const keys[] = { "<Key>&amp;]]>", "\"'",
                                        "a\r\nb\tc ",    "\xc3\xa9\xf0\x9f\x92\xbe",
                                        "\xef\xbf\xbd",  "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
                                        "\x7f",          "%20+" };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        expect_key_survives(keys[i]);
}

TEST(xml, names_that_xml_cannot_hold_are_an_error)
{
    static const char *const names[] = {
        "\x01",
        "a\x1f",
        "\x80",
        "\xff",
        "\xc3",
        "\xc0\xaf",
        "\xe0\x80\xaf",
        "\xe2\x82",
        "\xc3(",
        "\xed\xa0\x80",
        "\xef\xbf\xbe",
        "\xef\xbf\xbf",
        "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *const good[] = { "a" };
        size_t bytes;

        assert_null(xml_delete_request("", &names[i], 1, &bytes));
        assert_null(xml_delete_request(names[i], good, 1, &bytes));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(xml, a_listing_of_version_2_is_read),
        RUN(xml, version_1_is_told_by_its_marker),
        RUN(xml, order_space_prefixes_and_unknown_elements_do_not_matter),
        RUN(xml, keys_are_decoded_only_if_the_listing_says_so_and_wherever_it_does),
        RUN(xml, a_key_may_be_as_long_as_a_name_and_no_longer),
        RUN(xml, sizes_are_numbers_of_64_bits),
        RUN(xml, tags_lose_their_quotes_and_those_over_the_limit_are_left_out),
        RUN(xml, one_entrys_fields_are_not_taken_for_the_nexts),
        RUN(xml, listings_that_lack_or_repeat_what_must_be_there_once_are_refused),
        RUN(xml, enough_is_enough),
        RUN(xml, a_listing_cut_off_anywhere_gives_nothing),
        RUN(xml, a_listing_with_a_byte_changed_gives_all_or_nothing),
        RUN(xml, document_types_and_entities_are_refused),
        RUN(xml, nesting_has_a_limit),
        RUN(xml, names_of_elements_may_be_long_and_are_then_nobodys),
        RUN(xml, what_is_not_well_formed_is_refused),
        RUN(xml, a_nul_in_the_document_is_refused),
        RUN(xml, a_reason_that_does_not_fit_is_cut),
        RUN(xml, an_error_says_code_message_and_where_to_go),
        RUN(xml, the_error_of_sts_is_in_a_wrapper),
        RUN(xml, what_is_no_error_leaves_all_empty),
        RUN(xml, an_error_without_a_code_is_one),
        RUN(xml, texts_of_an_error_are_cut_between_characters_and_fit_for_a_terminal),
        RUN(xml, each_key_of_a_deletion_is_answered_for),
        RUN(xml, a_deletion_cut_off_anywhere_gives_nothing),
        RUN(xml, deletions_that_make_no_sense_are_refused),
        RUN(xml, a_request_to_delete_names_each_key_once),
        RUN(xml, names_of_any_characters_come_back_as_they_were),
        RUN(xml, names_that_xml_cannot_hold_are_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
