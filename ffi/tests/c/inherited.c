/* A child calls every function on what it has inherited, and ends by exit(): it does not hang, touches no descriptor, and
 * its parent goes on and misses nothing. */

#include "test.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* In a child nobody sees the stack of the library's thread any more, nor what hangs on it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static void on_other_call(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    fprintf(stderr, "the child has made system call %d\n", info->si_syscall);
    _exit(1);
}

/* From here on the kernel refuses every system call that takes a descriptor, but for words on standard error. */
static void lose_all_descriptors(void) {
#define CALL(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define ONLY(name, argument, value)                                                                                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4),                                                             \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[argument])),                              \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),               \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        CALL(exit_group), CALL(exit), CALL(futex), CALL(brk), CALL(munmap), CALL(mprotect), CALL(madvise),
        CALL(rt_sigprocmask), CALL(rt_sigaction), CALL(rt_sigreturn), CALL(clock_gettime), CALL(getpid), CALL(gettid),
        CALL(getrandom), ONLY(mmap, 4, (uint32_t)-1), ONLY(write, 0, STDERR_FILENO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_other_call;
    action.sa_flags = SA_SIGINFO;
    CHECK(sigaction(SIGSYS, &action, NULL) == 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* exit() takes a thread's own storage away before it calls handlers: there are statuses then, but no messages. */
static int has_storage = 1;

static el_queue *queue;

static void call_everything_on(el_election *inherited) {
    el_event event;
    CHECK(el_next(inherited, -1, &event, sizeof event) == EL_FORKED);
    CHECK(el_queue_next(queue, -1, &event, sizeof event) == EL_FORKED && el_queue_fd(queue) == EL_FORKED);
    CHECK(el_queue_free(queue) == EL_FORKED);
    el_hold(inherited);
    el_release(inherited);
    char name[16] = "as it was";
    uint64_t token = 7;
    el_effective effective;
    CHECK(el_settings(inherited, &effective, sizeof effective) == EL_FORKED);
    CHECK(!el_is_leader(inherited) && el_token(inherited) == 0 && el_time_left_ms(inherited) == 0);
    CHECK(el_poll(inherited, -1) == EL_FORKED);
    CHECK(strstr(el_last_error(), has_storage ? "start a new one" : "") != NULL);
    CHECK(el_poll(inherited, 0) == EL_FORKED && el_fd(inherited) == EL_FORKED);
    CHECK(el_leader(inherited, name, sizeof name, &token) == EL_FORKED && token == 7 && strcmp(name, "as it was") == 0);
    el_stop(inherited);
    CHECK(el_free(inherited) == EL_FORKED && el_free(inherited) == EL_FORKED);
    CHECK(!el_is_leader(inherited));
}

static void call_everything_on_nothing(void) {
    el_election *election = (el_election *)&election;
    CHECK(el_start(NULL, sizeof(el_config), &election) == EL_INVALID && election == NULL);
    CHECK(el_start(NULL, 0, NULL) == EL_INVALID);
    CHECK(el_poll(NULL, -1) == EL_INVALID && el_fd(NULL) == EL_INVALID && el_leader(NULL, NULL, 0, NULL) == EL_INVALID);
    CHECK(!el_is_leader(NULL) && el_token(NULL) == 0 && el_time_left_ms(NULL) == 0 && el_free(NULL) == EL_OK);
    el_stop(NULL);
    const char *endpoint = "http://127.0.0.1:1";
    el_config config = {0};
    config.endpoints = &endpoint;
    config.endpoint_count = 1;
    config.key = config.name = "nothing";
    el_effective effective;
    CHECK(el_config_settings(&config, sizeof config, &effective, sizeof effective) == EL_OK && effective.ttl_ms == 10000);
    CHECK(el_config_settings(NULL, sizeof config, &effective, sizeof effective) == EL_INVALID);
    CHECK(strcmp(el_status_name(EL_FORKED), "EL_FORKED") == 0 && el_abi_version() == EL_ABI_VERSION);
    CHECK(strchr(el_version(), '.') != NULL && strstr(el_last_error(), "NULL") != NULL);
}

static el_election *inherited[3];
static int ends_of_the_child;

static void on_exit_of_the_child(void) {
    has_storage = 0;
    for (int at = 0; at < 3; at++)
        if (inherited[at] != NULL)
            call_everything_on(inherited[at]);
    _exit(42);
}

/* All that a child does which has no election of its own. Handlers of exit() come after the library's own, if it has any. */
static void be_a_child(int is_watched) {
    if (is_watched)
        lose_all_descriptors();
    for (int round = 0; round < 2; round++)
        for (int at = 0; at < 3; at++)
            if (inherited[at] != NULL)
                call_everything_on(inherited[at]);
    call_everything_on_nothing();
    if (ends_of_the_child++ % 2 == 0)
        CHECK(atexit(on_exit_of_the_child) == 0);
    exit(42);
}

static void ends_well(pid_t child) {
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void forked(int is_watched) {
    pid_t child = fork();
    if (child == 0)
        be_a_child(is_watched);
    ends_well(child);
}

static int is_watched;

/* The address sanitizer of GCC holds its allocator's locks over no fork. */
#ifdef __SANITIZE_ADDRESS__
enum { IS_MALLOC_SAFE_AFTER_FORK = 0 };
#else
enum { IS_MALLOC_SAFE_AFTER_FORK = 1 };
#endif

static void fork_in_the_callback(const el_event *event, told *told) {
    CHECK(event->election != NULL);
    told->also = NULL;
    forked(is_watched);
}

/* The child starts its own, behind its parent's; asks a grandchild to do the same as itself; and ends without el_free. */
static void be_a_child_with_an_election(el_config config) {
    for (int at = 0; at < 3; at++)
        if (inherited[at] != NULL)
            call_everything_on(inherited[at]);
    told own = {0};
    config.name = "child";
    config.user_data = &own;
    el_election *election = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK);
    poll_until(election, &own.leader, 1);
    CHECK(strcmp(own.name, "two") == 0 && el_leader(election, NULL, 0, NULL) == 3);
    inherited[2] = election;
    forked(is_watched);
    inherited[2] = NULL;
    CHECK(el_poll(election, 0) == 0 && el_leader(election, NULL, 0, NULL) == 3);
    exit(42);
}

/* Also if another thread is inside just then to see whether we are. */
static void *poll_to_its_end(void *election) {
    while (el_poll(election, -1) != EL_STOPPED) {
    }
    return NULL;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    /* Sanitizers and Valgrind make system calls of their own. */
    is_watched = argc > 2;
    forked(is_watched);
    CHECK(el_queue_new(&queue) == EL_OK);
    told one = {0}, two = {0}, three = {0};
    one.also = fork_in_the_callback;
    el_config config = config_of("/inherited", "one", &one);
    config.ttl_s = 4;
    CHECK(el_start(&config, sizeof config, &inherited[0]) == EL_OK);
    poll_until(inherited[0], &one.leader, 1);
    CHECK(one.also == NULL && el_is_leader(inherited[0]));
    config.name = "two";
    config.user_data = &two;
    CHECK(el_start(&config, sizeof config, &inherited[1]) == EL_OK);
    poll_until(inherited[1], &two.leader, 1);

    /* What waits for the parent is not taken by a child, and the descriptor is readable as before. */
    int doorbells[] = {el_fd(inherited[0]), el_fd(inherited[1])};
    el_stop(inherited[0]);
    CHECK(is_readable(doorbells[0], 10000) && !is_readable(doorbells[1], 0));
    forked(is_watched);
    CHECK(is_readable(doorbells[0], 0) && !is_readable(doorbells[1], 0));
    CHECK(one.unelected == 0 && el_poll(inherited[0], -1) == 1 && one.unelected == 1);
    forked(is_watched);
    CHECK(!is_readable(doorbells[0], 0) && two.elected == 0);
    poll_to_the_end(inherited[0]);
    poll_until(inherited[1], &two.elected, 1);
    poll_until(inherited[1], &two.leader, 2);
    CHECK(el_free(inherited[0]) == EL_OK);
    inherited[0] = NULL;

    /* Forked while another thread waits inside el_poll. */
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, poll_to_its_end, inherited[1]) == 0);
    while (el_poll(inherited[1], 0) != EL_BUSY)
        pause_ms(1);
    for (int round = 0; round < 20; round++)
        forked(is_watched);
    if (IS_MALLOC_SAFE_AFTER_FORK) {
        pid_t child = fork();
        if (child == 0)
            be_a_child_with_an_election(config);
        ends_well(child);
    }

    /* And the parent still hears everything. The child left without a word: its place runs out. */
    CHECK(el_is_leader(inherited[1]) && two.unelected == 0);
    config.name = "three";
    config.user_data = &three;
    CHECK(el_start(&config, sizeof config, &inherited[2]) == EL_OK);
    poll_until(inherited[2], &three.leader, 1);
    CHECK(strcmp(three.name, "two") == 0);
    el_stop(inherited[1]);
    pthread_join(thread, NULL);
    CHECK(two.elected == 1 && two.unelected == 1 && el_free(inherited[1]) == EL_OK);
    poll_until(inherited[2], &three.elected, 1);
    CHECK(el_free(inherited[2]) == EL_OK && el_queue_free(queue) == EL_OK);
    nothing_is_left();
    return 0;
}
