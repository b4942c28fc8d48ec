'use strict';

// DEBUG=etcd-leader, as the original printed it by way of the package `debug`: names with *, a - before those to leave out.
const words = (process.env.DEBUG ?? '').split(/[\s,]+/).filter(Boolean);
const matches = (word) =>
  new RegExp(`^${word.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*')}$`).test('etcd-leader');
const isOn =
  words.some((word) => !word.startsWith('-') && matches(word)) &&
  !words.some((word) => word.startsWith('-') && matches(word.slice(1)));

/** Says one line on standard error, if asked to. `line` is called only then. */
function debug(line) {
  if (isOn) process.stderr.write(`${new Date().toUTCString()} etcd-leader ${line()}\n`);
}

module.exports = debug;
