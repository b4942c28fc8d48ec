'use strict';

// election.lead(): one term, for as long as a function takes.

const { EtcdError } = require('./errors');
const { nextTick, queueMicrotask } = require('./timers');

const { get: wasAborted } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted');

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
    this.#term = new AbortController();
    const { signal } = this.#term;
    // It reads the clock, as isLeader() does: a process that was frozen hears the truth before it hears of the event.
    Object.defineProperty(signal, 'aborted', { get: () => this.#isOver(token), configurable: true });
    queueMicrotask(() => this.#begin(token, signal));
  }

  /** Whether the term was over before the work was. */
  #isOver(token) {
    const { signal } = this.#term;
    if (wasAborted.call(signal) || this.#isWorkOver || this.#run.token() === token) return wasAborted.call(signal);
    this.#run.look();
    return true;
  }

  #begin(token, signal) {
    if (signal.aborted) return;
    let settle;
    this.#work = new Promise((resolve) => {
      settle = resolve;
    });
    // Before the work begins: it may stop the election at once.
    this.#run.beginWork();
    const isOver = () => {
      this.#isWorkOver = true;
      try {
        this.#stop();
      } catch (error) {
        // A listener threw. It is nobody's promise that is rejected.
        nextTick(() => {
          throw error;
        });
      }
      this.#run.endWork();
    };
    this.#work.then(isOver, isOver);
    settle(new Promise((resolve) => resolve(this.#body({ token, signal }))));
  }

  /** We do not lead any more, and one term is all there is. */
  unelected(why) {
    if (!this.#term || this.#isWorkOver) return;
    this.#term.abort(this.#signal?.aborted ? this.#signal.reason : why);
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
    if (this.#work) {
      const value = await this.#work;
      if (reason) throw reason;
      return value;
    }
    throw reason ?? (this.#signal?.aborted ? this.#signal.reason : stoppedBefore());
  }
}

function stoppedBefore() {
  return new EtcdError('EL_STOPPED', 'the election was stopped before we led');
}

module.exports = Lead;
