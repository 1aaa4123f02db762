/* Preloaded into a program under test: the wall clock stands still at
 * CARACAL_FROZEN_AT (Unix seconds), or is off by CARACAL_CLOCK_OFF_BY seconds, or by
 * as many as the 64-bit number in the file CARACAL_CLOCK_FILE says, which a test can
 * change at any time. Every other clock runs, so timers, leases and ages work as ever. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t frozen_at(void) {
  static time_t at;
  if (at == 0) {
    const char *text = getenv("CARACAL_FROZEN_AT");
    at = text ? (time_t)atoll(text) : -1;
  }
  return at;
}

static int64_t offset(void) {
  static volatile int64_t *shared;
  static int64_t always;
  static int looked;
  if (!looked) {
    const char *path = getenv("CARACAL_CLOCK_FILE");
    int file = path ? open(path, O_RDONLY) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) shared = mapped;
    const char *text = getenv("CARACAL_CLOCK_OFF_BY");
    if (text) always = atoll(text);
    looked = 1;
  }
  return shared ? *shared : always;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (clock == CLOCK_REALTIME && frozen_at() > 0) {
    now->tv_sec = frozen_at();
    now->tv_nsec = 500000000;
    return 0;
  }
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (!failed && clock == CLOCK_REALTIME) now->tv_sec += offset();
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}
