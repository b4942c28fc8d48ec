/* What a shell does with a job on a terminal, to see that `lead` is a good one.
 *
 *     shell briefly lead [its arguments...] -- shell echo     stopped with Ctrl-Z and let go on, forty times; then Ctrl-C
 *     shell for-long lead [its arguments...] -- shell echo    stopped until the command is gone, then let go on
 *     shell in-a-script sh -c '... ; echo "n""ext"'           the same as briefly, with `lead` in it, and no next line
 *     shell echo                                              the command: repeats each line, and says when it goes on
 *
 * Says "all is well" if all was. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : fail(#what, __LINE__))

enum { ROUNDS = 40 };

static int keyboard; /* The other side of the terminal: we type here, and read what is shown. */
static int words;    /* From the shell to the one who types. */

static char shown[65536]; /* By the terminal, so far. */

static void fail(const char *what, int line) {
    fprintf(stderr, "line %d: not so: %s (errno %d); shown:\n%s\n", line, what, errno, shown);
    _exit(1);
}

static void type(const char *text) {
    CHECK(write(keyboard, text, strlen(text)) == (ssize_t)strlen(text));
}

/* Waits until the terminal shows this. */
static void shows(const char *what) {
    static size_t length, from;
    for (char *found; (found = strstr(shown + from, what)) == NULL;) {
        struct pollfd source = {keyboard, POLLIN, 0};
        CHECK(poll(&source, 1, 60000) == 1 && length + 1 < sizeof shown);
        ssize_t more = read(keyboard, shown + length, sizeof shown - 1 - length);
        CHECK(more > 0);
        length += (size_t)more;
        shown[length] = '\0';
    }
    from = (size_t)(strstr(shown + from, what) - shown) + strlen(what);
}

/* Waits until the shell says this. */
static void hears(char expected) {
    char word;
    struct pollfd source = {words, POLLIN, 0};
    CHECK(poll(&source, 1, 60000) == 1 && read(words, &word, 1) == 1);
    if (word != expected) {
        fprintf(stderr, "the shell says %d, not %d\n", word, expected);
        _exit(1);
    }
}

static void say(int out, char word) {
    CHECK(write(out, &word, 1) == 1);
}

/* The shell: begins a job, and says S when it has stopped, or its status when it has ended. It lets a stopped job go on
 * when it reads a byte. If it `is_late`, it first reads a byte, gives the job the terminal once more, and says T: shells
 * give it in both processes, and the second may do so after the job has handed it on. */
static void shell(const char *terminal, char **command, int in, int out, int is_late) {
    setsid();
    int tty = open(terminal, O_RDWR);
    CHECK(tty >= 0 && ioctl(tty, TIOCSCTTY, 0) == 0);
    signal(SIGTTOU, SIG_IGN);
    pid_t job = fork();
    if (job == 0) {
        setpgid(0, 0);
        tcsetpgrp(tty, getpid());
        signal(SIGTTOU, SIG_DFL);
        for (int at = 0; at < 3; at++)
            dup2(tty, at);
        close(tty);
        execvp(command[0], command);
        _exit(99);
    }
    setpgid(job, job);
    char word;
    if (is_late) {
        CHECK(read(in, &word, 1) == 1);
        tcsetpgrp(tty, job);
        say(out, 'T');
    }
    for (;;) {
        int status;
        CHECK(waitpid(job, &status, WUNTRACED) == job);
        if (!WIFSTOPPED(status)) {
            say(out, (char)(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)));
            _exit(0);
        }
        /* Whoever had the terminal has given it back before it stopped. */
        CHECK(tcgetpgrp(tty) == job);
        tcsetpgrp(tty, getpid());
        say(out, 'S');
        CHECK(read(in, &word, 1) == 1);
        tcsetpgrp(tty, job);
        kill(-job, SIGCONT);
    }
}

static void goes_on(int number) {
    (void)number;
    CHECK(write(STDOUT_FILENO, "[goes on]", 9) == 9);
}

static int repeat_lines(void) {
    char line[256];
    ssize_t length;
    struct sigaction action = {.sa_handler = goes_on, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGCONT, &action, NULL) == 0);
    while ((length = read(STDIN_FILENO, line, sizeof line)) > 0)
        CHECK(write(STDOUT_FILENO, line, (size_t)length) == length);
    return 0;
}

static int times_shown(const char *what) {
    int times = 0;
    for (const char *at = shown; (at = strstr(at, what)) != NULL; at++)
        times++;
    return times;
}

static void is_repeated(const char *line) {
    type(line);
    type("\n");
    shows(line); /* By the terminal, */
    shows(line); /* and by the command. */
}

static void stop_and_go_on(int go) {
    type("\x1a");
    hears('S');
    say(go, 'g');
    is_repeated("two");
}

int main(int argc, char **argv) {
    int to_us[2], to_shell[2];
    if (argc == 2 && strcmp(argv[1], "echo") == 0)
        return repeat_lines();
    if (argc < 3)
        return 98;
    keyboard = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(keyboard >= 0 && grantpt(keyboard) == 0 && unlockpt(keyboard) == 0);
    CHECK(pipe2(to_us, O_CLOEXEC) == 0 && pipe2(to_shell, O_CLOEXEC) == 0);
    words = to_us[0];
    /* Open as long as we are, so that it does not hang up in between. */
    int open_end = open(ptsname(keyboard), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(open_end >= 0);
    int is_brief = strcmp(argv[1], "for-long") != 0;
    pid_t child = fork();
    if (child == 0) {
        shell(ptsname(keyboard), argv + 2, to_shell[0], to_us[1], !is_brief);
        _exit(97);
    }
    shows("the command runs");
    if (!is_brief) {
        say(to_shell[1], 'g');
        hears('T');
    }
    /* A read that waits already gets the first line. Only a process that has the terminal gets the second. */
    is_repeated("zero");
    is_repeated("one");
    if (is_brief) {
        for (int round = 0; round < ROUNDS; round++)
            stop_and_go_on(to_shell[1]);
        /* A second SIGCONT would undo a Ctrl-Z that comes between the two. */
        CHECK(times_shown("[goes on]") == ROUNDS);
        type("\x03");
        hears((char)(128 + SIGINT));
        type("last\n");
        shows("last");
        CHECK(times_shown("next") == 0);
    } else {
        pid_t command = tcgetpgrp(keyboard);
        type("\x1a");
        hears('S');
        while (kill(-command, 0) == 0)
            poll(NULL, 0, 5);
        say(to_shell[1], 'g');
        hears(76);
    }
    CHECK(waitpid(child, NULL, 0) == child);
    puts("all is well");
    return 0;
}
