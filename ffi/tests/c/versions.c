/* Compiled against a header of another version, older or newer than the library: see tests/abi.rs. Elects all the same;
 * the second argument says which fields a newer header's configuration has set. */

#include <etcd_leader.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static int elected, unelected;

/* As the header says: a field is there if the library's structure reaches as far. */
#define HAS(event, field) ((event)->size >= offsetof(el_event, field) + sizeof((event)->field))

static void on_event(const el_event *event, void *user_data) {
    (void)user_data;
    if (event->size != LIBRARY_EVENT_SIZE || !HAS(event, election) || event->election == NULL)
        printf("an event of %u bytes\n", (unsigned)event->size);
#ifdef NEWER
    if (HAS(event, of_later))
        printf("the library says that it has what it cannot know\n");
#endif
    if (event->type == EL_EVENT_ELECTED) {
        elected++;
        el_stop(event->election);
    } else if (event->type == EL_EVENT_UNELECTED) {
        unelected++;
    }
}

int main(int argc, char **argv) {
    /* What follows the structure is not the library's business. */
    struct {
        el_config config;
        unsigned char after[256];
    } given;
    memset(&given.config, 0, sizeof given.config);
    memset(given.after, 0xff, sizeof given.after);
    given.config.endpoints = (const char *const *)&argv[1];
    given.config.endpoint_count = 1;
    given.config.key = "/versions";
    given.config.name = "of another version";
    given.config.on_event = on_event;
    int is_refused = argc > 2;
#ifdef OLDER
    if (sizeof(el_config) != 72 || sizeof(el_event) != 48)
        printf("the older header's structures have %zu and %zu bytes\n", sizeof(el_config), sizeof(el_event));
#endif
#ifdef NEWER
    given.config.of_later = is_refused ? "something" : NULL;
#endif
    el_election *election = NULL;
    int32_t status = el_start(&given.config, sizeof given.config, &election);
    if (is_refused) {
        printf("%s: %s\n", el_status_name(status), el_last_error());
        return election == NULL ? 0 : 1;
    }
    if (status != EL_OK) {
        printf("%s\n", el_last_error());
        return 1;
    }
    while (el_poll(election, 60000) > 0) {
    }
    if (elected != 1 || unelected != 1)
        printf("elected %d times, unelected %d times\n", elected, unelected);
    return el_free(election) == EL_OK ? 0 : 1;
}
