# SPDX-License-Identifier: Apache-2.0
# bd_add_manual(page.N.md …): installs manual pages, made with pandoc; without pandoc there are none.  For packages they are
# compressed.
find_program(PANDOC pandoc)
function(bd_add_manual)
    foreach(source ${ARGN})
        get_filename_component(page ${source} NAME_WLE)
        string(REGEX REPLACE ".*\\." "" section ${page})
        if(NOT PANDOC)
            continue()
        endif()
        set(made ${page})
        set(compress)
        if(BUCKETDISK_PACKAGES)
            set(made ${page}.gz)
            set(compress COMMAND gzip -9nf ${page})
        endif()
        add_custom_command(OUTPUT ${made} DEPENDS ${source}
            COMMAND ${PANDOC} -s -f markdown-smart -t man -M hyphenate=false -o ${page} ${CMAKE_CURRENT_SOURCE_DIR}/${source}
            ${compress})
        add_custom_target(manual-${page} ALL DEPENDS ${made})
        install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${made} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
    endforeach()
endfunction()
