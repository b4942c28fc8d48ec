/* What may be called in a signal handler takes no memory, and leaves errno and the last error as they were: whatever
 * the handler has interrupted may hold malloc's lock. */

#include "test.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static __thread int is_in_handler;
static volatile sig_atomic_t taken, handled;

static void note(void) { taken += is_in_handler; }

void *malloc(size_t size) { return note(), __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return note(), __libc_calloc(count, size); }
void *realloc(void *block, size_t size) { return note(), __libc_realloc(block, size); }
void free(void *block) { note(), __libc_free(block); }

static el_election *asked;
static int is_to_stop;
static volatile int64_t answers[3];

static void on_interrupt(int number) {
    (void)number;
    is_in_handler = 1;
    errno = EDOM;
    answers[0] = el_is_leader(asked);
    answers[1] = (int64_t)el_token(asked);
    answers[2] = el_time_left_ms(asked);
    if (is_to_stop)
        el_stop(asked);
    handled += errno == EDOM;
    is_in_handler = 0;
}

static int leads_in_handler(el_election *election) {
    asked = election;
    handled = 0;
    CHECK(raise(SIGINT) == 0 && handled == 1);
    CHECK(taken == 0);
    CHECK((answers[0] != 0) == (answers[1] != 0) && (answers[0] != 0) == (answers[2] > 0));
    return answers[0] != 0;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    CHECK(sigaction(SIGINT, &action, NULL) == 0);

    /* Before the first election, as when Ctrl-C comes early. */
    CHECK(!leads_in_handler(NULL));
    is_to_stop = 1;
    CHECK(!leads_in_handler(NULL));
    is_to_stop = 0;

    told one = {0}, two = {0};
    el_election *first = start("/handlers", "one", &one);
    leads_in_handler(first);
    poll_until(first, &one.leader, 1);
    el_election *second = start("/handlers", "two", &two);
    poll_until(second, &two.leader, 1);
    CHECK(leads_in_handler(first) && !leads_in_handler(second) && !leads_in_handler(NULL));
    CHECK(strcmp(el_last_error(), "") == 0);

    pid_t child = fork();
    if (child == 0) {
        CHECK(!leads_in_handler(first));
        is_to_stop = 1;
        CHECK(!leads_in_handler(second));
        _exit(0);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);

    is_to_stop = 1;
    CHECK(leads_in_handler(first) && !leads_in_handler(first));
    poll_to_the_end(first);
    CHECK(!leads_in_handler(first) && one.unelected == 1);
    poll_until(second, &two.elected, 1);
    CHECK(el_free(first) == EL_OK && el_free(second) == EL_OK);
    nothing_is_left();
    return 0;
}
