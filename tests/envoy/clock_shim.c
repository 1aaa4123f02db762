/* Preloaded into Envoy by the conformance suite: the wall clock stands still at
 * CARACAL_FROZEN_AT (Unix seconds), the moment of the vectors. Every other clock
 * runs, so timers, leases and ages work as ever. */
#define _GNU_SOURCE
#include <stdlib.h>
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

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (clock == CLOCK_REALTIME && frozen_at() > 0) {
    now->tv_sec = frozen_at();
    now->tv_nsec = 500000000;
    return 0;
  }
  return (int)syscall(SYS_clock_gettime, clock, now);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}
