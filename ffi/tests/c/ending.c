/* The end of an election while etcd, whose process is the second argument, says nothing: the whole of it takes one
   stop_timeout_ms beyond the work of the user. */

#include "test.h"

enum { STOP_TIMEOUT_MS = 2000 };

/* Whether each thread of a process stands still. */
static int is_frozen(pid_t process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *tasks = opendir(path);
    CHECK(tasks != NULL);
    int frozen = 1;
    for (struct dirent *task; frozen && (task = readdir(tasks)) != NULL;) {
        char stat[512] = "";
        snprintf(stat, sizeof stat, "/proc/%d/task/%.20s/stat", (int)process, task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(stat, "r");
        if (file == NULL)
            continue;
        frozen = fgets(stat, sizeof stat, file) != NULL && strstr(stat, ") T ") != NULL;
        fclose(file);
    }
    closedir(tasks);
    return frozen;
}

/* Until then a request that was sent before may be answered. */
static void freeze(pid_t process) {
    CHECK(kill(process, SIGSTOP) == 0);
    for (int64_t end = now_ms() + 60000; !is_frozen(process); pause_ms(1))
        CHECK(now_ms() < end);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    CHECK(argc == 3);
    pid_t etcd = (pid_t)atoi(argv[2]);
    told told = {0};
    el_config config = config_of("/ending", "one", &told);
    config.stop_timeout_ms = STOP_TIMEOUT_MS;
    el_election *election = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK);
    poll_until(election, &told.elected, 1);

    freeze(etcd);
    el_stop(election);
    CHECK(el_poll(election, 10000) == 1 && told.unelected == 1);
    int64_t back = now_ms();
    poll_to_the_end(election);
    int64_t ended = now_ms();
    CHECK(el_free(election) == EL_OK);
    int64_t freed = now_ms();
    CHECK(kill(etcd, SIGCONT) == 0);
    if (ended < back + STOP_TIMEOUT_MS || freed >= back + 2 * STOP_TIMEOUT_MS) {
        fprintf(stderr, "the end took %" PRId64 " ms, and freeing %" PRId64 " ms\n", ended - back, freed - ended);
        return 1;
    }
    nothing_is_left();
    return 0;
}
