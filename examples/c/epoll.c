/* A candidate inside an event loop of one's own: epoll, with a timer that works while we lead, and standard input.
 * At the top of the repository:
 *
 *     make examples
 *     target/release/epoll http://127.0.0.1:2379 /jobs/nightly host-1
 *
 * Lines to type: "who" (who leads?), "stop" (or Ctrl-D): give the place up and end. */

#include <etcd_leader.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int timer;
static uint64_t term; /* The token while we lead, else 0. */

/* Starts the timer, or stops it. */
static void work_every(time_t seconds) {
    struct itimerspec when = {{seconds, 0}, {seconds, 0}};
    timerfd_settime(timer, 0, &when, NULL);
}

static void on_event(const el_event *event, void *user_data) {
    (void)user_data;
    if (event->type == EL_EVENT_ELECTED) {
        term = event->token;
        work_every(1);
        printf("elected, token %" PRIu64 "\n", term);
    } else if (event->type == EL_EVENT_UNELECTED) {
        term = 0;
        work_every(0);
        printf("unelected: %s\n", event->message);
    } else if (event->type == EL_EVENT_RETRYING && event->status != EL_OK) {
        printf("retrying: %s\n", event->message);
    } else if (event->type == EL_EVENT_ENDED) {
        printf("the end (%s)%s%s\n", el_status_name(event->status), *event->message ? ": " : "", event->message);
    }
}

static void on_timer(el_election *election) {
    uint64_t ticks;
    if (read(timer, &ticks, sizeof ticks) == sizeof ticks && term != 0 && el_token(election) == term)
        printf("working, %" PRId64 " ms left for certain\n", el_time_left_ms(election));
}

/* Returns 0 once there is nothing more to read. */
static int on_input(el_election *election) {
    char line[64];
    ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);
    line[length > 0 ? length : 0] = '\0';
    if (strncmp(line, "who", 3) == 0) {
        char name[256];
        uint64_t token;
        el_leader(election, name, sizeof name, &token);
        printf("%s leads\n", token != 0 ? name : "nobody we know");
    }
    if (length <= 0 || strncmp(line, "stop", 4) == 0)
        el_stop(election);
    return length > 0;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s endpoint key name\n", argv[0]);
        return 2;
    }
    const char *endpoints[] = {argv[1]};
    el_config config = {0};
    config.endpoints = endpoints;
    config.endpoint_count = 1;
    config.key = argv[2];
    config.name = argv[3];
    config.on_event = on_event;
    el_election *election;
    if (el_start(&config, sizeof config, &election) != EL_OK) {
        fprintf(stderr, "%s: %s\n", argv[0], el_last_error());
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int loop = epoll_create1(EPOLL_CLOEXEC);
    int sources[] = {el_fd(election), timer, STDIN_FILENO};
    for (size_t at = 0; at < sizeof sources / sizeof *sources; at++) {
        struct epoll_event source = {.events = EPOLLIN, .data.fd = sources[at]};
        if (epoll_ctl(loop, EPOLL_CTL_ADD, sources[at], &source) != 0)
            perror("epoll_ctl");
    }

    int32_t polled = 0;
    while (polled >= 0) {
        struct epoll_event ready;
        if (epoll_wait(loop, &ready, 1, -1) < 1)
            continue;
        if (ready.data.fd == timer)
            on_timer(election);
        else if (ready.data.fd != STDIN_FILENO)
            /* The call after the one that told the end says: our work has ended. That was the timer. */
            while ((polled = el_poll(election, 0)) > 0) {
            }
        else if (!on_input(election))
            epoll_ctl(loop, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    }
    close(loop);
    close(timer);
    return el_free(election) == EL_OK && polled == EL_STOPPED ? 0 : 1;
}
