'use strict';

// The fourth argument, and the words in which the core speaks of what it was given.

const { mistake, shown } = require('./errors');
const { checkMembers } = require('./connection');
const { checkSignal } = require('./signals');

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

/**
 * The configuration that the ttl or the options say. Throws mistakes. With a client of node-etcd, `isLenient`, a ttl is read as the
 * original did: by its first digits.
 */
function readOptions(given, isLenient) {
  if (given === undefined || given === null) return pace({ ttl: DEFAULT_TTL_S });
  if (typeof given !== 'object') return pace({ ttl: isLenient && typeof given !== 'symbol' ? parseInt(given, 10) || DEFAULT_TTL_S : seconds(given) });
  if (Array.isArray(given)) throw mistake('options is an array; give a ttl, or an object with options');
  const { signal, onStoreReset = 'continue', ...numbers } = given;
  checkMembers('options', given, [...Object.keys(UNITS), 'onStoreReset', 'signal']);
  if (!STORE_RESETS.includes(onStoreReset)) throw mistake(`onStoreReset is ${shown(onStoreReset)}; give "continue" or "stop"`);
  checkSignal(signal);
  return { ...pace(numbers), stopsOnStoreReset: onStoreReset === 'stop', signal };
}

/** A number may come as text, as from the environment. */
function seconds(given) {
  return typeof given === 'string' && /^\d+$/.test(given) ? Number(given) : given;
}

function pace(numbers) {
  for (const [name, value] of Object.entries(numbers)) {
    if (value === undefined) continue;
    if (!Number.isInteger(value) || value < 0) throw mistake(`${name} is ${shown(value)}; give whole ${UNITS[name]}, or 0 for the default`);
    if (value > MAX_U32) throw mistake(`${name} is ${value}, which is too large; give whole ${UNITS[name]}, or 0 for the default`);
  }
  const { ttl: ttlS, ...rest } = numbers;
  return { ...rest, ttlS };
}

/**
 * What is quoted is the user's, and so is what is part of a path or a host. A field of one word is one where a message
 * begins, or tells what to set; elsewhere it is just a word.
 */
const WORDS = /"(?:[^"\\]|\\.)*"|(?<![\w./-])(?:[a-z]+(?:_[a-z]+)+|(?:^|(?<=\bset (?:\w+ and )?))(?:endpoints\[0\]|[a-z]+))(?![\w/-]|\.\w)/g;

/** The same message with the names that the core's fields have here. */
function inOurWords(message, names) {
  const all = { ...NAMES, ...names };
  return message
    .replace(WORDS, (word) => (Object.hasOwn(all, word) ? all[word] : word))
    // Of two fields that are one here, one is enough.
    .replace(/(the client's [^()]+?) (?:or \1|\(or \1\))/g, '$1');
}

module.exports = { readOptions, inOurWords };
