'use strict';

// One run of an election, from a start to its end: it takes what is due from the addon and tells it in order. After a
// stop a leader's entry is kept until the listeners of `unelected` have returned; if there is work of lead(), until that
// has ended. The core says at the end whether it was.

const alive = require('./alive');
const native = require('./binding');
const { EtcdError, stoppedBefore } = require('./errors');
const { nextTick } = require('./timers');

class Run {
  #tell;
  /** The run before this one, as long as this one has not begun, nor that one ended. */
  #before;
  #inOurWords;
  #handle = null;
  #isStopped = false;
  #isOver = false;
  /** The outcome is known. */
  #hasSettled = false;
  #isTelling = false;
  #works = false;
  #settle;
  /** After the end: why the entry was not held until the work had ended, an EtcdError. Nothing: it was. */
  reason = undefined;
  /** The token of the term in which its listeners believe to lead. */
  toldToken = undefined;

  /**
   * `tell(event)` is called for each event, one at a time; what it throws is not caught. `before` is the run of the same
   * election before this one: its place goes before another is taken.
   */
  constructor(tell, before) {
    this.#tell = tell;
    this.#before = before?.#hasSettled ? undefined : before;
    alive.hold(this);
    this.outcome = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    const isOver = () => {
      this.#hasSettled = true;
      this.#before = undefined;
    };
    // An error is told as an event: a promise that nobody has asked for is not to be unhandled.
    this.outcome.then(isOver, isOver);
  }

  /**
   * Begins in a turn of its own. `read` gives { config, inOurWords }: the configuration, and how to say what the addon says;
   * or throws what is wrong with it.
   */
  begin(read) {
    const begin = () => nextTick(() => this.#begin(read));
    if (this.#before) this.#before.outcome.then(begin, begin);
    else begin();
  }

  #begin(read) {
    if (this.#isStopped) return;
    this.#before = undefined;
    try {
      const { config, inOurWords } = read();
      this.#inOurWords = inOurWords;
      this.#handle = native.start(config, () => this.#deliver());
    } catch (error) {
      this.#fail(new EtcdError(error?.code ?? 'EL_INTERNAL', error?.message ?? String(error)));
    }
  }

  /**
   * Asks for the end. If it led, `unelected` is told before this returns; called by a listener, after the listeners of
   * that event.
   */
  stop() {
    if (this.#isStopped) return;
    this.#isStopped = true;
    if (this.#handle) {
      this.#handle.stop();
      this.#deliver();
    } else {
      const neverLed = { released: true, reason: stoppedBefore() };
      // A start that was taken back ends as the run before it.
      this.#end(this.#before?.outcome.catch(() => neverLed) ?? neverLed);
    }
  }

  /** Work begins that may end after the listeners of `unelected` have returned. */
  beginWork() {
    this.#works = true;
  }

  /** That work has ended. */
  endWork() {
    this.#works = false;
    this.#handle?.release();
  }

  ref() {
    if (!this.#isOver) alive.hold(this);
    this.#before?.ref();
  }

  unref() {
    alive.release(this);
    this.#before?.unref();
  }

  /** Tells what is due, unless a listener of such is asking. */
  look() {
    this.#deliver();
  }

  isLeader() {
    return this.#handle?.isLeader() ?? false;
  }

  token() {
    return this.#handle?.token() ?? undefined;
  }

  timeLeft() {
    return this.#handle?.timeLeft() ?? 0;
  }

  leader() {
    return this.#handle?.leader() ?? undefined;
  }

  settings() {
    const found = this.#handle?.settings();
    if (!found) return undefined;
    const { ttlMs, grantedTtlMs, ...others } = found;
    return { ttl: ttlMs / 1000, grantedTtl: grantedTtlMs === undefined ? undefined : grantedTtlMs / 1000, ...others };
  }

  /** Tells all that is due. */
  #deliver() {
    if (this.#isTelling) return;
    this.#isTelling = true;
    let hasReturned = false;
    try {
      for (let event = this.#next(); event; event = this.#next()) {
        if (event.type === 'ended') this.#finish(event);
        else this.#hear(event);
      }
      hasReturned = true;
    } finally {
      this.#isTelling = false;
      // A listener threw: what comes after it is told in a turn of its own.
      if (!hasReturned) this.#handle?.ring();
    }
  }

  #hear(event) {
    if (event.type === 'elected') this.toldToken = event.token;
    if (event.type === 'unelected') this.toldToken = undefined;
    // As in the original, a leader is not told of itself.
    if (event.type === 'leader' && event.token === this.toldToken) return;
    this.#tell(event);
  }

  #next() {
    const event = this.#handle?.next(!this.#works);
    if (event?.message) event.message = this.#inOurWords(event.message);
    return event;
  }

  #finish({ code, message, released }) {
    const why = code && new EtcdError(code, message);
    if (!this.#isStopped) return this.#fail(why);
    this.reason = why;
    this.#end(why ? { released, reason: why } : { released });
  }

  #end(outcome) {
    this.#close();
    this.#settle.resolve(outcome);
    this.#tell({ type: 'ended' });
  }

  #fail(error) {
    this.#isStopped = true;
    this.#close();
    this.#settle.reject(error);
    this.#tell({ type: 'error', error });
  }

  #close() {
    this.#isOver = true;
    alive.release(this);
    this.#handle?.free();
    this.#handle = null;
  }
}

module.exports = Run;
