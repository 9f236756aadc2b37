/* A clock of its own for redis-server: it begins at a moment and runs at a speed, both from the environment ("SECONDS SPEED"), so that months pass while
 * a test waits. It is ahead of that by as many microseconds as a file says, so that a test need not wait at all. Monotonic clocks stay as they are, and with them every time-out. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static int (*real)(clockid_t, struct timespec *);
static double begun, first, speed = 1;
static volatile const long long *ahead;

__attribute__((constructor)) static void begin(void) {
  struct timespec now;
  real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  real(CLOCK_REALTIME, &now);
  begun = first = now.tv_sec + now.tv_nsec / 1e9;
  const char *said = getenv("REDIS_CLOCK");
  if (said) sscanf(said, "%lf %lf", &first, &speed);
  const char *file = getenv("REDIS_CLOCK_AHEAD");
  void *seen = file ? mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, open(file, O_RDONLY), 0) : MAP_FAILED;
  ahead = seen == MAP_FAILED ? 0 : seen;
}

int clock_gettime(clockid_t which, struct timespec *out) {
  if (!real) begin();
  int failed = real(which, out);
  if (failed || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)) return failed;
  double now = first + (out->tv_sec + out->tv_nsec / 1e9 - begun) * speed + (ahead ? *ahead / 1e6 : 0);
  out->tv_sec = (time_t)now;
  out->tv_nsec = (long)((now - (double)out->tv_sec) * 1e9);
  return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int failed = clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return failed;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
