/* SPDX-License-Identifier: Apache-2.0 */
/* Where keys may come from, in their order, and the two sources that need no file of their own.
 *
 * What an option asks for comes before anything that is merely there: --profile=backup does
 * not mean the keys that happen to be in the environment. */
#include "credentials_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ options */

static enum bd_status
option_secret(struct lookup *lookup, const char **secret)
{
    const struct credential_options *options = lookup->options;

    *secret = options->access_key;
    if (options->access_key_env == NULL)
        return BD_OK;
    if (options->access_key != NULL)
        return lookup_failed(lookup, BD_INVALID,
                             "the secret was given twice, as it is and as the name of an "
                             "environment variable: one must go");
    *secret = environment(options->access_key_env);
    return *secret != NULL ? BD_OK
                           : lookup_failed(lookup, BD_INVALID,
                                           "the environment variable %s, which was to hold the "
                                           "secret of the access id, is not set",
                                           options->access_key_env);
}

static enum bd_status
source_options(struct lookup *lookup, struct found *found)
{
    const char *access_id = lookup->options->access_id, *secret, *why;
    enum bd_status status = option_secret(lookup, &secret);

    if (status != BD_OK)
        return status;
    if (access_id == NULL && secret == NULL)
        return BD_ABSENT;
    if (access_id == NULL || (access_id[0] == '\0' && secret != NULL))
        return lookup_failed(lookup, BD_INVALID,
                             "a secret was given without its access id: give that, too");
    if (access_id[0] != '\0' && secret == NULL)
        return file_look_id(lookup, found);
    snprintf(found->source, sizeof found->source, "the options");
    if (access_id[0] == '\0')
        return BD_OK; /* anonymous, as asked for */
    why = keys_set(&found->keys, access_id, secret, NULL, 0);
    return why == NULL ? BD_OK : lookup_failed(lookup, BD_INVALID, "the options: %s", why);
}

static enum bd_status
source_asked_profile(struct lookup *lookup, struct found *found)
{
    const char *profile = lookup->options->profile;

    return profile != NULL && profile[0] != '\0' ? source_profile(lookup, found) : BD_ABSENT;
}

static enum bd_status
source_asked_instance(struct lookup *lookup, struct found *found)
{
    return lookup->options->ec2_role != NULL ? source_instance(lookup, found) : BD_ABSENT;
}

/* ------------------------------------------------------------------ environment */

enum bd_status
source_environment(struct lookup *lookup, struct found *found)
{
    const char *access_id = environment("AWS_ACCESS_KEY_ID");
    const char *secret = environment("AWS_SECRET_ACCESS_KEY"), *why;

    if (access_id == NULL && secret == NULL)
        return BD_ABSENT;
    if (access_id == NULL || secret == NULL)
        return lookup_failed(lookup, BD_INVALID, "%s is set, and %s is not",
                             access_id != NULL ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                             access_id != NULL ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    snprintf(found->source, sizeof found->source, "AWS_ACCESS_KEY_ID");
    why = keys_set(&found->keys, access_id, secret, environment("AWS_SESSION_TOKEN"), 0);
    return why == NULL
               ? BD_OK
               : lookup_failed(lookup, BD_INVALID, "AWS_ACCESS_KEY_ID and its companions: %s", why);
}

/* ------------------------------------------------------------------ order */

static source_look *const sources[] = {
    source_options,     source_access_file, source_asked_profile, source_asked_instance,
    source_passwd_file, source_environment, source_profile,       source_web_identity,
    source_container,   source_instance,
};

enum bd_status
sources_look(struct lookup *lookup, struct found *found, source_look **source)
{
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        enum bd_status status;

        *found = (struct found){ 0 };
        status = sources[i](lookup, found);
        if (status == BD_ABSENT)
            continue;
        *source = sources[i];
        return status;
    }
    *found = (struct found){ 0 };
    return BD_ABSENT;
}
