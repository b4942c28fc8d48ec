/* Forked while another thread is inside the process's very first el_start: the child can start an election all the same. */

#include "test.h"
#include <dlfcn.h>

static int is_inside[2], may_go_on[2];
static pthread_t starter;
static int has_starter;

/* The library asks to be told of forks. The first to do so waits here until the process has forked. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *module);
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *module) {
    int (*next)(void (*)(void), void (*)(void), void (*)(void), void *);
    *(void **)&next = dlsym(RTLD_NEXT, "__register_atfork");
    char byte = 0;
    if (has_starter && pthread_equal(pthread_self(), starter))
        CHECK(write(is_inside[1], &byte, 1) == 1 && read(may_go_on[0], &byte, 1) == 1);
    return next(prepare, parent, child, module);
}

static void *start_first(void *told) {
    starter = pthread_self();
    has_starter = 1;
    return start("/early/parent", "parent", told);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    CHECK(pipe(is_inside) == 0 && pipe(may_go_on) == 0);
    descriptors_before = descriptors();
    told parents = {0};
    pthread_t thread;
    char byte = 0;
    CHECK(pthread_create(&thread, NULL, start_first, &parents) == 0 && read(is_inside[0], &byte, 1) == 1);
    pid_t child = fork();
    if (child == 0) {
        told own = {0};
        alarm(20);
        el_election *election = start("/early/child", "child", &own);
        poll_until(election, &own.elected, 1);
        CHECK(el_free(election) == EL_OK);
        _exit(0);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(write(may_go_on[1], &byte, 1) == 1);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    void *election = NULL;
    CHECK(pthread_join(thread, &election) == 0);
    poll_until(election, &parents.elected, 1);
    child = fork();
    if (child == 0)
        _exit(el_poll(election, 0) == EL_FORKED ? 0 : 1);
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(el_is_leader(election) && el_free(election) == EL_OK);
    nothing_is_left();
    return 0;
}
