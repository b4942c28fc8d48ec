/* A thousand elections, or as many as the second argument says, on one thread and one connection. */

#include "test.h"

enum { MOST = 1000 };

static int count = MOST;
static told tolds[MOST];
static el_election *elections[MOST];

/* Polls all of them, round and round, until each has got there. */
static void poll_all_until(int (*is_there)(int)) {
    for (int64_t end = now_ms() + 120000;;) {
        int waits_for = -1;
        for (int at = 0; at < count; at++)
            if (!is_there(at)) {
                int32_t polled = el_poll(elections[at], 0);
                CHECK(polled >= 0 || polled == EL_STOPPED);
                waits_for = at;
            }
        if (waits_for < 0)
            return;
        el_poll(elections[waits_for], 100);
        CHECK(now_ms() < end);
    }
}

static int leads(int at) { return tolds[at].leader == 1 && el_is_leader(elections[at]); }
static int has_ended(int at) { return el_poll(elections[at], 0) == EL_STOPPED; }

int main(int argc, char **argv) {
    begin(argc, argv);
    if (argc > 2)
        count = atoi(argv[2]);
    CHECK(count > 0 && count <= MOST);
    for (int at = 0; at < count; at++) {
        char key[32];
        snprintf(key, sizeof key, "/many/%d", at);
        el_config config = config_of(key, "one of many", &tolds[at]);
        config.ttl_s = 60;
        CHECK(el_start(&config, sizeof config, &elections[at]) == EL_OK);
    }
    poll_all_until(leads);
    CHECK(threads() == threads_before + 1 && sockets() == 1);
    for (int at = 0; at < count; at++)
        el_stop(elections[at]);
    poll_all_until(has_ended);
    for (int at = 0; at < count; at++) {
        CHECK(tolds[at].elected == 1 && tolds[at].unelected == 1);
        CHECK(el_free(elections[at]) == EL_OK);
    }
    nothing_is_left();
    return 0;
}
