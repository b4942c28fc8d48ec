// The common part of the crowds in Node.js: see README.md. `start(key, name, hear)` begins a candidate, whose events it tells by
// hear('elected') and hear('leader', name); it gives { isLeader(), stop() }.
'use strict';

const readline = require('readline');

const now = () => process.hrtime.bigint();
const say = (...words) => process.stdout.write(`@ ${words.join(' ')}\n`);

module.exports = (start) => {
  const [key, number, count] = process.argv.slice(3);
  const all = new Set();
  let fresh = 0;
  let saidAll = false;

  function add() {
    const one = { name: `${number}-${fresh++}`, leader: '', since: 0n };
    one.candidate = start(key, one.name, (what, leader = one.name) => {
      [one.leader, one.since] = [leader, now()];
      if (what === 'elected') say('elected', one.since, one.name);
      if (!saidAll && all.size === Number(count) && [...all].every((other) => other.leader)) {
        saidAll = true;
        say('all');
      }
    });
    all.add(one);
  }

  function stop() {
    const one = [...all].find((other) => other.candidate.isLeader());
    if (!one) return;
    all.delete(one);
    const begun = now();
    one.candidate.stop();
    say('stopped', begun);
  }

  function startOnce(on) {
    const begun = now();
    const candidate = start(on, 'one', (what) => {
      if (what !== 'elected') return;
      say('started', now() - begun);
      candidate.stop();
    });
  }

  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const [word, rest] = line.split(' ');
    if (word === 'stop') stop();
    if (word === 'again') add();
    if (word === 'start') startOnce(rest);
    if (word === 'told') say('told', ...[...all].filter((one) => one.leader === rest).map((one) => one.since));
  });
  lines.on('close', () => process.exit());
  // In a turn of its own, so that nothing else of this program keeps the first answers waiting.
  setImmediate(() => {
    say('begun', now());
    for (let at = 0; at < Number(count); at++) add();
  });
};
