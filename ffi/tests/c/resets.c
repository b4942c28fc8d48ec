/* Candidates behind a proxy that resets their connections, with SIGPIPE as it is by default; until standard input ends.
 * Many candidates on one key have as many connections. */

#include "test.h"

enum { CANDIDATES = 100 };

int main(int argc, char **argv) {
    begin(argc, argv);
    static told tolds[CANDIDATES];
    el_election *elections[CANDIDATES];
    struct pollfd asked[CANDIDATES + 1];
    for (int at = 0; at < CANDIDATES; at++) {
        elections[at] = start("/resets", "one of many", &tolds[at]);
        asked[at] = (struct pollfd){el_fd(elections[at]), POLLIN, 0};
    }
    asked[CANDIDATES] = (struct pollfd){STDIN_FILENO, POLLIN, 0};
    int leaders = 0, is_asked_to_end = 0;
    while (!is_asked_to_end || leaders != 1) {
        CHECK(poll(asked, CANDIDATES + (is_asked_to_end ? 0 : 1), 100) >= 0);
        is_asked_to_end = is_asked_to_end || asked[CANDIDATES].revents != 0;
        leaders = 0;
        for (int at = 0; at < CANDIDATES; at++) {
            if (asked[at].revents != 0)
                CHECK(el_poll(elections[at], 0) >= 0);
            CHECK(tolds[at].ended == 0);
            leaders += el_is_leader(elections[at]);
        }
        CHECK(leaders <= 1);
    }
    for (int at = 0; at < CANDIDATES; at++)
        el_stop(elections[at]);
    for (int at = 0; at < CANDIDATES; at++)
        CHECK(el_free(elections[at]) == EL_OK);
    nothing_is_left();
    return 0;
}
