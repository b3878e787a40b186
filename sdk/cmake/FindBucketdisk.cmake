# SPDX-License-Identifier: Apache-2.0
# find_package(Bucketdisk) inside our own tree, so that the examples are built here as they are elsewhere: all is there.
set(Bucketdisk_FOUND TRUE)
