/* etcd-leader from C: see README.md. */

#include <etcd_leader.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST 2048

/* A candidate, and whom it knows to lead. */
struct one {
    el_election *election;
    char name[32];
    char leader[32];
    uint64_t since;
    int is_told;
};

static struct one *all[MOST];
static int count, fresh;
static const char *url, *key, *number;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, el_last_error());
    exit(1);
}

static void knows(struct one *one, const char *leader) {
    snprintf(one->leader, sizeof one->leader, "%s", leader);
    one->since = now();
}

static void on_event(const el_event *event, void *user_data) {
    struct one *one = user_data;
    if (event->type == EL_EVENT_ELECTED) {
        knows(one, one->name);
        printf("@ elected %" PRIu64 " %s\n", one->since, one->name);
    } else if (event->type == EL_EVENT_LEADER && event->token != 0) {
        knows(one, event->name);
    } else if (event->type == EL_EVENT_ENDED && event->status != EL_OK && event->status != EL_STOPPED) {
        fail("failed");
    }
}

static void ignore(const el_event *event, void *user_data) {
    (void)event;
    (void)user_data;
}

static el_election *start(const char *on, const char *name, struct one *one) {
    el_config config = {0};
    el_election *election;
    config.endpoints = &url;
    config.endpoint_count = 1;
    config.key = on;
    config.name = name;
    config.on_event = one != NULL ? on_event : ignore;
    config.user_data = one;
    if (el_start(&config, sizeof config, &election) != EL_OK)
        fail("start");
    return election;
}

static void add(void) {
    struct one *one = calloc(1, sizeof *one);
    snprintf(one->name, sizeof one->name, "%s-%d", number, fresh++);
    one->election = start(key, one->name, one);
    all[count++] = one;
}

static void stop(void) {
    for (int at = 0; at < count; at++) {
        if (el_is_leader(all[at]->election)) {
            uint64_t begun = now();
            el_stop(all[at]->election);
            while (el_poll(all[at]->election, 0) == 1) {
            }
            el_poll(all[at]->election, 0);
            printf("@ stopped %" PRIu64 "\n", begun);
            fflush(stdout);
            /* It has left; what is freed here waits for etcd's word. */
            el_free(all[at]->election);
            free(all[at]);
            all[at] = all[--count];
            return;
        }
    }
}

static void told(const char *name) {
    printf("@ told");
    for (int at = 0; at < count; at++)
        if (strcmp(all[at]->leader, name) == 0)
            printf(" %" PRIu64, all[at]->since);
    printf("\n");
}

static void start_once(const char *on) {
    uint64_t begun = now();
    el_election *election = start(on, "one", NULL);
    while (!el_is_leader(election))
        if (el_poll(election, -1) < 0)
            fail("poll");
    printf("@ started %" PRIu64 "\n", now() - begun);
    fflush(stdout);
    el_stop(election);
    while (el_poll(election, -1) >= 0) {
    }
    el_free(election);
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    url = argv[1], key = argv[2], number = argv[3];
    printf("@ begun %" PRIu64 "\n", now());
    for (int at = 0, wanted = atoi(argv[4]); at < wanted; at++)
        add();
    char line[256];
    size_t used = 0;
    int said_all = 0;
    for (;;) {
        struct pollfd fds[MOST + 1];
        fds[0] = (struct pollfd){STDIN_FILENO, POLLIN, 0};
        for (int at = 0; at < count; at++)
            fds[at + 1] = (struct pollfd){el_fd(all[at]->election), POLLIN, 0};
        poll(fds, (nfds_t)count + 1, -1);
        int known = 0;
        for (int at = 0; at < count; at++) {
            while (fds[at + 1].revents != 0 && el_poll(all[at]->election, 0) == 1) {
            }
            known += all[at]->leader[0] != 0;
        }
        if (!said_all && known == count) {
            said_all = 1;
            printf("@ all\n");
        }
        if (fds[0].revents != 0) {
            ssize_t got = read(STDIN_FILENO, line + used, sizeof line - 1 - used);
            if (got <= 0)
                return 0;
            used += (size_t)got;
            line[used] = 0;
            for (char *end; (end = strchr(line, '\n')) != NULL; memmove(line, end + 1, used + 1)) {
                *end = 0;
                if (strcmp(line, "stop") == 0)
                    stop();
                else if (strcmp(line, "again") == 0)
                    add();
                else if (strncmp(line, "told ", 5) == 0)
                    told(line + 5);
                else if (strncmp(line, "start ", 6) == 0)
                    start_once(line + 6);
                used -= (size_t)(end + 1 - line);
            }
        }
        fflush(stdout);
    }
}
