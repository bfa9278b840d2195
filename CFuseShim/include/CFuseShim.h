// What Swift cannot say to libfuse: macros and variadics. Everything with a decision in it is Swift.
#pragma once
#define FUSE_USE_VERSION 314
#define _FILE_OFFSET_BITS 64
#include <fuse3/fuse_lowlevel.h>
