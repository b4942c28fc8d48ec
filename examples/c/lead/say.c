/* What is told to people. Nothing may hold us up here: while we wait for a reader, nobody renews the keeper's time. */

#include "lead.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int most_said = USUALLY;

/* Names come from other hosts, and a terminal obeys what it is shown. */
static void make_harmless(unsigned char *text) {
    for (; *text != '\0'; text++) {
        bool is_control = *text < 0x20 || *text == 0x7f || (text[0] == 0xc2 && text[1] >= 0x80 && text[1] < 0xa0);
        if (is_control)
            *text = '?';
    }
}

void say(int level, const char *format, ...) {
    char line[1024] = "lead: ";
    if (level > most_said)
        return;
    size_t start = strlen(line);
    va_list values;
    va_start(values, format);
    vsnprintf(line + start, sizeof line - start - 1, format, values);
    va_end(values);
    make_harmless((unsigned char *)line);
    size_t length = strlen(line);
    line[length++] = '\n';
    /* One write of less than PIPE_BUF bytes is whole, and does not wait if there is room. */
    struct pollfd room = {STDERR_FILENO, POLLOUT, 0};
    if (poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) != 0 && write(STDERR_FILENO, line, length) < 0)
        return; /* Whom could we tell? */
}

void say_unkillable(pid_t pid) {
    say(ALWAYS, "process %d cannot be killed: it belongs to another user; waiting for its end", (int)pid);
}
