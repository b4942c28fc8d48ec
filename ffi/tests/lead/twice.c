/* Runs a program with the password in its environment twice, as no shell does: twice PROGRAM [argument...] */

#include <unistd.h>

int main(int argc, char **argv) {
    static char *environment[200] = {"ETCD_LEADER_PASSWORD=Planted-Swordfish", "ETCD_LEADER_PASSWORD=Planted-Swordfish-2"};
    if (argc < 2)
        return 98;
    for (int at = 2; at < 199 && environ[at - 2] != NULL; at++)
        environment[at] = environ[at - 2];
    return execve(argv[1], argv + 1, environment);
}
