/* What cannot be used is refused with a status and a message that names field, value and remedy, before any network. */

#include "test.h"

static el_config good(void) {
    static told unused;
    return config_of("/arguments", "one", &unused);
}

/* Refused, with all of these in the message. */
static void refused_with(int line, el_config config, const char *field, const char *value, const char *remedy) {
    el_election *election = (el_election *)&config;
    int32_t status = el_start(&config, sizeof config, &election);
    check(line, status == EL_INVALID, "it is refused");
    check(line, election == NULL, "there is no election");
    check(line, strstr(el_last_error(), field) != NULL, field);
    check(line, strstr(el_last_error(), value) != NULL, value);
    check(line, strstr(el_last_error(), remedy) != NULL, remedy);
}

#define REFUSED(change, field, value, remedy)                                                                           \
    do {                                                                                                                \
        el_config config = good();                                                                                      \
        config.change;                                                                                                  \
        refused_with(__LINE__, config, field, value, remedy);                                                           \
    } while (0)

static void endpoints_are_checked(void) {
    REFUSED(endpoint_count = 0, "endpoint_count", "0", "number of endpoints");
    REFUSED(endpoint_count = 65, "endpoint_count", "65", "at most 64");
    REFUSED(endpoints = NULL, "endpoints", "NULL", "array of 1");
    const struct {
        const char *endpoint, *value, *remedy;
    } bad[] = {
        {NULL, "NULL", "give a text"},
        {"", "names no server", "http://host:port"},
        {" , ", "names no server", "unix:///path"},
        {"127.0.0.1:2379/v2", "after the port", "http://host:port"},
        {"ftp://h:1", "ftp", "http://host:port"},
        {"http://h:0", "\"0\"", "1 to 65535"},
        {"http://h:65536", "65536", "1 to 65535"},
        {"http://h:x", "\"x\"", "1 to 65535"},
        {"http://", "no usable host", "http://host:port"},
        {"http://h:1/v2", "after the port", "http://host:port"},
        {"http://root:secret@h:1", "password", "leave them out"},
        {"http://\xff:1", "byte 7 is 0xff", "UTF-8"},
    };
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        REFUSED(endpoints = &bad[at].endpoint, "endpoints[0]", bad[at].value, bad[at].remedy);
        CHECK(strstr(el_last_error(), "secret") == NULL);
    }
    const char *two[] = {endpoints[0], "http://h:y"};
    el_config config = good();
    config.endpoints = two;
    config.endpoint_count = 2;
    refused_with(__LINE__, config, "endpoints[1]", "\"y\"", "1 to 65535");
}

static void texts_are_checked(void) {
    char longer[1026];
    memset(longer, 'k', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    REFUSED(key = NULL, "key", "NULL", "give a text");
    REFUSED(key = "", "key", "empty", "1 to 1024");
    REFUSED(key = "/", "key", "\"/\"", "leave the slash out");
    REFUSED(key = "/a/", "key", "\"/a/\"", "leave the slash out");
    REFUSED(key = "/a//b", "key", "\"/a//b\"", "single");
    REFUSED(key = "/a\xc3(", "key", "byte 2 is 0xc3", "UTF-8");
    REFUSED(key = longer, "key", "1025", "at most 1024");
    REFUSED(name = NULL, "name", "NULL", "give a text");
    REFUSED(name = "", "name", "empty", "1 to 1024");
    REFUSED(name = "\x80", "name", "byte 0 is 0x80", "UTF-8");
    REFUSED(name = longer, "name", "1025", "at most 1024");
}

static void numbers_are_checked(void) {
    REFUSED(ttl_s = 301, "ttl_s", "301", "1 to 300");
    REFUSED(ttl_s = UINT32_MAX, "ttl_s", "4294967295", "1 to 300");
    REFUSED(renew_ms = 9000, "renew_ms", "9000", "lower");
    REFUSED(renew_ms = 100001, "renew_ms", "100001", "at most 100000");
    REFUSED(renew_ms = UINT32_MAX, "renew_ms", "4294967295", "at most 100000");
    REFUSED(step_down_ms = 9999, "step_down_ms", "9999", "lower");
    REFUSED(request_timeout_ms = 1501, "request_timeout_ms", "1501", "at most 1500");
    REFUSED(request_timeout_ms = 19, "request_timeout_ms", "19", "at least 20");
    REFUSED(request_timeout_ms = UINT32_MAX, "request_timeout_ms", "4294967295", "at most 1500");
    REFUSED(stop_timeout_ms = 3600001, "stop_timeout_ms", "3600001", "at most 3600000");
    REFUSED(api = 1, "api", "1", "EL_API_V3");
    REFUSED(api = -1, "api", "-1", "EL_API_V3");
    REFUSED(on_store_reset = 3, "on_store_reset", "3", "EL_ON_STORE_RESET_STOP");
}

static void the_size_is_checked(void) {
    struct {
        el_config known;
        uint64_t unknown;
    } larger = {good(), 0};
    el_election *election = NULL;
    CHECK(el_start(NULL, sizeof larger.known, &election) == EL_INVALID && strstr(el_last_error(), "config is NULL"));
    CHECK(el_start(&larger.known, sizeof larger.known, NULL) == EL_INVALID && strstr(el_last_error(), "election is NULL"));
    const size_t none[] = {0, 1, sizeof larger.known - 1, 5000};
    for (size_t at = 0; at < sizeof none / sizeof *none; at++) {
        CHECK(el_start(&larger.known, none[at], &election) == EL_INVALID);
        CHECK(strstr(el_last_error(), "config_size") != NULL && strstr(el_last_error(), "sizeof(el_config)") != NULL);
    }
    larger.unknown = UINT64_C(1) << 32;
    CHECK(el_start((el_config *)&larger, sizeof larger, &election) == EL_INVALID);
    CHECK(strstr(el_last_error(), "does not know") != NULL && strstr(el_last_error(), "newer libetcd_leader") != NULL);
    CHECK(election == NULL);
}

static void no_election_is_no_crash(void) {
    el_event event;
    CHECK(el_next(NULL, 0, &event, sizeof event) == EL_INVALID && strstr(el_last_error(), "election is NULL") != NULL);
    CHECK(el_queue_next(NULL, 0, &event, sizeof event) == EL_INVALID && strstr(el_last_error(), "queue is NULL") != NULL);
    CHECK(el_queue_new(NULL) == EL_INVALID && strstr(el_last_error(), "give a place for the new queue") != NULL);
    CHECK(el_queue_fd(NULL) == EL_INVALID && el_queue_free(NULL) == EL_OK);
    el_release(NULL);
    el_hold(NULL);
    CHECK(el_poll(NULL, 0) == EL_INVALID && strstr(el_last_error(), "election is NULL") != NULL);
    CHECK(el_leader(NULL, NULL, 0, NULL) == EL_INVALID && el_fd(NULL) == EL_INVALID);
    CHECK(!el_is_leader(NULL) && el_token(NULL) == 0 && el_time_left_ms(NULL) == 0 && el_free(NULL) == EL_OK);
    el_stop(NULL);
}

static void statuses_have_names(void) {
    CHECK(strcmp(el_status_name(EL_OK), "EL_OK") == 0 && strcmp(el_status_name(EL_INVALID), "EL_INVALID") == 0);
    CHECK(strcmp(el_status_name(1), "EL_?") == 0 && strcmp(el_status_name(INT32_MIN), "EL_?") == 0);
}

/* A password must not come back in a message. */
static void access_is_checked(void) {
    static const char *const https = "https://127.0.0.1:2379";
    REFUSED(username = "me", "username", "\"me\"", "set password");
    REFUSED(password = "Planted-Swordfish", "password", "without a user", "set username");
    REFUSED(username = "me"; config.password = "", "password", "empty", "etcd takes no empty");
    REFUSED(username = "me"; config.password = "Planted-Swordfish\xff", "password", "byte 17", "UTF-8");
    CHECK(strstr(el_last_error(), "Swordfish") == NULL && strstr(el_last_error(), "0xff") == NULL);
    REFUSED(ca_file = "/no/such/file", "ca_file", "not encrypted", "write https://");
    REFUSED(endpoints = &https; config.ca_file = "/no/such/file", "ca_file", "/no/such/file", "may read");
    REFUSED(endpoints = &https; config.ca_file = "/f"; config.ca_pem = "x", "ca_file", "/f", "one of them");
    REFUSED(endpoints = &https; config.ca_pem = "x", "ca_pem", "holds no certificate", "BEGIN CERTIFICATE");
    REFUSED(endpoints = &https; config.cert_pem = "x", "certificate", "without its key", "key_file or key_pem");
    REFUSED(endpoints = &https; config.key_file = "/f", "key", "without its certificate", "cert_file or cert_pem");
    REFUSED(endpoints = &https; config.tls_server_name = "a b", "tls_server_name", "\"a b\"", "DNS name");
    REFUSED(endpoints = &https; config.key_pem = "\xff", "key_pem", "byte 0", "UTF-8");
}

static void queues_are_checked(void) {
    el_queue *queue = NULL;
    CHECK(el_queue_new(&queue) == EL_OK && queue != NULL);
    REFUSED(queue = queue, "on_event is set, and so is queue", "calls nothing", "leave one of them NULL");
    el_config config = good();
    config.key = "/queued";
    config.on_event = NULL;
    config.queue = queue;
    el_election *election = NULL;
    el_event event;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK);
    CHECK(el_next(election, 0, &event, sizeof event) == EL_INVALID && strstr(el_last_error(), "el_queue_next") != NULL);
    CHECK(el_poll(election, 0) == EL_INVALID && el_fd(election) == EL_INVALID);
    CHECK(el_queue_next(queue, -2, &event, sizeof event) == EL_INVALID && strstr(el_last_error(), "timeout_ms is -2"));
    CHECK(el_queue_next(queue, 0, NULL, sizeof event) == EL_INVALID && strstr(el_last_error(), "event is NULL"));
    CHECK(el_queue_free(queue) == EL_BUSY && strstr(el_last_error(), "1 elections use the queue") != NULL);
    CHECK(el_free(election) == EL_OK && el_queue_free(queue) == EL_OK);
    config.queue = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK);
    CHECK(el_poll(election, 0) == EL_INVALID && strstr(el_last_error(), "on_event is NULL") != NULL);
    CHECK(el_free(election) == EL_OK);
}

/* With an election that runs: its network is touched from here on. */
static void later_calls_are_checked(void) {
    told told = {0};
    el_election *election = start("/arguments/a", "one", &told);
    CHECK(el_poll(election, -2) == EL_INVALID && strstr(el_last_error(), "timeout_ms is -2") != NULL);
    CHECK(el_leader(election, NULL, 5, NULL) == EL_INVALID && strstr(el_last_error(), "buffer is NULL") != NULL);
    el_event event;
    CHECK(el_next(election, -2, &event, sizeof event) == EL_INVALID && strstr(el_last_error(), "timeout_ms is -2") != NULL);
    CHECK(el_next(election, 0, NULL, sizeof event) == EL_INVALID && strstr(el_last_error(), "event is NULL") != NULL);
    CHECK(el_next(election, 0, &event, 3) == EL_INVALID && strstr(el_last_error(), "event_size is 3; give sizeof(el_event)"));
    queues_are_checked();
    REFUSED(key = "/arguments/a/b", "key", "/arguments/a/b", "rename");
    REFUSED(key = "/arguments", "key", "/arguments/a", "rename");
    CHECK(el_free(election) == EL_OK);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    CHECK(strcmp(el_last_error(), "") == 0);
    endpoints_are_checked();
    texts_are_checked();
    numbers_are_checked();
    access_is_checked();
    the_size_is_checked();
    no_election_is_no_crash();
    statuses_have_names();
    nothing_is_left();
    if (argc > 2)
        later_calls_are_checked();
    nothing_is_left();
    return 0;
}
