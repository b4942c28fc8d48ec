'use strict';

// Keeps the event loop of this thread alive while elections run that are not unref()ed. It is no timer: fake timers (Jest,
// vitest, node:test) would run one for ever, or not at all.

const { MessageChannel } = require('node:worker_threads');

const holders = new Set();
let channel = null;

function hold(one) {
  holders.add(one);
  channel ??= listening(new MessageChannel());
  channel.port1.ref();
}

/** In Deno a port counts only if somebody listens to it. */
function listening(made) {
  made.port1.on('message', () => {});
  return made;
}

function release(one) {
  holders.delete(one);
  if (holders.size === 0) channel?.port1.unref();
}

module.exports = { hold, release };
