/* SPDX-License-Identifier: Apache-2.0 */
/* --debug-http: requests and headers in the log, with what must stay secret masked. */
#ifndef S3_DEBUG_H
#define S3_DEBUG_H

#include <bucketdisk/plugin.h>

#include <curl/curl.h>

void debug_install(CURL *easy, const struct bd_host *host);

#endif
