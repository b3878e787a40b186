/* SPDX-License-Identifier: Apache-2.0 */
/* Pins the ABI: the size of every struct of plugin.h and where every member is, on LP64 machines.
 *
 * A line that fails to compile means that plugins built before and hosts built after would misread each
 * other.  Within a major, offsets never change; a size grows with the members appended.  A struct that
 * grows has no padding at its end: a member put there would seem to be in the structs of those who do not know it. */
#include <bucketdisk/plugin.h>

#if defined(__LP64__)

#define SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), "the size of " #type)
#define AT(type, member, bytes)                                                                    \
    _Static_assert(offsetof(struct type, member) == (bytes), "where " #type "." #member " is")
#define END(type, member)                                                                          \
    _Static_assert(sizeof(struct type)                                                             \
                       == offsetof(struct type, member) + sizeof(((struct type *)0)->member),      \
                   "what is behind " #type "." #member)
#define NUMBER(type) _Static_assert(sizeof(enum type) == 4, "the size of " #type)

/* clang-format off */
SIZE(bd_head, 16);
AT(bd_head, magic, 0);
AT(bd_head, abi_major, 4);
AT(bd_head, size, 8);
AT(bd_head, flags, 12);
END(bd_head, flags);

SIZE(bd_attr, 24);
AT(bd_attr, name, 0);
AT(bd_attr, value, 8);
AT(bd_attr, value_bytes, 16);
END(bd_attr, value_bytes);

SIZE(bd_io, 176);
AT(bd_io, size, 0);
AT(bd_io, op, 4);
AT(bd_io, deadline_ns, 8);
AT(bd_io, name, 16);
AT(bd_io, scratch, 24);
AT(bd_io, body, 32);
AT(bd_io, body_bytes, 40);
AT(bd_io, encoding, 48);
AT(bd_io, media_type, 56);
AT(bd_io, attrs, 64);
AT(bd_io, attr_count, 72);
AT(bd_io, attr_stride, 76);
AT(bd_io, if_match, 80);
AT(bd_io, if_none_match, 88);
AT(bd_io, data, 96);
AT(bd_io, cap, 104);
AT(bd_io, offset, 112);
AT(bd_io, names, 120);
AT(bd_io, statuses, 128);
AT(bd_io, name_count, 136);
AT(bd_io, limit, 140);
AT(bd_io, start_after, 144);
AT(bd_io, len, 152);
AT(bd_io, object_bytes, 160);
AT(bd_io, more, 168);
AT(bd_io, retry_after_ms, 172);
END(bd_io, retry_after_ms);

SIZE(bd_host, 224);
AT(bd_host, head, 0);
AT(bd_host, abi_minor, 16);
AT(bd_host, reserved, 20);
AT(bd_host, log, 24);
AT(bd_host, complete, 32);
AT(bd_host, error, 40);
AT(bd_host, attr_add, 48);
AT(bd_host, encoding_set, 56);
AT(bd_host, tag_set, 64);
AT(bd_host, list_add, 72);
AT(bd_host, child_new, 80);
AT(bd_host, child_submit, 88);
AT(bd_host, child_result, 96);
AT(bd_host, child_free, 104);
AT(bd_host, timer, 112);
AT(bd_host, now_ns, 120);
AT(bd_host, thread_new, 128);
AT(bd_host, thread_join, 136);
AT(bd_host, counter, 144);
AT(bd_host, counter_add, 152);
AT(bd_host, random, 160);
AT(bd_host, secret_alloc, 168);
AT(bd_host, secret_free, 176);
AT(bd_host, key, 184);
AT(bd_host, passphrase, 192);
AT(bd_host, coding_error, 200);
AT(bd_host, coding_attr_add, 208);
AT(bd_host, coding_attr_get, 216);
END(bd_host, coding_attr_get);

SIZE(bd_option, 80);
AT(bd_option, name, 0);
AT(bd_option, alias, 8);
AT(bd_option, type, 16);
AT(bd_option, flags, 20);
AT(bd_option, offset, 24);
AT(bd_option, field_bytes, 28);
AT(bd_option, def, 32);
AT(bd_option, min, 40);
AT(bd_option, max, 48);
AT(bd_option, choices, 56);
AT(bd_option, metavar, 64);
AT(bd_option, help, 72);
END(bd_option, help);

SIZE(bd_backend_info, 64);
AT(bd_backend_info, size, 0);
AT(bd_backend_info, reserved, 4);
AT(bd_backend_info, capabilities, 8);
AT(bd_backend_info, object_bytes_max, 16);
AT(bd_backend_info, delete_many_max, 24);
AT(bd_backend_info, list_max, 28);
AT(bd_backend_info, concurrency, 32);
AT(bd_backend_info, reserved2, 36);
AT(bd_backend_info, identity, 40);
AT(bd_backend_info, display, 48);
AT(bd_backend_info, container, 56);
END(bd_backend_info, container);

SIZE(bd_lower, 24);
AT(bd_lower, size, 0);
AT(bd_lower, reserved, 4);
AT(bd_lower, info, 8);
AT(bd_lower, instance, 16);
END(bd_lower, instance);

SIZE(bd_backend, 56);
AT(bd_backend, head, 0);
AT(bd_backend, traits, 16);
AT(bd_backend, scratch_bytes, 20);
AT(bd_backend, open, 24);
AT(bd_backend, info, 32);
AT(bd_backend, submit, 40);
AT(bd_backend, close, 48);
END(bd_backend, close);

SIZE(bd_bytes, 16);
AT(bd_bytes, data, 0);
AT(bd_bytes, len, 8);
END(bd_bytes, len);

SIZE(bd_buf, 24);
AT(bd_buf, data, 0);
AT(bd_buf, cap, 8);
AT(bd_buf, len, 16);
END(bd_buf, len);

SIZE(bd_coding, 64);
AT(bd_coding, size, 0);
AT(bd_coding, block_bytes, 4);
AT(bd_coding, block, 8);
AT(bd_coding, plain_bytes, 16);
AT(bd_coding, inner, 24);
AT(bd_coding, associated, 32);
AT(bd_coding, host_private, 48);
AT(bd_coding, flags, 56);
AT(bd_coding, reserved, 60);
END(bd_coding, reserved);

SIZE(bd_codec, 120);
AT(bd_codec, head, 0);
AT(bd_codec, token, 16);
AT(bd_codec, aliases, 24);
AT(bd_codec, summary, 32);
AT(bd_codec, traits, 40);
AT(bd_codec, reserved, 44);
AT(bd_codec, match, 48);
AT(bd_codec, open, 56);
AT(bd_codec, close, 64);
AT(bd_codec, bound, 72);
AT(bd_codec, worker_new, 80);
AT(bd_codec, worker_free, 88);
AT(bd_codec, encode, 96);
AT(bd_codec, decode, 104);
AT(bd_codec, written, 112);
END(bd_codec, written);

SIZE(bd_keywrap, 56);
AT(bd_keywrap, head, 0);
AT(bd_keywrap, name, 16);
AT(bd_keywrap, summary, 24);
AT(bd_keywrap, wrap, 32);
AT(bd_keywrap, unwrap, 40);
AT(bd_keywrap, subkey, 48);
END(bd_keywrap, subkey);

SIZE(bd_plugin, 120);
AT(bd_plugin, head, 0);
AT(bd_plugin, abi_minor, 16);
AT(bd_plugin, reserved, 20);
AT(bd_plugin, name, 24);
AT(bd_plugin, version, 32);
AT(bd_plugin, summary, 40);
AT(bd_plugin, options, 48);
AT(bd_plugin, option_count, 56);
AT(bd_plugin, option_stride, 60);
AT(bd_plugin, options_bytes, 64);
AT(bd_plugin, reserved2, 68);
AT(bd_plugin, check, 72);
AT(bd_plugin, backend, 80);
AT(bd_plugin, codecs, 88);
AT(bd_plugin, codec_count, 96);
AT(bd_plugin, codec_stride, 100);
AT(bd_plugin, keywraps, 104);
AT(bd_plugin, keywrap_count, 112);
AT(bd_plugin, keywrap_stride, 116);
END(bd_plugin, keywrap_stride);

NUMBER(bd_status);
NUMBER(bd_log_level);

#endif
