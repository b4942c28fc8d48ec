'use strict';

/** How long anything may take on a busy machine before a test gives up on it. */
const PATIENCE_MS = 60_000;

/** Waits until `probe` gives something. */
async function waitFor(what, probe, patienceMs = PATIENCE_MS) {
  const giveUp = Date.now() + patienceMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (Date.now() >= giveUp) throw new Error(`waited ${patienceMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The first argument of an event, or what else is wrong if it does not come. */
function heard(emitter, event, patienceMs = PATIENCE_MS) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`waited ${patienceMs} ms in vain for ${event}`)), patienceMs);
    emitter.once(event, (argument) => {
      clearTimeout(timer);
      resolve(argument);
    });
  });
}

module.exports = { PATIENCE_MS, waitFor, heard };
