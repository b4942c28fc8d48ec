'use strict';

const EventEmitter = require('node:events');
const native = require('./lib/binding');
const debug = require('./lib/debug');
const Lead = require('./lib/lead');
const Run = require('./lib/run');
const { EtcdError, mistake, shown } = require('./lib/errors');
const { isClient, readConnection } = require('./lib/connection');
const { readOptions, inOurWords } = require('./lib/options');
const { checkSignal, throwIfAborted } = require('./lib/signals');

/** One candidate in one election; index.d.ts says what everything means. */
class Election extends EventEmitter {
  #etcd;
  #key;
  #name;
  #options = {};
  /** What is wrong with a client, or with what came with it: told as `error` after the start. */
  #mistake = null;
  /** The run from a start to its stop. */
  #run = null;
  /** The last run, which may still have a place to give up. */
  #last = null;
  /** The lead() that is under way. */
  #lead = null;
  #isReferenced = true;
  #stop = () => this.stop();

  constructor(etcd, key, name, ttlOrOptions) {
    super();
    if (!etcd) throw mistake('etcd is required');
    if (!key || !String(key).trim()) throw mistake('node key not specified');
    if (!name || !String(name).trim()) throw mistake('node name not specified');
    this.#etcd = etcd;
    this.#key = String(key);
    this.#name = String(name);
    try {
      this.#options = readOptions(ttlOrOptions, isClient(etcd));
      if (!isClient(etcd)) this.#config();
    } catch (error) {
      if (!isClient(etcd)) throw error;
      this.#mistake = error;
    }
  }

  start() {
    if (this.#run || this.#options.signal?.aborted) return this;
    debug(() => `Starting ${this.#name} in ${this.#key}`);
    const run = new Run((event) => this.#hear(run, event), this.#last);
    this.#run = this.#last = run;
    if (!this.#isReferenced) run.unref();
    this.#options.signal?.addEventListener('abort', this.#stop);
    run.begin(() => this.#config());
    return this;
  }

  stop() {
    const run = this.#run;
    if (!run) return this;
    debug(() => `Stopping ${this.#name}`);
    this.#leave(run);
    run.stop();
    return this;
  }

  async lead(body, { signal } = {}) {
    if (typeof body !== 'function') throw mistake(`lead() was given ${shown(body)}; give a function that does the leading work`);
    checkSignal(signal);
    throwIfAborted(signal);
    throwIfAborted(this.#options.signal);
    if (this.#lead) throw new EtcdError('EL_BUSY', 'lead() is under way already; wait for it, or make another election');
    const run = this.start().#run;
    const lead = new Lead(run, body, { signal, stop: () => this.#run === run && this.stop() });
    this.#lead = { run, lead };
    if (run.toldToken !== undefined) lead.elected(run.toldToken);
    try {
      return await lead.result();
    } finally {
      this.#lead = null;
    }
  }

  async stopped() {
    return (await this.#last?.outcome) ?? { released: true };
  }

  ref() {
    this.#isReferenced = true;
    this.#last?.ref();
    return this;
  }

  unref() {
    this.#isReferenced = false;
    this.#last?.unref();
    return this;
  }

  isRunning() {
    return this.#run !== null;
  }

  isLeader() {
    return this.#run?.isLeader() ?? false;
  }

  currentLeader() {
    return this.#run?.leader();
  }

  token() {
    return this.#run?.token();
  }

  timeLeft() {
    return this.#run?.timeLeft() ?? 0;
  }

  settings() {
    return this.#run?.settings();
  }

  /** All that the addon is to know, and how to say what it says. Throws what is wrong with it. */
  #config() {
    if (this.#mistake) throw this.#mistake;
    const { signal, ...options } = this.#options;
    const { config, names } = readConnection(this.#etcd);
    const whole = { ...options, ...config, key: this.#key, name: this.#name };
    const translate = (message) => inOurWords(message, names);
    try {
      native.check(whole);
    } catch (error) {
      throw mistake(translate(error.message));
    }
    return { config: whole, inOurWords: translate };
  }

  #leave(run) {
    if (this.#run !== run) return;
    this.#run = null;
    this.#options.signal?.removeEventListener('abort', this.#stop);
  }

  #hear(run, event) {
    const lead = this.#lead?.run === run ? this.#lead.lead : null;
    switch (event.type) {
      case 'elected':
        debug(() => `${this.#name} is elected with token ${event.token}`);
        lead?.elected(event.token);
        this.emit('elected', event.token);
        break;
      case 'unelected': {
        const why = new EtcdError(event.code, event.message);
        debug(() => `${this.#name} is unelected: ${why.message}`);
        lead?.unelected(why);
        this.emit('unelected', why);
        break;
      }
      case 'leader':
        debug(() => `the leader is ${event.name}`);
        this.emit('leader', event.name);
        break;
      case 'leaderless':
        debug(() => 'nobody is known to lead');
        this.emit('leaderless');
        break;
      case 'retrying': {
        const error = new EtcdError(event.code, event.message, event.endpoint);
        debug(() => `WARN - retrying: ${error.message}`);
        this.emit('retrying', error);
        break;
      }
      case 'recovered':
        debug(() => 'all is well again');
        this.emit('recovered');
        break;
      case 'ended':
        debug(() => `${this.#name} has ended`);
        this.#leave(run);
        break;
      case 'error':
        debug(() => `ERROR - ${event.error.message}`);
        this.#leave(run);
        // Who waits in lead() is told there.
        if (!lead || this.listenerCount('error') > 0) this.emit('error', event.error);
        break;
    }
  }
}

if (Symbol.asyncDispose) {
  /** `await using`: stops, and waits until the place is given up. A fatal error was told as `error`. */
  Object.defineProperty(Election.prototype, Symbol.asyncDispose, {
    value: async function dispose() {
      this.stop();
      await this.stopped().catch(() => {});
    },
  });
}

/** With `new` and without, and to be extended. */
function etcdLeader(etcd, key, name, ttlOrOptions) {
  return Reflect.construct(Election, [etcd, key, name, ttlOrOptions], new.target ?? Election);
}
etcdLeader.prototype = Election.prototype;

module.exports = etcdLeader;
module.exports.EtcdError = EtcdError;
