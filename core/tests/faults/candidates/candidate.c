/* A candidate of the fault suite in C: says all that happens to it, and every 20 ms whether it leads; while it leads it
 * writes its token into the register as often as that takes it.
 *
 *     candidate honest|naive|shameless register api endpoints key name ttl_s
 *
 * What it says, and what the register is told, is described in ../reports.rs. The other two are the suite's controls:
 * the naive one goes by events alone and has no deadline, the shameless one always claims to lead. */

#include <etcd_leader.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum judge { HONEST, NAIVE, SHAMELESS };

static const struct timespec PACE = {0, 20 * 1000 * 1000};
static el_election *election;
static enum judge judge;
/* How long the work between asking and writing takes. */
static struct timespec work;
/* The token that the naive one goes by, and the last one that the shameless one has heard of. */
static _Atomic uint64_t believed, heard = 1;
static _Atomic int is_over;
static volatile sig_atomic_t is_stopped;
static int line;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* The token it claims to lead with, or 0. */
static uint64_t claim(void) {
    if (judge == NAIVE)
        return believed;
    const uint64_t token = el_token(election);
    if (judge == SHAMELESS)
        return token != 0 ? token : heard;
    return el_is_leader(election) ? token : 0;
}

static void *sample(void *unused) {
    (void)unused;
    for (; !is_over; nanosleep(&PACE, NULL)) {
        const int64_t before = now_ns();
        const uint64_t token = claim();
        dprintf(1, "S %" PRId64 " %" PRId64 " %" PRIu64 "\n", before, now_ns(), token);
    }
    return NULL;
}

static void *write_tokens(void *unused) {
    (void)unused;
    while (!is_over) {
        const int64_t before = now_ns();
        const uint64_t token = claim();
        if (token == 0) {
            nanosleep(&(struct timespec){0, 1000 * 1000}, NULL);
            continue;
        }
        const int64_t after = now_ns();
        nanosleep(&work, NULL);
        char words[80], answer;
        const int length = snprintf(words, sizeof words, "%" PRId64 " %" PRId64 " %" PRIu64 "\n", before, after, token);
        /* At the end the line is shut down; SIGPIPE keeps its meaning for all else. */
        if (send(line, words, (size_t)length, MSG_NOSIGNAL) != length || read(line, &answer, 1) != 1)
            break;
    }
    return NULL;
}

static int connected(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    const int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(made, (const struct sockaddr *)&address, sizeof address) == 0 ? made : -1;
}

static void on_event(const el_event *event, void *user_data) {
    const int64_t now = now_ns();
    switch (event->type) {
    case EL_EVENT_ELECTED:
        believed = event->token;
        dprintf(1, "E %" PRId64 " elected %" PRIu64 "\n", now, event->token);
        break;
    case EL_EVENT_UNELECTED:
        if (event->status != EL_DEADLINE)
            believed = 0;
        dprintf(1, "E %" PRId64 " unelected %s\n", now, el_status_name(event->status));
        break;
    case EL_EVENT_LEADER:
        if (event->token != 0) {
            heard = event->token;
            if (strcmp(event->name, user_data) != 0)
                believed = 0;
        }
        dprintf(1, "E %" PRId64 " leader %s\n", now, event->name);
        break;
    case EL_EVENT_RETRYING:
        dprintf(1, "E %" PRId64 " retrying %s %s\n", now, el_status_name(event->status), event->message);
        break;
    case EL_EVENT_ENDED:
        dprintf(1, "E %" PRId64 " %s %s %s\n", now, is_stopped ? "ended" : "error", el_status_name(event->status), event->message);
        break;
    }
}

static void on_signal(int number) {
    (void)number;
    is_stopped = 1;
    el_stop(election);
}

int main(int argc, char **argv) {
    if (argc != 8 || (line = connected(argv[2])) < 0) {
        fprintf(stderr, "usage: candidate honest|naive|shameless register api endpoints key name ttl_s\n");
        return 2;
    }
    dprintf(line, "%s\n", argv[6]);
    judge = strcmp(argv[1], "naive") == 0 ? NAIVE : strcmp(argv[1], "shameless") == 0 ? SHAMELESS : HONEST;
    const char *endpoints[64];
    uint32_t count = 0;
    for (char *one = strtok(argv[4], ","); one != NULL && count < 64; one = strtok(NULL, ","))
        endpoints[count++] = one;
    el_config config = {0};
    config.api = strcmp(argv[3], "v2") == 0 ? EL_API_V2 : EL_API_V3;
    config.endpoints = endpoints;
    config.endpoint_count = count;
    config.key = argv[5];
    config.name = argv[6];
    config.ttl_s = (uint32_t)strtoul(argv[7], NULL, 10);
    config.username = getenv("FAULTS_USER");
    config.password = getenv("FAULTS_PASSWORD");
    config.ca_file = getenv("FAULTS_CA");
    if (getenv("FAULTS_WORK_MS") != NULL)
        work.tv_nsec = strtol(getenv("FAULTS_WORK_MS"), NULL, 10) * 1000 * 1000;
    config.on_event = on_event;
    config.user_data = argv[6];
    if (el_start(&config, sizeof config, &election) != EL_OK) {
        fprintf(stderr, "%s: %s\n", argv[6], el_last_error());
        return 2;
    }
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    pthread_t sampler, writer;
    pthread_create(&sampler, NULL, sample, NULL);
    pthread_create(&writer, NULL, write_tokens, NULL);

    int32_t polled;
    while ((polled = el_poll(election, -1)) >= 0) {
    }
    is_over = 1;
    shutdown(line, SHUT_RDWR);
    pthread_join(writer, NULL);
    pthread_join(sampler, NULL);
    return polled == EL_STOPPED && el_free(election) == EL_OK ? 0 : 1;
}
