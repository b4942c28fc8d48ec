// One member of 2015: says what happens to it, with the time on the clock that all processes share.
//
//     node original.js http://...[,http://...] key name ttl nanoseconds
//
// The last number is how far that clock is ahead of CLOCK_MONOTONIC, which is node's. Lines to tell it: claim, stop.
'use strict';

// node-etcd loads a native module for its *Sync calls, which the original does not make; here nothing is compiled.
const deasync = require.resolve('deasync');
require.cache[deasync] = { id: deasync, filename: deasync, loaded: true, exports: {} };

const readline = require('readline');
const Etcd = require('node-etcd');
const etcdLeader = require('original');

const [urls, key, name, ttl, ahead] = process.argv.slice(2);

function say(words) {
  const now = (process.hrtime.bigint() + BigInt(ahead)) / 1000000n;
  process.stdout.write(`@ ${now} ${words}\n`);
}

const member = etcdLeader(new Etcd(urls.split(',')), key, name, ttl);

// The original has no tokens; the index in the name of its entry is what a token would be.
const token = () => Number(member._membershipKey.split('/').pop());

member.on('elected', () => say(`elected ${token()}`));
member.on('unelected', () => say('unelected'));
member.on('leader', (leader) => say(`leader ${leader}`));
member.on('error', (error) => say(`failed ${error.message}`));
process.on('exit', () => say('ended'));

const commands = readline.createInterface({ input: process.stdin });
commands.on('line', (line) => {
  if (line === 'claim') {
    say(member.isLeader() ? `claims yes ${token()}` : 'claims no');
  } else {
    member.stop();
    commands.close();
    process.stdin.destroy();
  }
});
member.start();
