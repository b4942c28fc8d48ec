'use strict';

// The functions of time as they were when this module was loaded: tests with fake timers (Jest, vitest, node:test) put others
// in their place, and an election does not wait for a test's clock.

const { nextTick } = process;
const { queueMicrotask, setTimeout } = globalThis;

module.exports = { nextTick: nextTick.bind(process), queueMicrotask, setTimeout };
