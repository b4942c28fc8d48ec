'use strict';

// The fourth argument, and the words in which the core speaks of what it was given.

const { mistake, shown } = require('./errors');
const { checkMembers } = require('./connection');

const DEFAULT_TTL_S = 10;
const MAX_U32 = 0xffffffff;
const UNITS = { ttl: 'seconds', renewMs: 'milliseconds', stepDownMs: 'milliseconds', requestTimeoutMs: 'milliseconds', stopTimeoutMs: 'milliseconds' };
const STORE_RESETS = ['continue', 'stop'];
const NAMES = {
  ttl_s: 'ttl',
  renew_ms: 'renewMs',
  step_down_ms: 'stepDownMs',
  request_timeout_ms: 'requestTimeoutMs',
  stop_timeout_ms: 'stopTimeoutMs',
};

/** The configuration that the ttl or the options say. Throws mistakes. */
function readOptions(given) {
  if (typeof given !== 'object' || given === null) return pace({ ttl: parseInt(given, 10) || DEFAULT_TTL_S });
  const { signal, onStoreReset = 'continue', ...numbers } = given;
  checkMembers('options', given, [...Object.keys(UNITS), 'onStoreReset', 'signal']);
  if (!STORE_RESETS.includes(onStoreReset)) throw mistake(`onStoreReset is ${shown(onStoreReset)}; give "continue" or "stop"`);
  checkSignal(signal);
  return { ...pace(numbers), stopsOnStoreReset: onStoreReset === 'stop', signal };
}

function checkSignal(signal) {
  if (signal === undefined) return;
  if (typeof signal?.addEventListener !== 'function' || typeof signal.aborted !== 'boolean') {
    throw mistake(`signal is ${shown(signal)}; give an AbortSignal`);
  }
}

function pace(numbers) {
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= MAX_U32)) {
      throw mistake(`${name} is ${shown(value)}; give whole ${UNITS[name]} from 0 (the default) on`);
    }
  }
  const { ttl: ttlS = DEFAULT_TTL_S, stopTimeoutMs, ...rest } = numbers;
  return { ...rest, ttlS, stopTimeoutMs: stopTimeoutMs || (ttlS || DEFAULT_TTL_S) * 1000 };
}

/** The same message with the names that things have here; what stands in quotes is the user's. */
function inOurWords(message, names) {
  const all = { ...NAMES, ...names };
  return message.replace(/"(?:[^"\\]|\\.)*"|[a-z]+(?:_[a-z]+)*/g, (word) => (Object.hasOwn(all, word) ? all[word] : word));
}

module.exports = { readOptions, checkSignal, inOurWords };
