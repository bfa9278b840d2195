// Counts allocations of chosen threads. For tests alone: what links it has malloc replaced by one
// that counts and calls glibc's.
#pragma once
#include <stdint.h>

/// Starts at 0 and counts malloc, calloc, realloc and the aligned ones on threads whose names begin with `prefix`
/// (at most 15 bytes, not copied). One count at a time in a process.
void malloc_count_begin(const char *prefix);

/// Ends the count; how many there were.
uint64_t malloc_count_end(void);
