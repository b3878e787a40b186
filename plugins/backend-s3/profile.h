/* SPDX-License-Identifier: Apache-2.0 */
/* How stores differ, as data.  Nothing else in this plugin knows a store by name.
 *
 * A profile says what to begin with.  What a store turns out to be (no ListObjectsV2, no batch delete, tags
 * compared with their quotes) is learned while it is used; whether it honours conditions is proven by
 * the core (`bucketdisk probe` prints all of it). */
#ifndef S3_PROFILE_H
#define S3_PROFILE_H

#include <stdbool.h>

struct s3_profile {
    const char *name;     /* of --s3-store */
    const char *hosts[4]; /* ends of host names that mean this store */
    const char *region;   /* if the user names none; NULL: "us-east-1" */
    /* the label in front of the end is the region, unless it is "s3" or "s3-..." */
    bool region_in_host;
    bool is_vhost;      /* bucket in the host name, if its name allows that */
    bool if_put;        /* worth asking for: conditions on PUT */
    bool if_delete;     /* conditions on DELETE are honoured */
    bool etag_bare;     /* If-Match wants the tag without quotes */
    bool is_eventual;   /* may show for a while what was there before */
    bool delete_single; /* DeleteObjects is not there, or slower than single ones */
    unsigned idle_s;    /* how long it keeps an idle connection, if it does not say */
};

/* NULL-terminated, "auto" first: for the option's choices. */
extern const char *const profile_names[];
/* `choice`: index in profile_names; 0 goes by the host name.  Never NULL. */
const struct s3_profile *profile_of(unsigned choice, const char *host);
/* Copy the region that the host name says to `region`, if the profile has it there. */
void profile_region(const struct s3_profile *profile, const char *host, char *region,
                    unsigned region_bytes);

#endif
