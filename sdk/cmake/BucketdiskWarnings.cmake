# SPDX-License-Identifier: Apache-2.0
# Warnings are errors, with gcc and with clang.  Assertions stay on in every build type: they guard data.
add_compile_options(
    -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wcast-qual -Wstrict-prototypes
    -Wmissing-prototypes -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wnull-dereference
    -Wno-missing-field-initializers
    -fno-strict-aliasing -fstack-protector-strong
    -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64)
foreach(type RELEASE RELWITHDEBINFO MINSIZEREL)
    string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${type} "${CMAKE_C_FLAGS_${type}}")
endforeach()
