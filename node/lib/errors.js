'use strict';

/**
 * What etcd, the network or the library says. `code` is one of the statuses of the C header, such as 'EL_DENIED'; which
 * mean what stands in index.d.ts.
 */
class EtcdError extends Error {
  constructor(code, message, endpoint) {
    super(message);
    this.code = code;
    if (endpoint) this.endpoint = endpoint;
  }
}
Object.defineProperty(EtcdError.prototype, 'name', { value: 'EtcdError', writable: true, configurable: true });

/** A call that cannot be right, whatever etcd says. */
function mistake(message) {
  return Object.assign(new TypeError(message), { code: 'EL_INVALID' });
}

function stoppedBefore() {
  return new EtcdError('EL_STOPPED', 'the election was stopped before we led');
}

/** A value in a message: short, and quoted if it is a text. */
function shown(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value);
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'symbol') return 'a symbol';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

module.exports = { EtcdError, mistake, shown, stoppedBefore };
