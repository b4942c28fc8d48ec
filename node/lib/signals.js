'use strict';

// Signals that end an election: AbortSignals, also those of polyfills, which have no `reason` and no `throwIfAborted`.

const { mistake, shown } = require('./errors');

/** Throws a mistake if this is given and no signal. */
function checkSignal(signal) {
  if (signal === undefined) return;
  if (typeof signal?.addEventListener !== 'function' || typeof signal.aborted !== 'boolean') {
    throw mistake(`signal is ${shown(signal)}; give an AbortSignal`);
  }
}

function isAborted(signal) {
  return signal?.aborted ?? false;
}

/** The reason of a signal that was aborted. */
function reasonOf(signal) {
  return signal.reason ?? new DOMException('This operation was aborted', 'AbortError');
}

function throwIfAborted(signal) {
  if (isAborted(signal)) throw reasonOf(signal);
}

module.exports = { checkSignal, isAborted, reasonOf, throwIfAborted };
