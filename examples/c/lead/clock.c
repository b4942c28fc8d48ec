/* Time. The library counts on CLOCK_BOOTTIME; what must be over before a lease is has to count on the same. */

#include "lead.h"

#include <sys/timerfd.h>
#include <time.h>

int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t earlier(int64_t one, int64_t other) {
    return one < other ? one : other;
}

int new_timer(void) {
    return timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
}

void set_timer(int timer, int64_t at) {
    struct itimerspec when = {{0, 0}, {0, 0}};
    if (at != NEVER) {
        when.it_value.tv_sec = (time_t)(at / 1000);
        when.it_value.tv_nsec = (long)(at % 1000) * 1000000;
        if (at <= 0) /* Zero would stop it. */
            when.it_value.tv_nsec = 1;
    }
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}
