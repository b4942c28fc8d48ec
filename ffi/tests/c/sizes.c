/* The configuration is read as far as its size says, before el_start returns, and never after. */

#include "test.h"
#include <sys/mman.h>

static size_t page;

/* Two pages, of which the second must not be touched. */
static unsigned char *guarded(void) {
    unsigned char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && mprotect(pages + page, page, PROT_NONE) == 0);
    return pages;
}

/* Every size that an older or a newer header could have, and every one that none has. */
static void every_size(void) {
    unsigned char *pages = guarded();
    told unused;
    for (size_t size = 0; size <= page; size++) {
        el_config config = config_of("/sizes", "no endpoint", &unused);
        config.endpoint_count = 0;
        unsigned char *end = pages + page, *begin = end - size;
        memset(begin, 0, size);
        memcpy(begin, &config, size < sizeof config ? size : sizeof config);
        el_election *election = (el_election *)pages;
        el_effective effective = {0};
        const el_config *given = (const el_config *)(void *)begin;
        CHECK(el_config_settings(given, size, &effective, sizeof effective) == EL_INVALID && effective.ttl_ms == 0);
        char *said = strdup(el_last_error());
        CHECK(el_start(given, size, &election) == EL_INVALID && election == NULL);
        CHECK(said != NULL && strcmp(said, el_last_error()) == 0);
        free(said);
        int is_size = size > 0 && size % 8 == 0;
        CHECK((strstr(el_last_error(), "config_size") == NULL) == is_size);
        /* What is missing is zero. */
        if (is_size)
            CHECK(strstr(el_last_error(), "endpoint_count is 0") != NULL);
        if (size > sizeof config && is_size) {
            end[-1] = 1;
            CHECK(el_start((const el_config *)(void *)begin, size, &election) == EL_INVALID);
            CHECK(strstr(el_last_error(), "does not know") != NULL && strstr(el_last_error(), "newer libetcd_leader"));
        }
    }
    CHECK(munmap(pages, 2 * page) == 0);
}

/* Ends at a page's end, so that it is read no further than its NUL. */
static const char *put(unsigned char **end, const char *text) {
    size_t length = strlen(text) + 1;
    *end -= length;
    return memcpy(*end, text, length);
}

/* All of it is unmapped as soon as el_start has returned: whoever reads it later, on whatever thread, dies. */
static void what_is_given_is_copied(void) {
    unsigned char *pages = guarded(), *end = pages + page;
    const char *endpoint = put(&end, endpoints[0]), *key = put(&end, "/sizes"), *name = put(&end, "copied");
    end -= (uintptr_t)end % 16 + sizeof(char *);
    *(const char **)(void *)end = endpoint;
    told told = {0};
    el_config *config = (el_config *)(void *)(end - sizeof *config - 8);
    *config = config_of(key, name, &told);
    config->endpoints = (const char *const *)(void *)end;
    config->ttl_s = 1;
    el_election *election = NULL;
    CHECK(el_start(config, sizeof *config, &election) == EL_OK);
    CHECK(munmap(pages, 2 * page) == 0);
    poll_until(election, &told.leader, 1);
    CHECK(strcmp(told.name, "copied") == 0 && el_leader(election, NULL, 0, NULL) == 6);
    CHECK(el_free(election) == EL_OK);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    page = (size_t)sysconf(_SC_PAGESIZE);
    CHECK(page % 8 == 0 && page >= sizeof(el_config));
    every_size();
    what_is_given_is_copied();
    nothing_is_left();
    return 0;
}
