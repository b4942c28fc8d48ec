/* What --help says: the whole manual, in lines of 80 characters. */

#include "manual.h"

#include <stdio.h>

const option manual[OPTIONS] = {
    [ENDPOINTS] = {"endpoints", "URL[,URL...]", "What to lead",
        "the servers of one etcd cluster, each\n"
        "http://host:port, https://host:port,\n"
        "unix:///path or host:port"},
    [KEY] = {"key", "KEY", NULL,
        "the election: who gives the same key competes\n"
        "(in etcdctl --key is a file; that is --key-file)"},
    [NAME] = {"name", "NAME", NULL,
        "what the others are told while this host leads.\n"
        "By default the host's name; with --api v2, where\n"
        "names must differ, followed by the process id"},
    [API] = {"api", "v2|v3", NULL,
        "which API of etcd, by default v3; all who compete\n"
        "must take the same one"},
    [WAIT] = {"wait", "SECONDS", "How long, and how often",
        "give up, with status 75 or 69, if the turn does not\n"
        "come in this time; 0: as soon as another leads.\n"
        "By default lead waits for ever"},
    [ONCE] = {"once", NULL, NULL,
        "run the command once, and exit with its status.\n"
        "This is the default"},
    [RESTART] = {"restart", NULL, NULL,
        "go on: when the command has ended, get in line\n"
        "again; when the lead was lost, wait for it. Until\n"
        "SIGINT, SIGTERM or SIGQUIT, or until the command\n"
        "cannot be run at all, or ends by Ctrl-C (a signal,\n"
        "or status 130). A standstill of this host is a lead\n"
        "that was lost"},
    [PAUSE] = {"pause", "SECONDS", NULL,
        "with --restart: how long to stay out of the line\n"
        "when the command has ended; by default 1"},
    [TTL] = {"ttl", "SECONDS", "Time",
        "the lease, 1 to 300, by default 10: if this host\n"
        "dies, the next one begins after that time"},
    [GRACE] = {"grace", "SECONDS", NULL,
        "how long the command has from SIGTERM to SIGKILL;\n"
        "by default a tenth of the ttl. It must fit into\n"
        "the lease, see below"},
    [STEP_DOWN] = {"step-down-ms", "MS", NULL,
        "the margin: how long before the lease can end\n"
        "leading ends by itself. By default a fifth of the\n"
        "ttl, or more if the grace needs it"},
    [RENEW] = {"renew-ms", "MS", NULL,
        "how often a follower renews its lease; by\n"
        "default twice in a ttl"},
    [REQUEST_TIMEOUT] = {"request-timeout-ms", "MS", NULL,
        "how long a server may be silent before another\n"
        "is asked too; by default as long as there is\n"
        "time for twice"},
    [STOP_TIMEOUT] = {"stop-timeout", "SECONDS", NULL,
        "how long to wait at the end for etcd to take the\n"
        "place away; by default the ttl. A second, if etcd\n"
        "is out of reach: the place ends with the lease"},
    [CACERT] = {"cacert", "FILE", "TLS and users",
        "CA certificates to trust on https://, in PEM. By\n"
        "default those that the system trusts"},
    [CERT] = {"cert", "FILE", NULL,
        "our own certificate, in PEM, if etcd asks for one"},
    [KEY_FILE] = {"key-file", "FILE", NULL,
        "the private key of --cert, in PEM, not encrypted"},
    [SERVER_NAME] = {"server-name", "NAME", NULL,
        "the name that the servers' certificates must hold;\n"
        "by default each endpoint's host"},
    [USER] = {"user", "NAME", NULL,
        "a user of etcd's. The password is not taken from\n"
        "the command line, which everybody on this host can\n"
        "read, but from"},
    [PASSWORD_FILE] = {"password-file", "FILE", NULL,
        "the first line of this file, or the environment\n"
        "variable " PASSWORD_VARIABLE ", which is wiped\n"
        "and not passed on"},
    [QUIET] = {"quiet", NULL, "Other",
        "say only why there is nothing to run"},
    [VERBOSE] = {"verbose", NULL, NULL,
        "say also who leads, and what the command does"},
    [HELP] = {"help", NULL, NULL,
        "this; -h says the same"},
    [VERSION] = {"version", NULL, NULL,
        "the version"},
};

static const char before_the_options[] =
    "lead - runs a command only while this host leads\n"
    "\n"
    "    lead --endpoints URL[,URL...] --key KEY [option...] -- command [argument...]\n"
    "\n"
    "Run the same line on many hosts: one of them runs the command, the others wait\n"
    "in line. When the command has ended the next host begins, within milliseconds;\n"
    "when its host dies, after the ttl. When the lead is lost, the command is ended\n"
    "before another host can begin.\n"
    "\n"
    "Examples\n"
    "  A job, on one host at a time:\n"
    "    lead --endpoints http://etcd-1:2379,http://etcd-2:2379 --key /jobs/nightly \\\n"
    "         -- ./job --all\n"
    "  From cron: who comes second does not wait\n"
    "    lead --endpoints http://etcd-1:2379 --key /jobs/nightly --wait 0 -- ./job\n"
    "  A service on one host at a time, which needs up to ten seconds to clean up\n"
    "    lead --endpoints http://etcd-1:2379 --key /worker --restart \\\n"
    "         --ttl 40 --grace 10 -- ./worker\n";

static const char after_the_options[] =
    "\n"
    "The command's environment\n"
    "  ETCD_LEADER_TOKEN, ETCD_LEADER_KEY and ETCD_LEADER_NAME. The token grows from\n"
    "  leader to leader: send it along with each write, and let the receiver refuse\n"
    "  one that is smaller than the largest it has seen. Nothing else protects data\n"
    "  from a machine that stands still as a whole and goes on later.\n"
    "\n"
    "etcdctl's environment\n"
    "  Where an option is missing, ETCDCTL_ENDPOINTS, ETCDCTL_CACERT, ETCDCTL_CERT,\n"
    "  ETCDCTL_KEY (the private key), ETCDCTL_USER (NAME or NAME:PASSWORD) and\n"
    "  ETCDCTL_PASSWORD count, as they do for etcdctl. The command gets them, too.\n"
    "\n"
    "Signals\n"
    "  SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1 and SIGUSR2 are passed on to the\n"
    "  command; while there is none they end lead. The command is a process group of\n"
    "  its own, and has the terminal if lead has it as input and output. Ctrl-Z stops\n"
    "  both; if that lasts for longer than the lease, the lead is lost. When Ctrl-C\n"
    "  has ended the command, lead ends the script that it is a line of, too.\n"
    "\n"
    "When the lead is lost\n"
    "  Without a word from etcd leading ends a margin before the lease can: by\n"
    "  default 8 s after the last renewal was sent, of 10. Then the command gets\n"
    "  SIGTERM, and SIGKILL when the grace is over, after 9 s. What remains of the\n"
    "  margin is for clocks that do not run alike, and for the kernel: a tenth of the\n"
    "  ttl, or half of --step-down-ms if that is less.\n"
    "  If the place itself is gone (its key was deleted, its lease revoked), another\n"
    "  may lead already: then SIGKILL comes at once.\n"
    "\n"
    "What is ended\n"
    "  The command's whole group, and what has left it (setsid, daemons). What the\n"
    "  command leaves behind when it ends is ended too, with the same grace, before\n"
    "  the place is given up. A second process sees to all this in time if lead is\n"
    "  stopped or killed, and lead does if that one is. What cannot be caught:\n"
    "  - both of them stopped, or killed, at once. If both are killed, the command\n"
    "    dies with them (unless its file has capabilities or another owner's rights),\n"
    "    but what it has started does not;\n"
    "  - processes of another user: let sudo run lead, not lead sudo;\n"
    "  - a process that the kernel cannot end, as one that waits for a dead disk;\n"
    "  - what starts new sessions for ever, faster than they can be found, once one\n"
    "    of the two is stopped or killed;\n"
    "  - what the command has others do: docker run, systemctl start, ssh.\n"
    "\n"
    "Exit status\n"
    "  That of the command; 128 + n if signal n ended it, or ended lead; and\n"
    "    2    the command line cannot be used\n"
    "    69   the turn did not come in the time that --wait gives, and nobody is\n"
    "         known to lead: etcd is out of reach, for example\n"
    "    75   the turn did not come in that time: another leads\n"
    "    76   the lead was lost, and the command was ended\n"
    "    125  lead failed: etcd denies the key, for example\n"
    "    126  the command was found, but cannot be run\n"
    "    127  the command was not found\n";

void print_manual(void) {
    enum { COLUMN = 29 };
    fputs(before_the_options, stdout);
    for (int id = 0; id < OPTIONS; id++) {
        const option *one = &manual[id];
        if (one->heading != NULL)
            printf("\n%s\n", one->heading);
        int width = printf("  --%s %s", one->name, one->argument != NULL ? one->argument : "");
        printf("%*s", width < COLUMN ? COLUMN - width : 1, "");
        for (const char *at = one->help; *at != '\0'; at++) {
            putchar(*at);
            if (*at == '\n')
                printf("%*s", COLUMN, "");
        }
        putchar('\n');
    }
    fputs(after_the_options, stdout);
}
