/// <reference types="node" />
import type { EventEmitter } from 'node:events';

/**
 * A candidate in an election on etcd: many processes campaign for a key, one of them leads.
 *
 * ```js
 * const election = etcdLeader('http://127.0.0.1:2379', '/jobs/nightly', 'host-1').start();
 * election.on('elected', (token) => { ... });
 * election.on('unelected', () => { ... });
 * ```
 *
 * Nothing is touched before `start()`. What is wrong with the arguments throws a `TypeError` with the code
 * `EL_INVALID` that names the field, the value and the remedy; but what is wrong with a client of node-etcd, or with
 * what comes with one, arrives as `error` after the start, as the original never threw for it.
 *
 * @param etcd How to reach etcd. A client of node-etcd (4.0.2 to 7; its hosts, TLS options and user are read at each
 *   start) means etcd's API v2; a URL, several, or an object means v3 unless the object says otherwise. All members of
 *   an election must use the same API: the two cannot see each other.
 * @param key The election: all who campaign for the same key on the same cluster compete. 1 to 1,024 bytes; no slash at
 *   the end, no double slash.
 * @param name What this candidate calls itself; the others are told the leader's name. 1 to 1,024 bytes. On API v2 give
 *   each candidate its own.
 * @param ttl The lease in whole seconds, 1 to 300 (default 10), as a number or in digits: after a crash the next one leads once it
 *   has run out. Only a client of node-etcd brings the original's reading along, by the first digits.
 *   Or all options.
 */
declare const etcdLeader: {
  (...args: etcdLeader.Arguments): etcdLeader.Election;
  new (...args: etcdLeader.Arguments): etcdLeader.Election;
  EtcdError: typeof EtcdError;
};

declare namespace etcdLeader {
  type Arguments = [etcd: Etcd, key: string, name: string, ttl?: number | string | Options | undefined];

  /** How to reach etcd: see {@link etcdLeader}. */
  type Etcd = string | URL | ReadonlyArray<string | URL> | Connection | NodeEtcdClient;

  /** What a client of node-etcd is recognised by: `new Etcd(...)` of 4.0.2 to 7. */
  interface NodeEtcdClient {
    hosts: string[];
    get(...args: any[]): any;
  }

  /** Where etcd is, and who we are there. */
  interface Connection {
    /**
     * The servers of ONE cluster, 1 to 64: `http://host:port`, `https://host:port`, `unix:///path` and `unixs:///path` (TLS)
     * for a unix socket, or `srv://domain` and `srvs://domain` (TLS) for the servers that the DNS lists as
     * `_etcd-client._tcp.domain` and `_etcd-client-ssl._tcp.domain`; their certificates name the domain. A text may leave out the port (2379) and the scheme (https if `tls` says anything, else http), and may
     * hold several with commas between them, as etcdctl takes them.
     */
    endpoints: string | URL | ReadonlyArray<string | URL>;
    /** Which of etcd's APIs; default `"v3"`. `"v2"` shares elections with the package of 2015; see the README first. */
    api?: 'v2' | 'v3' | undefined;
    /** A user of etcd's; then `password` too. */
    username?: string | undefined;
    /** The user's password. It appears in no message. */
    password?: string | undefined;
    /** For `https://` endpoints. There is no insecure mode. */
    tls?: Tls | undefined;
  }

  /** Certificates in PEM: as a text or bytes, or the name of a file, which is read again when it was replaced. */
  interface Tls {
    /** Whom to trust: only these then; without, those that the system trusts (not those that Node.js brings along). */
    ca?: Pem | undefined;
    /** The same in a file. */
    caFile?: string | undefined;
    /** Our own certificate, if etcd asks for one; then its key too. */
    cert?: Pem | undefined;
    /** The same in a file. */
    certFile?: string | undefined;
    /** The private key of our certificate, not encrypted. It appears in no message. */
    key?: Pem | undefined;
    /** The same in a file. */
    keyFile?: string | undefined;
    /** The name that the certificates of all endpoints must hold; default: each endpoint's host. */
    servername?: string | undefined;
  }

  type Pem = string | Uint8Array | ReadonlyArray<string | Uint8Array>;

  /** What an election takes beside the ttl. Whole numbers; 0 or nothing stands for the default. */
  interface Options {
    /** The lease in seconds, 1 to 300; default 10. */
    ttl?: number | undefined;
    /**
     * How often a follower renews its lease, in milliseconds, up to 100,000; default half the ttl. On v3 the leader and the
     * next in line renew twice as often.
     */
    renewMs?: number | undefined;
    /** How long before the certain end of the lease leading ends by itself, in milliseconds; default a fifth of the ttl. */
    stepDownMs?: number | undefined;
    /**
     * How long a server may be silent, at most, before another one is asked too, in milliseconds, from 20. Twice that must
     * fit between a renewal and stepping down; default as much as fits, at most 5,000.
     */
    requestTimeoutMs?: number | undefined;
    /**
     * How long a stop waits for the work of `lead()` to end, and for etcd to take the place away, in milliseconds, up to
     * an hour; default the ttl.
     */
    stopTimeoutMs?: number | undefined;
    /**
     * What to do when the store has gone back in time (wiped, or restored from a backup): report it as `retrying`, let
     * nobody of ours lead for a ttl and the margin, and go on (the default), or end with `EL_STORE_RESET`.
     */
    onStoreReset?: 'continue' | 'stop' | undefined;
    /** Stops the election when it is aborted; one that is aborted already keeps it from starting. */
    signal?: AbortSignal | undefined;
  }

  /** While `lead()` runs your work. */
  interface Term {
    /** Larger than that of every leader before: send it along with each write, and let the receiver refuse a smaller one. */
    token: number;
    /**
     * Is aborted as soon as we do not lead any more, with the reason (an {@link EtcdError}, or that of your own signal). Its
     * `aborted` and `throwIfAborted()` read the clock while the work runs: a process that was frozen hears the truth at once.
     * A signal that is made from this one (`AbortSignal.any()`) hears of the end with the event.
     */
    signal: AbortSignal;
  }

  /** The options that took effect, with every default filled in. */
  interface Effective {
    /** The lease that was asked for, in seconds. */
    ttl: number;
    /** The lease that etcd has granted, in seconds: so long a crash keeps the next one waiting. Nothing until etcd has said so. */
    grantedTtl: number | undefined;
    renewMs: number;
    stepDownMs: number;
    requestTimeoutMs: number;
    stopTimeoutMs: number;
  }

  /** How an election ended. */
  interface Stopped {
    /** Our key is known to be gone from etcd. If not, it runs out with its lease. */
    released: boolean;
    /**
     * Why our entry was not held until the leading work had ended. Nothing: it was, so that nobody else led before. Its code
     * is `EL_STOPPED` if we were stopped before we ever led, `EL_OVERRUN` if the work took longer than `stopTimeoutMs`, else it
     * says why the last term was lost before.
     */
    reason?: EtcdError | undefined;
  }

  interface Events {
    /** We lead, with this token. Not delivered to one who does not lead at that moment. */
    elected: [token: number];
    /**
     * We do not lead any more; `isLeader()` is false already. The code of the reason is `EL_STOPPED` after a stop: the
     * place is kept until the listeners have returned. Any other code: it was lost already, and another may lead soon. When
     * the process exits, the place goes before those listeners of `exit` run that were added after the package was loaded.
     */
    unelected: [reason: EtcdError];
    /** Another leads now. Not emitted for ourselves. */
    leader: [name: string];
    /** Nobody is known to lead now. */
    leaderless: [];
    /** Something is wrong and is being retried: after the first failure, then at most once per ttl; a store reset at once. */
    retrying: [error: EtcdError];
    /** The trouble that `retrying` told of is over. */
    recovered: [];
    /**
     * The election cannot go on: it never could join, and every endpoint says the same. `isRunning()` is false; `start()`
     * begins afresh, also in the listener. As with any `error`, one that nobody listens to is thrown.
     */
    error: [error: EtcdError];
  }

  /** A candidate. Its events come on the thread that made it, in order; `elected` and `unelected` alternate. */
  interface Election extends EventEmitter {
    /**
     * Campaigns, for as long as it takes. Does nothing if it runs. The process stays alive while it does, unless
     * `unref()` was called. A start after a stop joins when the place of before has been given up.
     */
    start(): this;

    /**
     * Ends it. `isRunning()` and `isLeader()` are false from its return on. If we led, `unelected` is emitted before it
     * returns (called by a listener of this election: when the listeners of that event have returned), and then the place
     * is given up: the next in line leads within milliseconds.
     */
    stop(): this;

    /**
     * Leads once: starts if it does not run, calls `work` when we are elected, and stops when the promise of `work` is
     * settled; our entry is given up only then (or `stopTimeoutMs` after a stop from elsewhere). Gives what `work` gave if the
     * entry was held until then, so that nobody else led before. After a stop tidy up quickly, and send the token along to
     * the last write: the entry may be lost meanwhile, since etcd is out of reach or its key was deleted.
     *
     * Rejects with what `work` threw; with the reason, when `work` has ended, if the entry was lost before (its `signal` was
     * aborted at once, unless a stop came first); with `EL_OVERRUN` if `work` took longer than `stopTimeoutMs` after a stop;
     * with `signal.reason` if `options.signal` is aborted before we lead, and with
     * `EL_STOPPED` if the election is stopped before; with the error if the election cannot go on (which is not emitted
     * then if nobody listens to `error`); with `EL_BUSY` while another call is under way.
     */
    lead<T>(work: (term: Term) => T | PromiseLike<T>, options?: { signal?: AbortSignal | undefined }): Promise<T>;

    /**
     * When the last run has ended: our key is known to be gone, or `stopTimeoutMs` has passed. Rejects with the error
     * that ended it. Does not stop it.
     */
    stopped(): Promise<Stopped>;

    /** Whether it was started and neither stopped nor ended by an `error`. */
    isRunning(): boolean;

    /**
     * Whether we lead at this moment. Reads the clock, not a flag: a process that was frozen, asleep or busy hears the
     * truth at once, before `unelected` is emitted. It stays false until the listeners of `unelected` have returned, even
     * if we lead again by then. It may turn true before `elected` is emitted.
     */
    isLeader(): boolean;

    /** The token of our term if we lead at this moment. `token() === t` asks: still in that term? */
    token(): number | undefined;

    /** For how many milliseconds from now leading is certain even if nothing more is heard of etcd; 0 if we do not lead. */
    timeLeft(): number;

    /** Who leads, as far as is known; our own name while we do. */
    currentLeader(): string | undefined;

    /** The options that took effect, and the ttl that etcd has granted; nothing while it does not run, nor in the turn of its start. */
    settings(): Effective | undefined;

    /** Lets the process end while the election runs; its place is given up then. */
    unref(): this;

    /** Takes `unref()` back. */
    ref(): this;

    /** `await using` (where `Symbol.asyncDispose` exists): stops, and waits for `stopped()`. */
    [Symbol.asyncDispose](): Promise<void>;

    on<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
    on<E extends string | symbol>(event: Exclude<E, keyof Events>, listener: (...args: any[]) => void): this;
    once<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
    once<E extends string | symbol>(event: Exclude<E, keyof Events>, listener: (...args: any[]) => void): this;
    off<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
    off<E extends string | symbol>(event: Exclude<E, keyof Events>, listener: (...args: any[]) => void): this;
    addListener<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
    addListener<E extends string | symbol>(event: Exclude<E, keyof Events>, listener: (...args: any[]) => void): this;
    removeListener<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
    removeListener<E extends string | symbol>(event: Exclude<E, keyof Events>, listener: (...args: any[]) => void): this;
    prependListener<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
    prependListener<E extends string | symbol>(event: Exclude<E, keyof Events>, listener: (...args: any[]) => void): this;
    prependOnceListener<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this;
    prependOnceListener<E extends string | symbol>(event: Exclude<E, keyof Events>, listener: (...args: any[]) => void): this;
  }

  /** See {@link etcdLeader.ErrorCode} for its codes. */
  type EtcdError = InstanceType<typeof etcdLeader.EtcdError>;

  type ErrorCode =
    /** A value in the arguments cannot be used; the message names field, value and remedy. */
    | 'EL_INVALID'
    /** `lead()` is under way already. */
    | 'EL_BUSY'
    /** The election has ended, or was asked to end. */
    | 'EL_STOPPED'
    /** Does not occur in Node.js, which does not fork. */
    | 'EL_FORKED'
    /** The etcd member could not be reached: connection refused or reset, no such host. */
    | 'EL_UNREACHABLE'
    /** No answer came in the time that the election's deadlines leave for one. */
    | 'EL_TIMEOUT'
    /** The etcd member answers, but its cluster has no leader just now. */
    | 'EL_NO_QUORUM'
    /** etcd refused or failed a request for a reason of its own, such as "too many requests". */
    | 'EL_SERVER'
    /** etcd is out of space (the NOSPACE alarm). */
    | 'EL_NO_SPACE'
    /** The answer was not one that etcd gives: something else listens there, or stands between. */
    | 'EL_PROTOCOL'
    /** etcd does not let us use this key. */
    | 'EL_DENIED'
    /** The server does not know this API. */
    | 'EL_UNSUPPORTED'
    /** The endpoints belong to more than one etcd cluster. */
    | 'EL_CLUSTER_MISMATCH'
    /** A renewal was not confirmed in time, so leading had to end. */
    | 'EL_DEADLINE'
    /** Our key was deleted or overwritten by somebody else. */
    | 'EL_KEY_LOST'
    /** Our lease is gone: it expired or was revoked. */
    | 'EL_LEASE_LOST'
    /** The store went back in time: it was wiped, or restored from a backup. */
    | 'EL_STORE_RESET'
    /** A member of this election has a `/` in its own part of the key; elections may be nested by mistake. */
    | 'EL_NESTED'
    /** A fault in the library (please report it), or the system gave no thread or descriptor. */
    | 'EL_INTERNAL'
    /** On API v2 the election's key holds a value, so that no members can live under it; use another key. */
    | 'EL_NOT_A_DIRECTORY'
    /** The member's certificate is not trusted, or it does not trust ours; the message says which and why. */
    | 'EL_UNTRUSTED'
    /** The clocks of etcd's members differ so much that entries of API v2 expire early; set the clocks. */
    | 'EL_CLOCK_SKEW'
    /** `stopTimeoutMs` passed after a stop before the leading work had ended: the entry was given up meanwhile. */
    | 'EL_OVERRUN';
}

/** What etcd, the network or the library says. The message is for people. */
declare class EtcdError extends Error {
  constructor(code: etcdLeader.ErrorCode, message: string, endpoint?: string);
  readonly code: etcdLeader.ErrorCode;
  /** In `retrying`: the endpoint that is concerned, if one is. */
  readonly endpoint?: string;
}

export = etcdLeader;
