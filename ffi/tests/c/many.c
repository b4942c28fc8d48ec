/* A thousand elections on one thread and one connection. */

#include "test.h"

enum { ELECTIONS = 1000 };

static told tolds[ELECTIONS];
static el_election *elections[ELECTIONS];

/* Polls all of them, round and round, until each has got there. */
static void poll_all_until(int (*is_there)(int)) {
    int missing = ELECTIONS;
    for (int64_t end = now_ms() + 120000; missing > 0;) {
        missing = 0;
        for (int at = 0; at < ELECTIONS; at++)
            if (!is_there(at)) {
                missing++;
                int32_t polled = el_poll(elections[at], missing == 1 ? 100 : 0);
                CHECK(polled >= 0 || polled == EL_STOPPED);
            }
        CHECK(now_ms() < end);
    }
}

static int leads(int at) { return tolds[at].leader == 1 && el_is_leader(elections[at]); }
static int has_ended(int at) { return el_poll(elections[at], 0) == EL_STOPPED; }

int main(int argc, char **argv) {
    begin(argc, argv);
    for (int at = 0; at < ELECTIONS; at++) {
        char key[32];
        snprintf(key, sizeof key, "/many/%d", at);
        elections[at] = start(key, "one of many", &tolds[at]);
    }
    poll_all_until(leads);
    CHECK(threads() == threads_before + 1 && sockets() == 1);
    for (int at = 0; at < ELECTIONS; at++)
        el_stop(elections[at]);
    poll_all_until(has_ended);
    for (int at = 0; at < ELECTIONS; at++) {
        CHECK(tolds[at].elected == 1 && tolds[at].unelected == 1);
        CHECK(el_free(elections[at]) == EL_OK);
    }
    nothing_is_left();
    return 0;
}
