'use strict';

// election.lead(): one term, for as long as a function takes.

const { stoppedBefore } = require('./errors');
const { isAborted, reasonOf } = require('./signals');
const { nextTick, queueMicrotask, setTimeout } = require('./timers');

const { get: wasAborted } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted');

/** The time between two looks at a term while the clock is in doubt. */
const DOUBT_MS = 50;

/** Makes a call that calls listeners, and throws their errors to the process: neither the work nor a promise gets them. */
function withoutUs(callsListeners) {
  try {
    callsListeners();
  } catch (error) {
    nextTick(() => {
      throw error;
    });
  }
}

/** One call of lead(), in one run of an election. */
class Lead {
  #run;
  #body;
  #signal;
  #stop;
  #term = null;
  #work = null;
  #isWorkOver = false;

  /** `stop` asks for the end of the run; `signal`, if given, does so from outside. */
  constructor(run, body, { stop, signal }) {
    this.#run = run;
    this.#body = body;
    this.#stop = stop;
    this.#signal = signal;
  }

  /** We lead: the work begins once those who listen have heard of it. */
  elected(token) {
    if (this.#term) return;
    const term = new AbortController();
    this.#term = term;
    const { signal } = term;
    // It reads the clock, as isLeader() does: a process that was frozen hears the truth before it hears of the event.
    Object.defineProperty(signal, 'aborted', { get: () => this.#isOver(token, term), configurable: true });
    // Node's own looks past that. There is no reason yet while the clock is in doubt, or a listener has stopped the election.
    const throwIfAborted = () => {
      if (signal.aborted) throw signal.reason ?? new DOMException('This operation was aborted', 'AbortError');
    };
    Object.defineProperty(signal, 'throwIfAborted', { value: throwIfAborted, configurable: true });
    queueMicrotask(() => this.#begin(token, term));
  }

  /** Whether the term was over before the work was. */
  #isOver(token, { signal }) {
    if (wasAborted.call(signal) || this.#isWorkOver || this.#run.token() === token) return wasAborted.call(signal);
    withoutUs(() => this.#run.look());
    return true;
  }

  #begin(token, term) {
    if (this.#term !== term) return;
    const { signal } = term;
    if (signal.aborted) {
      // Either the end of the term was told just now; or the clock is in doubt for a while, of which no event tells.
      if (this.#term === term) setTimeout(() => this.#begin(token, term), DOUBT_MS).unref?.();
      return;
    }
    let settle;
    this.#work = new Promise((resolve) => {
      settle = resolve;
    });
    // Before the work begins: it may stop the election at once.
    this.#run.beginWork();
    const isOver = () => {
      this.#isWorkOver = true;
      withoutUs(() => this.#stop());
      this.#run.endWork();
    };
    this.#work.then(isOver, isOver);
    settle(new Promise((resolve) => resolve(this.#body({ token, signal }))));
  }

  /** We do not lead any more, and one term is all there is; one in which no work began is none. */
  unelected(why) {
    if (!this.#term || this.#isWorkOver) return;
    if (!this.#work) {
      this.#term = null;
      return;
    }
    this.#term.abort(isAborted(this.#signal) ? reasonOf(this.#signal) : why);
    this.#stop();
  }

  /** What the work gave, once the entry is given up; throws if the work did, or if the entry was not held until it ended. */
  async result() {
    this.#signal?.addEventListener('abort', this.#stop, { once: true });
    let fatal;
    await this.#run.outcome.catch((error) => {
      fatal = error;
    });
    this.#signal?.removeEventListener('abort', this.#stop);
    const reason = fatal ?? (this.#term ? this.#run.reason : undefined);
    // No work begins any more, if none has.
    this.#term = null;
    if (this.#work) {
      const value = await this.#work;
      if (reason) throw reason;
      return value;
    }
    throw reason ?? (isAborted(this.#signal) ? reasonOf(this.#signal) : stoppedBefore());
  }
}

module.exports = Lead;
