/* `make bench`: what a call costs, beside the least that it could cost: one look at the clock. Not a test: nothing is judged
 * by time. The second argument says how many rounds to take. */

#include "test.h"

enum { CALLS = 1000, MOST = 2000 };

static el_election *leader, *follower;
static volatile int64_t sink;

static void look_at_the_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    sink = now.tv_nsec;
}

static void is_leader(void) { sink = el_is_leader(leader); }
static void token(void) { sink = (int64_t)el_token(leader); }
static void time_left(void) { sink = el_time_left_ms(leader); }
static void is_leader_who_follows(void) { sink = el_is_leader(follower); }
static void is_leader_of_nothing(void) { sink = el_is_leader(NULL); }
static void poll_nothing(void) { sink = el_poll(leader, 0); }

static void name_of_leader(void) {
    char name[64];
    sink = el_leader(follower, name, sizeof name, NULL);
}

static struct {
    const char *name;
    void (*call)(void);
    double ns[MOST];
} rows[] = {
    {"clock_gettime(CLOCK_BOOTTIME), the floor", look_at_the_clock, {0}},
    {"el_is_leader, leading", is_leader, {0}},
    {"el_is_leader, following", is_leader_who_follows, {0}},
    {"el_is_leader, NULL", is_leader_of_nothing, {0}},
    {"el_token, leading", token, {0}},
    {"el_time_left_ms, leading", time_left, {0}},
    {"el_leader, following", name_of_leader, {0}},
    {"el_poll(0), nothing due", poll_nothing, {0}},
};

enum { ROWS = sizeof rows / sizeof *rows };

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int by_size(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    int rounds = argc > 2 ? atoi(argv[2]) : MOST;
    CHECK(rounds > 0 && rounds <= MOST);
    told leads = {0}, follows = {0};
    leader = start("/cost", "the leader", &leads);
    poll_until(leader, &leads.leader, 1);
    follower = start("/cost", "another", &follows);
    poll_until(follower, &follows.leader, 1);
    CHECK(el_is_leader(leader) && !el_is_leader(follower));
    /* In turns, so that what else the machine does is spread over all rows. */
    for (int round = 0; round < rounds; round++)
        for (int row = 0; row < ROWS; row++) {
            int64_t begun = now_ns();
            for (int call = 0; call < CALLS; call++)
                rows[row].call();
            rows[row].ns[round] = (double)(now_ns() - begun) / CALLS;
        }
    CHECK(el_is_leader(leader) && leads.unelected == 0);
    printf("%-44s %10s %10s %10s\n", "a call", "median", "99 %", "of floor");
    for (int row = 0; row < ROWS; row++)
        qsort(rows[row].ns, (size_t)rounds, sizeof *rows[row].ns, by_size);
    for (int row = 0; row < ROWS; row++) {
        double median = rows[row].ns[rounds / 2], worst = rows[row].ns[(rounds - 1) * 99 / 100];
        printf("%-44s %7.1f ns %7.1f ns %8.1f x\n", rows[row].name, median, worst, median / rows[0].ns[rounds / 2]);
    }
    CHECK(el_free(follower) == EL_OK && el_free(leader) == EL_OK);
    nothing_is_left();
    return 0;
}
