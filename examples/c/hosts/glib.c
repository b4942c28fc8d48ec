/* A candidate inside GLib's main loop, as programs for GTK and GNOME have it. At the top of the repository, with
 * libglib2.0-dev:
 *
 *     make lib
 *     cc -Iinclude examples/c/hosts/glib.c $(pkg-config --cflags --libs glib-2.0) -Ltarget/release -letcd_leader \
 *         -Wl,-rpath,$PWD/target/release -o glib
 *     ./glib http://127.0.0.1:2379 /jobs/nightly host-1 10
 *
 * The last argument is the ttl in seconds. SIGTERM and Ctrl-C give the place up and end the program. */

#include <etcd_leader.h>
#include <glib-unix.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct campaign {
    GMainLoop *loop;
    el_election *election;
    int32_t polled;
};

static void on_event(const el_event *event, void *user_data) {
    const char *name = user_data;
    if (event->type == EL_EVENT_ELECTED)
        printf("%s: elected, token %" PRIu64 "\n", name, event->token);
    else if (event->type == EL_EVENT_UNELECTED)
        printf("%s: unelected: %s\n", name, event->message);
    else if (event->type == EL_EVENT_LEADER)
        printf("%s: the leader is %s\n", name, event->token != 0 ? event->name : "not known");
}

static gboolean on_readable(gint descriptor, GIOCondition condition, gpointer data) {
    struct campaign *campaign = data;
    (void)descriptor, (void)condition;
    /* The call after the one that told of the end says: our work has ended. */
    while ((campaign->polled = el_poll(campaign->election, 0)) > 0) {
    }
    if (campaign->polled < 0)
        g_main_loop_quit(campaign->loop);
    return campaign->polled < 0 ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static gboolean on_signal(gpointer data) {
    struct campaign *campaign = data;
    el_stop(campaign->election);
    return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: %s endpoint key name ttl\n", argv[0]);
        return 2;
    }
    const char *endpoints[] = {argv[1]};
    el_config config = {0};
    config.endpoints = endpoints;
    config.endpoint_count = 1;
    config.key = argv[2];
    config.name = argv[3];
    config.ttl_s = (uint32_t)atoi(argv[4]);
    config.on_event = on_event;
    config.user_data = argv[3];
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct campaign campaign = {g_main_loop_new(NULL, FALSE), NULL, 0};
    if (el_start(&config, sizeof config, &campaign.election) != EL_OK) {
        fprintf(stderr, "%s: %s\n", argv[0], el_last_error());
        return 2;
    }
    g_unix_signal_add(SIGTERM, on_signal, &campaign);
    g_unix_signal_add(SIGINT, on_signal, &campaign);
    g_unix_fd_add(el_fd(campaign.election), G_IO_IN, on_readable, &campaign);
    g_main_loop_run(campaign.loop);
    g_main_loop_unref(campaign.loop);
    return el_free(campaign.election) == EL_OK && campaign.polled == EL_STOPPED ? 0 : 1;
}
