/* SPDX-License-Identifier: Apache-2.0 */
/* --debug-http. */
#include "debug.h"

#include "mask.h"
#include "proxy.h"
#include "transfer.h"

#include <string.h>

#define LINE_BYTES 1000u

static void
log_lines(const struct bd_host *host, const struct headers *sent, const char *mark,
          const char *data, size_t bytes)
{
    while (bytes > 0) {
        const char *end = memchr(data, '\n', bytes);
        size_t line_bytes = end != NULL ? (size_t)(end - data) : bytes;
        size_t kept = line_bytes < LINE_BYTES ? line_bytes : LINE_BYTES;
        char line[LINE_BYTES + 1];

        memcpy(line, data, kept);
        while (kept > 0 && (line[kept - 1] == '\r' || line[kept - 1] == '\0'))
            kept--;
        line[kept] = '\0';
        for (size_t i = 0; i < kept; i++) {
            if ((unsigned char)line[i] < ' ')
                line[i] = ' ';
        }
        proxy_mask(line);
        mask_line(line);
        if (sent != NULL)
            mask_sent(line, sent);
        if (line[0] != '\0')
            host->log(host, BD_INFO, "%s %s", mark, line);
        line_bytes += end != NULL;
        data += line_bytes;
        bytes -= line_bytes;
    }
}

/* Never the bodies: they are the user's data. */
static int
on_debug(CURL *easy, curl_infotype type, char *data, size_t bytes, void *arg)
{
    const struct exchange *exchange = NULL;
    const struct headers *sent;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &exchange);
    sent = exchange != NULL ? &exchange->request.headers : NULL;
    /* Of HTTP/2 libcurl tells each header once more as a text, "h2h3 [NAME: VALUE]" or "[HTTP/2] [1] [NAME: VALUE]". */
    if (type == CURLINFO_TEXT && memmem(data, bytes, "h2h3 [", 6) == NULL
        && memmem(data, bytes, "[HTTP/", 6) == NULL)
        log_lines(arg, sent, "*", data, bytes);
    else if (type == CURLINFO_HEADER_OUT)
        log_lines(arg, sent, ">", data, bytes);
    else if (type == CURLINFO_HEADER_IN)
        log_lines(arg, sent, "<", data, bytes);
    return 0;
}

void
debug_install(CURL *easy, const struct bd_host *host)
{
    curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_debug);
    curl_easy_setopt(easy, CURLOPT_DEBUGDATA, (void *)(uintptr_t)host);
    curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);
}
