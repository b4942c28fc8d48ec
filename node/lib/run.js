'use strict';

// One run of an election, from a start to its end: it takes what is due from the addon and tells it in order. After a
// stop a leader's place is kept until the listeners of `unelected` have returned, and what `holdFor` was given is
// settled.

const native = require('./binding');
const { EtcdError } = require('./errors');

/** A timer that does nothing keeps the process alive; this is as long as one can be. */
const FOR_EVER_MS = 0x7fffffff;

const NOTHING_LEFT = { released: true };

class Run {
  #tell;
  /** The run before this one, as long as this one has not begun. */
  #before;
  #inOurWords;
  #stopTimeoutMs = 0;
  #handle = null;
  #alive = setInterval(() => {}, FOR_EVER_MS);
  #isStopped = false;
  #isTelling = false;
  #isLosing = false;
  #held = null;
  #isHolding = false;
  #settle;
  /** Whether the place was given up before what it was held for was settled. */
  isOverdue = false;
  /** The token of the term in which its listeners believe to lead. */
  toldToken = undefined;

  /**
   * `tell(event)` is called for each event, one at a time; what it throws is not caught. `before` is the run of the same
   * election before this one: its place goes before another is taken.
   */
  constructor(tell, before) {
    this.#tell = tell;
    this.#before = before;
    this.outcome = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    const isOver = () => {
      this.#before = undefined;
    };
    // Who does not ask for it does not want to hear of an error.
    this.outcome.then(isOver, isOver);
  }

  /**
   * Begins in a turn of its own. `read` gives { config, inOurWords }: the configuration, and how to say what the addon says;
   * or throws what is wrong with it.
   */
  begin(read) {
    const begin = () => process.nextTick(() => this.#begin(read));
    if (this.#before) this.#before.outcome.then(begin, begin);
    else begin();
  }

  #begin(read) {
    if (this.#isStopped) return;
    this.#before = undefined;
    try {
      const { config, inOurWords } = read();
      this.#inOurWords = inOurWords;
      this.#stopTimeoutMs = config.stopTimeoutMs;
      this.#handle = native.start(config, () => this.#deliver());
    } catch (error) {
      this.#fail(new EtcdError(error.code ?? 'EL_INTERNAL', error.message));
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
      this.#end(this.#before?.outcome.catch(() => NOTHING_LEFT) ?? NOTHING_LEFT);
    }
  }

  /** Keeps the place of a leader that was stopped until `promise` is settled, but no longer than stopTimeoutMs. */
  holdFor(promise) {
    this.#held = promise;
  }

  ref() {
    this.#alive?.ref();
    this.#before?.ref();
  }

  unref() {
    this.#alive?.unref();
    this.#before?.unref();
  }

  isLeader() {
    return this.#asked?.isLeader() ?? false;
  }

  token() {
    return this.#asked?.token() ?? undefined;
  }

  timeLeft() {
    return this.#asked?.timeLeft() ?? 0;
  }

  leader() {
    return this.#asked?.leader() ?? undefined;
  }

  /** Who knows how things are. Who is just being told that a term is over is not to see the next one already. */
  get #asked() {
    return this.#isLosing ? null : this.#handle;
  }

  /** Tells all that is due. Each look says that what was told before has been heard. */
  #deliver() {
    if (this.#isTelling || this.#isHolding) return;
    this.#isTelling = true;
    let hasReturned = false;
    try {
      for (let event = this.#next(); event; event = this.#next()) {
        // Whatever the listeners do: the next look is for later.
        if (event.type === 'unelected' && this.#isStopped && this.#held) this.#hold();
        if (event.type === 'ended') this.#end({ released: event.released });
        else if (event.type === 'error') this.#fail(new EtcdError(event.code, event.message));
        else this.#hear(event);
        if (this.#isHolding) break;
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
    this.#isLosing = event.type === 'unelected';
    try {
      this.#tell(event);
    } finally {
      this.#isLosing = false;
    }
  }

  #next() {
    const event = this.#handle?.next();
    if (event?.message) event.message = this.#inOurWords(event.message);
    return event;
  }

  #hold() {
    this.#isHolding = true;
    const release = () => {
      clearTimeout(timer);
      this.#isHolding = false;
      this.#deliver();
    };
    const giveUp = () => {
      this.isOverdue = true;
      release();
    };
    const timer = setTimeout(giveUp, this.#stopTimeoutMs).unref();
    this.#held.then(release, release);
    this.#held = null;
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
    clearInterval(this.#alive);
    this.#alive = null;
    this.#handle?.free();
    this.#handle = null;
  }
}

module.exports = Run;
