/* etcd_leader.h - leader election on etcd. Link with -letcd_leader.

Many processes want one of them to lead. Each starts an election with the same key; the one that came first leads, the
others wait in line. The whole of it:

    static el_election *election;
    static void on_signal(int signal) { (void)signal; el_stop(election); }

    static void on_event(const el_event *event, void *user_data) {
        if (event->type == EL_EVENT_ELECTED)   start_leading(user_data, event->token);
        if (event->type == EL_EVENT_UNELECTED) stop_leading(user_data);
    }

    const char *endpoints[] = { "http://127.0.0.1:2379" };
    el_config config = {0};
    config.endpoints = endpoints;
    config.endpoint_count = 1;
    config.key = "/jobs/nightly";
    config.name = "host-1";
    config.on_event = on_event;
    if (el_start(&config, sizeof config, &election) != EL_OK) complain(el_last_error());
    signal(SIGINT, on_signal);
    while (el_poll(election, -1) >= 0) {}
    signal(SIGINT, SIG_DFL);
    el_free(election);

LIFE     el_start, el_poll until EL_STOPPED, el_free. el_stop asks for the end; el_free alone ends it too. Errors on the
         way to etcd are retried for ever and told as EL_EVENT_RETRYING; nothing but el_stop, el_free and what etcd
         refuses for good ends an election. EL_EVENT_ENDED is its last event, and says whether the entry was held until
         your leading work had ended. A new one may be started at any time, with the same key as well.

EVENTS   Three ways to take them. el_poll pushes: it calls on_event. el_next pulls: it gives one event and needs no callback,
         which suits other languages and event loops. A queue (el_queue_new) serves thousands of elections with one call, one
         descriptor and one thread.

TRUTH    Ask el_is_leader before anything that only the leader may do: it reads the clock, and says 0 some time before
         anybody else can lead, whether etcd is reachable or not. Between asking and doing a process can be stopped for
         as long as it pleases the system; what must never be done by two goes with a token (see EL_EVENT_ELECTED) to a
         receiver that refuses old ones. Events tell when to begin and to end; they can come late, the token cannot lie.

THREADS  Everything of the library runs on one thread of its own, "etcd-leader", however many elections there are (and
         for a moment on "etcd-leader-dns" while a name is looked up or certificates are read). It never calls you: on_event
         is called inside el_poll only, on the thread that called it. Every function may be called from every thread, but
         one thread at a time takes the events of an election or a queue (else EL_BUSY). No other call on an election or a
         queue may be under way when el_free or el_queue_free begins, or begin after it. No function is a cancellation
         point: pthread_cancel waits until the call has returned. A callback returns: it does not leave by pthread_exit,
         longjmp or an exception.

SIGNALS  The library's thread has all signals blocked; it sets no handler, and a lost connection raises no SIGPIPE.
         A signal that is caught ends the wait in el_poll, el_next and el_queue_next. el_stop, el_is_leader, el_token and el_time_left_ms may be
         called in a handler; nothing else may.

MEMORY   What you give is copied. What you get is valid for as long as its comment says, and is never yours to free,
         but for the el_election and the el_queue. Texts are UTF-8 and end with NUL.

ERRORS   A function that can fail returns a negative status (EL_INVALID and so on) and keeps a message for this thread:
         el_last_error. 0 or more is success. NULL instead of an election is refused with EL_INVALID, never a crash.
         The library prints nothing.

FORK     A child has its parent's elections, but they run in the parent only: in the child every call on them gives
         EL_FORKED, el_is_leader says 0, el_stop does nothing, and no descriptor is touched. A new el_start in the child
         works.

ABI      Within libetcd_leader.so.1 nothing is changed or taken away, only added: fields at the end of structures (that
         is what config_size and el_event.size are for), functions, events, statuses. Ignore events that you do not
         know; treat every negative number as a failure. No environment variable changes what the library does,
         but for SSL_CERT_FILE and SSL_CERT_DIR, which say where the system's CAs are.

This file is generated from the library's sources; MIT License. */


#ifndef ETCD_LEADER_H
#define ETCD_LEADER_H

#include <stddef.h>
#include <stdint.h>

/**
 * All is well.
 */
#define EL_OK 0

/**
 * An argument or a field of `el_config` cannot be used; `el_last_error` names it, its value and the remedy.
 */
#define EL_INVALID -1

/**
 * The call cannot be served now: another thread is polling this election, or its callback is running.
 */
#define EL_BUSY -2

/**
 * The election has ended, or (in `EL_EVENT_UNELECTED`) was asked to end.
 */
#define EL_STOPPED -3

/**
 * The election was started before a fork, and this is the child; start a new one.
 */
#define EL_FORKED -4

/**
 * The etcd member could not be reached: connection refused or reset, no such host.
 */
#define EL_UNREACHABLE -5

/**
 * No answer came in the time that the election's deadlines leave for one.
 */
#define EL_TIMEOUT -6

/**
 * The etcd member answers, but its cluster has no leader just now.
 */
#define EL_NO_QUORUM -7

/**
 * etcd refused or failed a request for a reason of its own, such as "too many requests".
 */
#define EL_SERVER -8

/**
 * etcd is out of space (the NOSPACE alarm).
 */
#define EL_NO_SPACE -9

/**
 * The answer was not one that etcd gives: something else listens there, or stands between.
 */
#define EL_PROTOCOL -10

/**
 * etcd does not let us use this key.
 */
#define EL_DENIED -11

/**
 * The server does not know this API, or is `etcd grpc-proxy` or an imitation of etcd.
 */
#define EL_UNSUPPORTED -12

/**
 * The endpoints belong to more than one etcd cluster.
 */
#define EL_CLUSTER_MISMATCH -13

/**
 * A renewal was not confirmed in time, so leading had to end.
 */
#define EL_DEADLINE -14

/**
 * Our key was deleted or overwritten by somebody else.
 */
#define EL_KEY_LOST -15

/**
 * Our lease is gone: it expired or was revoked.
 */
#define EL_LEASE_LOST -16

/**
 * The store went back in time: it was wiped, or restored from a backup.
 */
#define EL_STORE_RESET -17

/**
 * A member of this election has a `/` in its own part of the key; elections may be nested by mistake.
 */
#define EL_NESTED -18

/**
 * A fault in the library (please report it), or the system gave no thread or descriptor; `el_last_error` says which.
 */
#define EL_INTERNAL -19

/**
 * In etcd's API v2 the election's key holds a value, so that no members can live under it; use another key.
 */
#define EL_NOT_A_DIRECTORY -20

/**
 * The member's certificate is not trusted, or it does not trust ours; the message says which and why.
 */
#define EL_UNTRUSTED -21

/**
 * The clocks of etcd's members differ so much that entries of API v2 expire early; set the clocks.
 */
#define EL_CLOCK_SKEW -22

/**
 * `stop_timeout_ms` passed after a stop before your leading work had ended: the entry was given up meanwhile.
 */
#define EL_OVERRUN -23

/**
 * We lead. `token` is larger than that of every leader before: send it along with each write, and let the receiver
 * refuse one that is smaller than the largest it has seen.
 */
#define EL_EVENT_ELECTED 1

/**
 * We do not lead any more; `status` and `message` say why. `EL_STOPPED`: because of `el_stop`; the entry is kept while
 * your leading work ends, see `el_stop`. Any other: it was lost already, and another may lead soon.
 */
#define EL_EVENT_UNELECTED 2

/**
 * The leader is known, be it ourselves: `name` and its `token`. A `token` of 0 (and an empty name): nobody is known to lead.
 */
#define EL_EVENT_LEADER 3

/**
 * Something is wrong and is being retried: `status`, `endpoint`, `message`. Comes after the first failure, then at
 * most once per ttl; a store reset (`EL_STORE_RESET`) is told at once. `EL_OK`: the trouble is over.
 */
#define EL_EVENT_RETRYING 4

/**
 * The last event: the election has ended. `status` and `message` say how the last term ended, or why the election cannot go
 * on; `released` is 1 if the entry is known to be gone, else 0: then it expires with its lease, or the library deletes it
 * as soon as it can. `EL_OK`: the entry was held until your leading work had ended, so that nobody else led before.
 * `EL_STOPPED`: it was stopped before it ever led. `EL_OVERRUN`: your work took longer than `stop_timeout_ms`.
 * `EL_DEADLINE`, `EL_KEY_LOST`, `EL_LEASE_LOST`, `EL_STORE_RESET`: the lead was lost before your work had ended. Any other:
 * the election cannot go on.
 */
#define EL_EVENT_ENDED 5

/**
 * etcd's API v3 (gRPC, etcd 3.4 and later). Shares elections with Go's concurrency.Election and `etcdctl elect`.
 */
#define EL_API_V3 3

/**
 * etcd's API v2 (HTTP, etcd 2 to 3.5; off unless etcd is started with --enable-v2=true). Shares elections with the
 * npm package etcd-leader of 2015. The clocks of etcd's members must agree within the step-down margin.
 */
#define EL_API_V2 2

/**
 * Report it as an event, let nobody of ours lead for one ttl and the step-down margin, then go on. The default.
 */
#define EL_ON_STORE_RESET_CONTINUE 1

/**
 * End the election with `EL_STORE_RESET`.
 */
#define EL_ON_STORE_RESET_STOP 2

/**
 * What `el_abi_version` returns for the library that this header belongs to.
 */
#define EL_ABI_VERSION 1

/**
 * One candidate in one election.
 */
typedef struct el_election el_election;

/**
 * A queue of events of many elections.
 */
typedef struct el_queue el_queue;

/**
 * What happened. Valid, with all that it points to, until the callback returns; the texts of one that `el_next` or
 * `el_queue_next` has given, until the next call of that function with the same election or queue, or until that is freed.
 * No pointer in it is ever NULL.
 */
typedef struct el_event {
    /**
     * The size of this structure in bytes, as the library knows it; later versions append fields.
     */
    uint32_t size;
    /**
     * One of `EL_EVENT_...`; leave alone what you do not know.
     */
    int32_t type;
    /**
     * Why: `EL_OK` or one of the statuses; see the events.
     */
    int32_t status;
    /**
     * In `EL_EVENT_ENDED` 1 if our entry is known to be gone, else 0.
     */
    uint32_t released;
    /**
     * In `EL_EVENT_ELECTED` our token, in `EL_EVENT_LEADER` that of the leader, else 0.
     */
    uint64_t token;
    /**
     * The election that it happened to: one callback may serve many.
     */
    struct el_election *election;
    /**
     * In `EL_EVENT_LEADER` the leader's name, else empty. UTF-8.
     */
    const char *name;
    /**
     * In `EL_EVENT_RETRYING` the endpoint that is concerned, if one is; else empty. UTF-8.
     */
    const char *endpoint;
    /**
     * What happened, one line for people; may be empty. UTF-8.
     */
    const char *message;
} el_event;

/**
 * What `el_poll` calls for each event, on the thread that called `el_poll`. It must return normally: neither longjmp
 * nor a C++ exception may leave it. Do not do the leading work in it: while it runs, nobody can tell you that you do
 * not lead any more.
 */
typedef void (*el_on_event)(const struct el_event *event, void *user_data);

/**
 * How to take part in an election. Zero stands for the default in every field that has one, so start from
 * `el_config config = {0};`. The library copies what it needs: all of it may go when `el_start` has returned.
 */
typedef struct el_config {
    /**
     * The servers of ONE etcd cluster: `endpoint_count` texts, each `http://host:port`, `https://host:port`,
     * `unix:///path` and `unixs:///path` (TLS) for a unix socket, or `srv://domain` and `srvs://domain` (TLS) for the
     * servers that the DNS lists as `_etcd-client._tcp.domain` and `_etcd-client-ssl._tcp.domain`: they are looked up as
     * the domain stands there, again when none of them takes connections, and their certificates name the domain, as etcdctl
     * has it. The port may be left out (2379), and so may the scheme: then it is https if any field of certificates is
     * set, else http. One text may hold several with commas between them, as etcdctl takes them. An array and its length,
     * because a forgotten length is noticed and a forgotten NULL at the end is not.
     */
    const char *const *endpoints;
    /**
     * The election: all who campaign for the same key on the same cluster compete. 1 to 1024 bytes of UTF-8, taken
     * byte for byte; no slash at the end, no double slash.
     */
    const char *key;
    /**
     * What this candidate calls itself; the others are told the leader's name. 1 to 1024 bytes of UTF-8. With API v3
     * it need not be unique; with API v2 give each candidate its own, since a wiped store gives keys out again.
     */
    const char *name;
    /**
     * Called by `el_poll` for each event. NULL if you take events with `el_next` or by a queue.
     */
    el_on_event on_event;
    /**
     * Handed to `on_event` as it is. May be NULL.
     */
    void *user_data;
    /**
     * How many texts `endpoints` has, 1 to 64; they may name 64 endpoints in all.
     */
    uint32_t endpoint_count;
    /**
     * Which API of etcd: `EL_API_V2` or `EL_API_V3`; the default is `EL_API_V3`. They cannot see each other: all who
     * campaign for a key must use the same one.
     */
    int32_t api;
    /**
     * The lease in whole seconds, 1 to 300; default 10. After a crash the next in line leads once it has run out.
     */
    uint32_t ttl_s;
    /**
     * How often a follower renews its lease, in milliseconds, up to 100000; default half the ttl, but at most 100000. In
     * EL_API_V3 the leader and the next in line renew twice as often.
     */
    uint32_t renew_ms;
    /**
     * How long before the certain end of the lease leading ends by itself, in milliseconds; default a fifth of the
     * ttl.
     */
    uint32_t step_down_ms;
    /**
     * How long a server may be silent, at most, before another one is asked too, in milliseconds, from 20. Nothing is given
     * up for it. Twice that must fit between a renewal and stepping down; default as much as fits, but at most 5000.
     */
    uint32_t request_timeout_ms;
    /**
     * How long a stop waits for your leading work to end, unless that is under way (see `el_stop`), and then for etcd to delete
     * our entry, in milliseconds, up to 3600000 (one hour); default the ttl.
     */
    uint32_t stop_timeout_ms;
    /**
     * What to do when the store has gone back in time (wiped, or restored from a backup): `EL_ON_STORE_RESET_...`.
     */
    int32_t on_store_reset;
    /**
     * A user of etcd's, if etcd asks for one; then `password` too. In API v2 without a colon.
     */
    const char *username;
    /**
     * The user's password. It appears in no message and no event.
     */
    const char *password;
    /**
     * Whom to trust when the endpoints are `https://`: a file of CA certificates in PEM. Only these are trusted then;
     * without `ca_file` and `ca_pem`, those that the system trusts. The files that are named here and below are read by
     * `el_start` and again whenever the library turns to a member, so they may be replaced while elections run.
     */
    const char *ca_file;
    /**
     * The same as a text in PEM. Give the file or the text, here and below.
     */
    const char *ca_pem;
    /**
     * Our own certificate, if etcd asks for one (`--client-cert-auth`), then those between it and its CA: a file in
     * PEM. Its key is needed too.
     */
    const char *cert_file;
    /**
     * The same as a text in PEM.
     */
    const char *cert_pem;
    /**
     * The private key of our certificate, not encrypted: a file in PEM.
     */
    const char *key_file;
    /**
     * The same as a text in PEM. It appears in no message and no event.
     */
    const char *key_pem;
    /**
     * The name that the certificates of all endpoints must hold; by default each endpoint's host. In API v2 a server is
     * still asked for the endpoint's host (SNI).
     */
    const char *tls_server_name;
    /**
     * A queue that takes the events of this election, or NULL; then `on_event` must be NULL.
     */
    struct el_queue *queue;
} el_config;

/**
 * The settings that took effect of an `el_config`, with every default filled in; all in milliseconds.
 */
typedef struct el_effective {
    /**
     * The lease that was asked for.
     */
    uint32_t ttl_ms;
    /**
     * The lease that etcd has granted: so long a crash keeps the next in line from leading. 0 until etcd has said so. etcd
     * raises it to one and a half times its election timeout.
     */
    uint32_t granted_ttl_ms;
    /**
     * How often a follower renews.
     */
    uint32_t renew_ms;
    /**
     * How long before the certain end of the lease leading ends.
     */
    uint32_t step_down_ms;
    /**
     * How long a server may be silent, at most, before another one is asked too.
     */
    uint32_t request_timeout_ms;
    /**
     * How long a stop waits.
     */
    uint32_t stop_timeout_ms;
} el_effective;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Starts to campaign. Returns at once, before any network is touched; everything else is told as events by `el_poll`.
 *
 * `config_size` is `sizeof(el_config)`: by it the library knows which version of the structure the caller was compiled
 * with. `*election` becomes the new election, to be freed with `el_free`; NULL if it was not started.
 *
 * Returns `EL_OK`; `EL_INVALID` if something in the configuration cannot be used, or the key and that of another
 * election of this process, not freed yet, lie one inside the other; `EL_INTERNAL` if the system gives no thread or
 * descriptor.
 */
int32_t el_start(const struct el_config *config, size_t config_size, struct el_election **election);

/**
 * Asks for the end of the election. From its return on `el_is_leader` says 0 on every thread. It never blocks and
 * never calls back; it may be repeated, and may be called from any thread, from the callback and from a signal
 * handler. NULL is fine. `EL_EVENT_UNELECTED` and `EL_EVENT_ENDED` are all that is told from then on, after
 * one event at most that was under way already.
 *
 * If we lead, our entry is kept and renewed while your leading work ends, so that nobody else leads meanwhile. It goes when
 * you call `el_release`, from any thread; or when you enter `el_poll` or `el_next` again after the call that gave you
 * `EL_EVENT_UNELECTED` (a queue waits for `el_release`, and so do all after `el_hold`); or by `el_free`; or `stop_timeout_ms` after `el_stop`, unless
 * `el_poll` or `el_next` has given you `EL_EVENT_UNELECTED` by then, which is waited for, or you have called `el_hold`. If the entry is lost meanwhile,
 * since etcd is out of reach or somebody deletes the key, `EL_EVENT_ENDED` says so: end quickly, and send the token along to
 * the last write. If we do not lead, it goes at once.
 */
void el_stop(struct el_election *election);

/**
 * After a stop: keeps our entry until `el_release`, however long your leading work takes, also if `el_poll` or `el_next` is
 * entered meanwhile. Before a stop it does nothing,
 * nor if that time is over. May be called from any thread and from the callback, and may be repeated. NULL is fine.
 */
void el_hold(struct el_election *election);

/**
 * Says that your leading work has ended: after a stop our entry goes, see `el_stop`. Before a stop it does nothing. May be
 * called from any thread and from the callback, and may be repeated. NULL is fine.
 */
void el_release(struct el_election *election);

/**
 * Ends the election and frees it; `el_stop` before is not needed. Delivers nothing and is itself the word that the
 * leading work has ended: the place is given up. Blocks until etcd has confirmed that, at most `stop_timeout_ms`;
 * without a confirmation the place runs out with the lease, or is cleared away by the library as soon as it can.
 * When the last election of the process is freed, the library's thread, connections and descriptors are gone too, for
 * which it waits another second at most. Only what etcd has not confirmed in that time keeps them a while longer.
 *
 * Returns `EL_OK`, also for NULL; then the pointer is dead. Nothing is freed if it returns `EL_BUSY` (inside this
 * election's callback, or while another thread polls it) or `EL_FORKED` (the child leaks what it has inherited). Do not
 * rely on `EL_BUSY`: a call that another thread has only just begun may use what is freed.
 */
int32_t el_free(struct el_election *election);

/**
 * A descriptor that is readable while `el_poll` or `el_next` has an event, and for ever once the election has ended. Put it
 * into your own poll, epoll or event loop, and call one of them with a timeout of 0 when it is readable. After a stop, once
 * `EL_EVENT_UNELECTED` is delivered, it is readable again only when the election has ended: call `el_release` when your
 * leading work has ended. It stays the library's: never read from it, never close it; take
 * it out of your loop before `el_free`. Always the same one for an election; made on the first call.
 *
 * Returns the descriptor, or `EL_INVALID`, `EL_FORKED`, `EL_INTERNAL` (the process has no descriptor left).
 */
int32_t el_fd(struct el_election *election);

/**
 * Takes the next event into `*event`, and waits for at most `timeout_ms` milliseconds if there is none: 0 does not wait, -1
 * waits for ever. `event_size` is `sizeof(el_event)`: by it the library knows how many fields the caller was compiled
 * with. The texts live until the next call with this election, or `el_free`.
 *
 * Returns 1: there is an event. 0: none in time, or a signal was caught. `EL_STOPPED` after `EL_EVENT_ENDED`, and from then
 * on for ever. `EL_BUSY` inside this election's callback, or while another thread takes its events; `EL_FORKED`;
 * `EL_INVALID`, also for an election with a queue; `EL_INTERNAL`.
 *
 * Calling it AGAIN after `EL_EVENT_UNELECTED` says "I have ended the leading work": after `el_stop` our entry goes then.
 * Taking late costs freshness, never safety: nobody gets `EL_EVENT_ELECTED` who does not lead at that moment.
 */
int32_t el_next(struct el_election *election,
                int32_t timeout_ms,
                struct el_event *event,
                size_t event_size);

/**
 * Delivers the events that are due by calling `on_event` on this thread, and waits for at most `timeout_ms`
 * milliseconds if there is none: 0 does not wait, -1 waits for ever. It is a loop over `el_next`.
 *
 * Returns how many events were delivered. 0: none in time, or a signal was caught. `EL_STOPPED` after `EL_EVENT_ENDED`
 * was delivered, and from then on for ever. `EL_BUSY` inside this election's callback, or while another thread takes its
 * events; `EL_FORKED`; `EL_INVALID`, also for an election without `on_event`; `EL_INTERNAL`.
 *
 * After `el_stop` a leader is told `EL_EVENT_UNELECTED` and the call returns right then; calling it AGAIN says "I have
 * ended the leading work", and our entry goes. So loop until `EL_STOPPED`. Polling late costs freshness, never
 * safety: nobody is told `EL_EVENT_ELECTED` who does not lead at that moment.
 */
int32_t el_poll(struct el_election *election,
                int32_t timeout_ms);

/**
 * Makes a queue, which serves any number of elections with one descriptor and one thread: give it to `el_start` as
 * `el_config.queue`, and take the events of all with `el_queue_next`. `*queue` becomes the new queue, to be freed with
 * `el_queue_free` after its elections; NULL if there is none.
 *
 * Returns `EL_OK`, `EL_INVALID`, or `EL_INTERNAL` if the process has no descriptor left.
 */
int32_t el_queue_new(struct el_queue **queue);

/**
 * Takes the next event of any of the queue's elections into `*event`, of which `election` says whose it is; otherwise as
 * `el_next`. The elections come in turn: one that has much to tell keeps no other waiting. The texts live until the next
 * call with this queue.
 *
 * It says nothing of your work: after `el_stop` of an election that leads, `EL_EVENT_UNELECTED` comes, and our entry is kept
 * until `el_release`, for at most `stop_timeout_ms`, or longer after `el_hold`. `EL_EVENT_ENDED` is the last event of an election.
 *
 * Where one thread takes events and another starts or frees elections, an event may come before `el_start` has returned, and
 * one that was taken already may be returned after `el_free`: free an election on the thread that takes, or after its
 * `EL_EVENT_ENDED`.
 *
 * Returns 1: there is an event. 0: none in time, or a signal was caught. `EL_BUSY` while another thread is in here;
 * `EL_FORKED`; `EL_INVALID`; `EL_INTERNAL`.
 */
int32_t el_queue_next(struct el_queue *queue,
                      int32_t timeout_ms,
                      struct el_event *event,
                      size_t event_size);

/**
 * A descriptor that is readable while `el_queue_next` may have an event: for your own poll, epoll or event loop, which then
 * calls `el_queue_next` with a timeout of 0 until it gives 0. It stays the library's: never read from it, never close it; take
 * it out of your loop before `el_queue_free`. Always the same one for a queue.
 *
 * Returns the descriptor, or `EL_INVALID`, or `EL_FORKED`.
 */
int32_t el_queue_fd(struct el_queue *queue);

/**
 * Frees the queue, after all of its elections.
 *
 * Returns `EL_OK`, also for NULL; then the pointer is dead. Nothing is freed if it returns `EL_BUSY` (elections that use it
 * are not freed, or another thread takes events) or `EL_FORKED` (the child leaks what it has inherited).
 */
int32_t el_queue_free(struct el_queue *queue);

/**
 * Whether we lead at this moment: 1 or 0. Reads the clock but takes no lock, so that it is cheap enough to ask before
 * every write, and a process that was stopped or asleep hears the truth from its first call on. It may turn 1 before
 * `EL_EVENT_ELECTED` is delivered. It is 0 before `EL_EVENT_UNELECTED` is, and stays 0 while that is delivered, even if we
 * lead again by then: work for the old term never takes the new term for its own. 0 for NULL and after a fork. May be
 * called from any thread, from the callback and from a signal handler.
 */
int32_t el_is_leader(const struct el_election *election);

/**
 * The token of our term if we lead at this moment, else 0. `el_token(e) == t`, with t from `EL_EVENT_ELECTED`, asks
 * "am I still in that term?". Otherwise as `el_is_leader`.
 */
uint64_t el_token(const struct el_election *election);

/**
 * For how many milliseconds from now leading is certain even if nothing more is heard of etcd, rounded down; 0 if we
 * do not lead. Otherwise as `el_is_leader`.
 */
int64_t el_time_left_ms(const struct el_election *election);

/**
 * Who leads, as far as is known now: ourselves while we do. Copies the name (UTF-8) into `buffer` of `size` bytes and
 * ends it with NUL; `*token` becomes the leader's token, 0 if nobody is known to lead. `token` may be NULL, and so may
 * `buffer` if `size` is 0. May be called from any thread and from the callback.
 *
 * Returns the length of the name in bytes, without the NUL. If it is not smaller than `size`, the name was cut, at the
 * end of a character. Or `EL_INVALID`, or `EL_FORKED`.
 */
int32_t el_leader(const struct el_election *election, char *buffer, size_t size, uint64_t *token);

/**
 * Writes the settings that took effect into `*effective`. `effective_size` is `sizeof(el_effective)`: by it the
 * library knows how many fields the caller was compiled with; those that it does not know become 0. May be called from
 * any thread and from the callback.
 *
 * Returns `EL_OK`, `EL_INVALID` or `EL_FORKED`.
 */
int32_t el_settings(const struct el_election *election, struct el_effective *effective, size_t effective_size);

/**
 * Checks a configuration as `el_start` does, and writes the settings that would take effect into `*effective`: for a
 * program that has times of its own to fit into them, or that wants to refuse a configuration early. Starts nothing and
 * touches no network; reads the files of certificates. `granted_ttl_ms` becomes 0. The sizes are as for `el_start` and
 * `el_settings`. May be called from any thread and from the callback, and in a forked child.
 *
 * Returns `EL_OK`; `EL_INVALID` if something in the configuration cannot be used: then `*effective` stays as it is.
 * `on_event`, `user_data` and `queue` are not looked at. `el_start` may still refuse a key that lies inside that of a running
 * election, or around it.
 */
int32_t el_config_settings(const struct el_config *config,
                           size_t config_size,
                           struct el_effective *effective,
                           size_t effective_size);

/**
 * The name of a status as it is written in this header: "EL_OK", "EL_INVALID" and so on; "EL_?" for any other number.
 * Static memory, never NULL.
 */
const char *el_status_name(int32_t status);

/**
 * Why the last call that failed on this thread failed: one line in English for people, which names the field, the
 * value and the remedy where there are such. Empty if none has failed yet; never NULL. Valid until the next call that
 * fails on this thread. `el_is_leader`, `el_token`, `el_time_left_ms` and `el_stop` never change it.
 */
const char *el_last_error(void);

/**
 * The version of the library, such as "1.0.0". Static memory.
 */
const char *el_version(void);

/**
 * The version of the interface that the library has: it grows by one whenever a function, a field or a constant is
 * added. A program that was compiled for `EL_ABI_VERSION` runs with every libetcd_leader.so.1 in which this number is
 * not smaller.
 */
int32_t el_abi_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ETCD_LEADER_H */
