/* A system without the timer that a set clock cancels, as gVisor, and without a thread for anything but the engine: the
   library does without both, and says why it cannot look up a name. */

#define _GNU_SOURCE
#include <dlfcn.h>

#include "test.h"

static int timers, started_threads;

/* These stand before the C library's. */
int timerfd_create(int clock, int flags);

int timerfd_create(int clock, int flags) {
    (void)clock;
    (void)flags;
    ++timers;
    errno = EINVAL;
    return -1;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *data) {
    union {
        void *found;
        int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    } real = {dlsym(RTLD_NEXT, "pthread_create")};
    return ++started_threads == 1 ? real.create(thread, attributes, run, data) : EAGAIN;
}

static char why[512];

static void on_trouble(const el_event *event, void *user_data) {
    (void)user_data;
    if (event->type == EL_EVENT_RETRYING && event->status != EL_OK)
        snprintf(why, sizeof why, "%s", event->message);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    told told = {0};
    el_election *election = start("/missing", "one", &told);
    poll_until(election, &told.elected, 1);
    CHECK(timers > 0 && started_threads == 1);

    /* A name needs a thread to be looked up on. */
    char url[64];
    const char *named[] = {url};
    snprintf(url, sizeof url, "http://localhost%s", strrchr(argv[1], ':'));
    el_config config = config_of("/named", "one", NULL);
    config.endpoints = named;
    config.on_event = on_trouble;
    el_election *other = NULL;
    CHECK(el_start(&config, sizeof config, &other) == EL_OK);
    while (why[0] == '\0')
        CHECK(el_poll(other, 10000) >= 0);
    CHECK(strstr(why, "no thread") != NULL && strstr(why, "an address needs none") != NULL && started_threads > 1);
    CHECK(el_free(other) == EL_OK);

    el_stop(election);
    poll_to_the_end(election);
    CHECK(told.unelected == 1 && el_free(election) == EL_OK);
    nothing_is_left();
    return 0;
}
