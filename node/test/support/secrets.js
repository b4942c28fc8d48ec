'use strict';

// What nobody may see: passwords and keys that tests plant. To be loaded before the package: all that DEBUG=etcd-leader
// prints in this process is kept here instead of being printed.

const assert = require('node:assert/strict');
const util = require('node:util');
const { heard } = require('./wait');

/** A part of every password and of every made-up key. */
const PLANTED = 'Planted-Swordfish';

const hidden = [PLANTED];
const debugLines = [];
let checkedLines = 0;

process.env.DEBUG = 'etcd-leader';
const write = process.stderr.write;
process.stderr.write = function keep(text, ...rest) {
  if (!/ etcd-leader /.test(text)) return write.call(this, text, ...rest);
  debugLines.push(text);
  return true;
};

/** The lines of a private key are to be seen nowhere either. Gives it back. */
function hide(pem) {
  hidden.push(...pem.split('\n').filter((line) => line.length > 40));
  return pem;
}

/** Nothing that is hidden is in what these show of themselves, nor in what was printed since the last time. */
function checkSilence(...things) {
  const shown = things.flatMap((thing) => [
    util.inspect(thing, { depth: 9, showHidden: true, getters: true }),
    JSON.stringify(thing) ?? '',
    thing instanceof Error ? `${thing.message}${thing.stack}` : '',
  ]);
  const printed = debugLines.slice(checkedLines);
  checkedLines = debugLines.length;
  for (const text of [...shown, ...printed]) {
    for (const secret of hidden) assert.ok(!text.includes(secret), `a secret is told: ${text}`);
  }
}

/**
 * Waits for a trouble that is no matter of the network. With TLS 1.3 a server refuses our certificate when it is connected
 * already, and now and then all that is seen of it is a connection that ends, until the next try.
 */
async function untrusted(election) {
  for (;;) {
    const trouble = await heard(election, 'retrying');
    if (trouble.code !== 'EL_UNREACHABLE' && trouble.code !== 'EL_TIMEOUT') return trouble;
  }
}

module.exports = { PLANTED, hide, checkSilence, untrusted, debugLines };
