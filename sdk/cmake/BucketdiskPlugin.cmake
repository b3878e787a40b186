# SPDX-License-Identifier: Apache-2.0
# bd_add_plugin(NAME sources… [LIBRARIES …]): one shared object that exports bd_plugin_query and nothing
# else.  The same function in our tree and out of it.
function(bd_add_plugin name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "OUTPUT_DIRECTORY" "LIBRARIES")
    add_library(${name} MODULE ${arg_UNPARSED_ARGUMENTS})
    set_target_properties(${name} PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden)
    if(arg_OUTPUT_DIRECTORY)
        set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${arg_OUTPUT_DIRECTORY})
    elseif(DEFINED BUCKETDISK_PLUGIN_OUTPUT_DIRECTORY)
        set_target_properties(${name} PROPERTIES
            LIBRARY_OUTPUT_DIRECTORY ${BUCKETDISK_PLUGIN_OUTPUT_DIRECTORY})
    endif()
    target_link_libraries(${name} PRIVATE Bucketdisk::sdk ${arg_LIBRARIES})
    # The linker finds unresolved symbols at build time, the loader at load time: never at the first call.
    # A sanitizer's runtime lives in the host, so under one the first check is left to the other builds.
    target_link_options(${name} PRIVATE -Wl,-z,now -Wl,--exclude-libs,ALL)
    if(NOT CMAKE_C_FLAGS MATCHES "-fsanitize")
        target_link_options(${name} PRIVATE -Wl,-z,defs)
    endif()
endfunction()
