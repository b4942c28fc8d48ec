/* For LD_PRELOAD: lets time pass between the word that a child was stopped and whatever is made of it. SLOW names a file
 * that is made meanwhile. */

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int waitid(idtype_t type, id_t id, siginfo_t *found, int options) {
    int result = (int)syscall(SYS_waitid, type, id, found, options, NULL);
    if (result == 0 && (options & WNOWAIT) != 0 && found->si_pid != 0 && found->si_code == CLD_STOPPED) {
        close(open(getenv("SLOW"), O_CREAT | O_WRONLY, 0600));
        poll(NULL, 0, 500);
    }
    return result;
}
