/* SPDX-License-Identifier: Apache-2.0 */
/* What a profile of ~/.aws says: keys, a process that gives them, or a role to assume.
 *
 * A role is assumed with the keys of another profile (source_profile), of another source
 * (credential_source), or with a web identity.  A source_profile may have a role, too, and
 * so on; one that names itself means the keys that stand in it. */
#include "credentials_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Roles through roles. */
#define DEPTH_MAX 5u

struct profiles {
    struct secret config_text, credentials_text;
    struct ini config, credentials;
};

/* ------------------------------------------------------------------ files */

/* `variable`, or ~/REST.  Gives. */
static char *
aws_path(const char *variable, const char *rest)
{
    const char *path = environment(variable);

    if (path == NULL)
        return home_path(rest);
    /* What the AWS CLI does, since no shell does it in a unit file. */
    if (strncmp(path, "~/", 2) == 0)
        return home_path(path + 2);
    return strdup(path);
}

/* 0 also when there is no such file, or an errno with the path in *bad_path, which it gives. */
static int
ini_load(const char *variable, const char *rest, enum ini_kind kind, struct secret *text,
         struct ini *ini, char **bad_path)
{
    char *path = aws_path(variable, rest);
    int rc;

    if (path == NULL)
        return 0;
    rc = secret_read_file(text, path);
    if (rc == 0 && text->bytes > 0 && !ini_parse(text->text, kind, ini))
        rc = ENOMEM;
    if (rc == ENOENT || rc == ENOTDIR)
        rc = 0;
    if (rc == 0)
        free(path);
    else
        *bad_path = path;
    return rc;
}

static int
profiles_load(struct profiles *profiles, char **bad_path)
{
    int rc = ini_load("AWS_CONFIG_FILE", ".aws/config", INI_CONFIG, &profiles->config_text,
                      &profiles->config, bad_path);

    if (rc != 0)
        return rc;
    return ini_load("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", INI_CREDENTIALS,
                    &profiles->credentials_text, &profiles->credentials, bad_path);
}

static void
profiles_clear(struct profiles *profiles)
{
    ini_free(&profiles->config);
    ini_free(&profiles->credentials);
    secret_clear(&profiles->config_text);
    secret_clear(&profiles->credentials_text);
}

static bool
profile_exists(const struct profiles *profiles, const char *name)
{
    return ini_has(&profiles->credentials, name) || ini_has(&profiles->config, name);
}

static const char *
profile_get(const struct profiles *profiles, const char *name, const char *key)
{
    const char *value = ini_get(&profiles->credentials, name, key);

    return value != NULL ? value : ini_get(&profiles->config, name, key);
}

static const char *
profile_chosen(const char *option)
{
    const char *name = option != NULL && option[0] != '\0' ? option : environment("AWS_PROFILE");

    return name != NULL ? name : "default";
}

char *
credentials_region(const char *profile)
{
    const char *region = environment("AWS_REGION");
    struct profiles profiles = { 0 };
    char *copy = NULL, *bad_path = NULL;

    if (region == NULL)
        region = environment("AWS_DEFAULT_REGION");
    if (region != NULL)
        return strdup(region);
    if (profiles_load(&profiles, &bad_path) == 0) {
        region = ini_get(&profiles.config, profile_chosen(profile), "region");
        if (region != NULL)
            copy = strdup(region);
    }
    free(bad_path);
    profiles_clear(&profiles);
    return copy;
}

/* ------------------------------------------------------------------ resolving */

static enum bd_status resolve(struct lookup *lookup, const struct profiles *profiles,
                              const char *name, bool keys_only, unsigned depth,
                              struct found *found);

/* credential_source = ... */
static enum bd_status
named_source(struct lookup *lookup, const char *profile, const char *source, struct found *found)
{
    enum bd_status status;

    if (strcmp(source, "Environment") == 0) {
        status = source_environment(lookup, found);
        return status == BD_ABSENT
                   ? lookup_failed(lookup, BD_INVALID,
                                   "profile %s takes its keys from the environment, and "
                                   "AWS_ACCESS_KEY_ID is not set",
                                   profile)
                   : status;
    }
    if (strcmp(source, "Ec2InstanceMetadata") == 0)
        return instance_look(lookup, "", found);
    if (strcmp(source, "EcsContainer") == 0)
        return container_look(lookup, found);
    return lookup_failed(lookup, BD_INVALID, "profile %s: credential_source %s is unknown", profile,
                         source);
}

/* The profile has a role_arn.  BD_ABSENT: but nothing to assume it with. */
static enum bd_status
assume(struct lookup *lookup, const struct profiles *profiles, const char *name, unsigned depth,
       struct found *found)
{
    const char *source_profile = profile_get(profiles, name, "source_profile");
    const char *source = profile_get(profiles, name, "credential_source");
    const char *token_file = profile_get(profiles, name, "web_identity_token_file");
    struct sts_role role = {
        .arn = profile_get(profiles, name, "role_arn"),
        .session_name = profile_get(profiles, name, "role_session_name"),
        .external_id = profile_get(profiles, name, "external_id"),
        .duration_seconds = profile_get(profiles, name, "duration_seconds"),
        .region = profile_get(profiles, name, "region"),
    };
    struct found base = { 0 };
    enum bd_status status;

    if (source_profile == NULL && source == NULL && token_file == NULL)
        return BD_ABSENT;
    if (source_profile != NULL && source != NULL)
        return lookup_failed(lookup, BD_INVALID,
                             "profile %s has a source_profile and a credential_source: one must go",
                             name);
    if (profile_get(profiles, name, "mfa_serial") != NULL)
        return lookup_failed(
            lookup, BD_UNSUPPORTED,
            "profile %s has an mfa_serial, and nobody is here to type its code: use "
            "a credential_process, or set AWS_ACCESS_KEY_ID and its companions",
            name);
    found->is_renewable = true;
    if (source_profile == NULL && source == NULL)
        return sts_web_identity(lookup, &role, token_file, &found->keys);
    if (source != NULL)
        status = named_source(lookup, name, source, &base);
    else if (!profile_exists(profiles, source_profile))
        status = lookup_failed(lookup, BD_INVALID, "profile %s names %s, which does not exist",
                               name, source_profile);
    else
        status = resolve(lookup, profiles, source_profile, strcmp(source_profile, name) == 0,
                         depth + 1, &base);
    if (status == BD_ABSENT)
        status = lookup_failed(lookup, BD_INVALID, "profile %s names %s, which has no keys", name,
                               source_profile);
    if (status == BD_OK)
        status = sts_assume_role(lookup, &role, &base.keys, &found->keys);
    keys_clear(&base.keys);
    return status;
}

static enum bd_status
fixed_keys(struct lookup *lookup, const struct profiles *profiles, const char *name,
           struct found *found)
{
    const char *access_id = profile_get(profiles, name, "aws_access_key_id");
    const char *secret = profile_get(profiles, name, "aws_secret_access_key");
    const char *token = profile_get(profiles, name, "aws_session_token");
    const char *why;

    if (access_id == NULL && secret == NULL)
        return BD_ABSENT;
    /* Temporary ones, which another tool wrote there: it will write the next ones there, too. */
    found->is_renewable = token != NULL;
    why = keys_set(&found->keys, access_id, secret, token, 0);
    return why == NULL ? BD_OK : lookup_failed(lookup, BD_INVALID, "profile %s: %s", name, why);
}

static enum bd_status
from_process(struct lookup *lookup, const char *name, const char *command, struct found *found)
{
    struct secret text = { 0 };
    char why[sizeof lookup->why];
    enum bd_status status = process_run(lookup, command, &text);

    if (status != BD_OK) {
        snprintf(why, sizeof why, "%s", lookup->why);
        lookup_failed(lookup, status, "the credential_process of profile %s %s", name, why);
    } else if (!json_parse_keys(text.text, text.bytes, JSON_PROCESS, &found->keys, why,
                                sizeof why)) {
        status = lookup_failed(lookup, BD_INVALID,
                               "the credential_process of profile %s gave no keys: %s", name, why);
    }
    found->is_renewable = true;
    secret_clear(&text);
    return status;
}

static bool
is_sso(const struct profiles *profiles, const char *name)
{
    return profile_get(profiles, name, "sso_session") != NULL
           || profile_get(profiles, name, "sso_start_url") != NULL
           || profile_get(profiles, name, "sso_account_id") != NULL;
}

/* BD_ABSENT: the profile has nothing that gives keys.  With keys_only its role is left
 * alone. */
static enum bd_status
resolve(struct lookup *lookup, const struct profiles *profiles, const char *name, bool keys_only,
        unsigned depth, struct found *found)
{
    const char *command = profile_get(profiles, name, "credential_process");
    enum bd_status status;

    if (depth > DEPTH_MAX)
        return lookup_failed(lookup, BD_INVALID,
                             "profile %s: more than %u source_profile lead from one to the next",
                             name, DEPTH_MAX);
    if (!keys_only && profile_get(profiles, name, "role_arn") != NULL) {
        status = assume(lookup, profiles, name, depth, found);
        if (status != BD_ABSENT)
            return status;
    }
    status = fixed_keys(lookup, profiles, name, found);
    if (status != BD_ABSENT)
        return status;
    if (command != NULL)
        return from_process(lookup, name, command, found);
    if (is_sso(profiles, name))
        return lookup_failed(
            lookup, BD_UNSUPPORTED,
            "profile %s signs in with IAM Identity Center (SSO), which only the AWS CLI can: write "
            "credential_process = aws configure export-credentials --profile %s into a profile of "
            "another name, or set AWS_ACCESS_KEY_ID and its companions",
            name, name);
    if (!keys_only && profile_get(profiles, name, "role_arn") != NULL)
        return lookup_failed(lookup, BD_INVALID,
                             "profile %s has a role_arn, and no source_profile, credential_source "
                             "or web_identity_token_file to assume it with",
                             name);
    return BD_ABSENT;
}

enum bd_status
source_profile(struct lookup *lookup, struct found *found)
{
    const char *option = lookup->options->profile, *name = profile_chosen(option);
    bool is_option = option != NULL && option[0] != '\0';
    bool is_asked = is_option || environment("AWS_PROFILE") != NULL;
    struct profiles profiles = { 0 };
    enum bd_status status = BD_ABSENT;
    char *bad_path = NULL;
    int error = profiles_load(&profiles, &bad_path);

    if (error != 0) {
        lookup_failed(lookup, BD_DENIED, "%s: %s", bad_path, strerror(error));
        if (is_asked)
            status = error == EACCES || error == EPERM ? BD_DENIED : BD_INVALID;
        else
            lookup->host->log(lookup->host, BD_WARNING, "%s; it is not used", lookup->why);
    } else if (profile_exists(&profiles, name)) {
        status = resolve(lookup, &profiles, name, false, 0, found);
        if (status == BD_ABSENT && is_option)
            status = lookup_failed(lookup, BD_INVALID,
                                   "profile %s has neither keys nor a way to get them", name);
    } else if (is_asked) {
        status =
            lookup_failed(lookup, BD_INVALID,
                          "profile %s is neither in ~/.aws/config nor in ~/.aws/credentials", name);
    }
    snprintf(found->source, sizeof found->source, "profile %s", name);
    free(bad_path);
    profiles_clear(&profiles);
    return status;
}
