'use strict';

// Many elections in one process, at once and one after another: what they cost while they run, and that nothing is
// left when they have ended.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Cluster } = require('./support/etcd');
const { program } = require('./support/child');
const { waitFor } = require('./support/wait');

const MANY = 1000;

let etcd;
before(async () => {
  etcd = await Cluster.start();
});
after(() => etcd?.end());

/** What programs here have at hand: what the system says of this process. */
const tools = () => `
const fs = require('fs');
const { once } = require('events');
const url = ${JSON.stringify(etcd.url)};
const links = () => fs.readdirSync('/proc/self/fd').flatMap((fd) => {
  try { return [fs.readlinkSync('/proc/self/fd/' + fd)]; } catch { return []; }
});
// Of our own, open ones to etcd: state 01 is ESTABLISHED, and ports are in hexadecimal.
const connections = () => {
  const ours = new Set(links().map((link) => /^socket:\\[(\\d+)\\]$/.exec(link)?.[1]).filter(Boolean));
  const port = ':' + Number(new URL(url).port).toString(16).toUpperCase().padStart(4, '0');
  return fs.readFileSync('/proc/self/net/tcp', 'utf8').split('\\n').map((line) => line.trim().split(/\\s+/))
    .filter(([, , remote, state, , , , , , inode]) => state === '01' && remote.endsWith(port) && ours.has(inode)).length;
};
// While etcd is silent for longer than usual, another connection is tried beside the first.
const oneConnection = async () => { while (connections() !== 1) await new Promise((resolve) => setTimeout(resolve, 5)); };
const threads = () => fs.readdirSync('/proc/self/task').flatMap((task) => {
  try { return [fs.readFileSync('/proc/self/task/' + task + '/comm', 'utf8').trim()]; } catch { return []; }
});
const engines = () => threads().filter((name) => name.startsWith('etcd-leader')).length;
const untilNoEngine = async () => { while (engines() > 0) await new Promise((resolve) => setTimeout(resolve, 5)); };
const settled = () => new Promise((resolve) => setImmediate(resolve));
`;

function run(t, code, options) {
  const child = program(`${tools()}\n(async () => {\n${code}\n})();`, options);
  t.after(() => child.kill());
  return child;
}

/** Of a program that works all the time: a busy machine takes several times as long. */
const WORK_MS = 300_000;

/** A program that is to end by itself, well and without a word of complaint: what it has said. */
async function saidBy(child) {
  const { code, signal } = await child.ends(WORK_MS);
  assert.deepEqual({ code, signal, errors: child.errors }, { code: 0, signal: null, errors: '' });
  return child.said();
}

const keysBelow = (prefix) => etcd.etcdctl(['get', '--prefix', `${prefix}/`, '--keys-only']).split('\n').filter(Boolean).length;

/** Long, so that a busy machine loses none, and that a key which is gone was given up; renewed often. */
const pace = JSON.stringify({ ttl: 20, renewMs: 500 });
/** Leases that nobody gives up run out later than this. */
const GIVEN_UP_MS = 15_000;

const start = (key, count) => `
const elections = Array.from({ length: ${count} }, (_, at) => etcdLeader(url, ${JSON.stringify(key)} + '/' + at, 'me', ${pace}));
for (const election of elections) election.on('unelected', (why) => { if (why.code !== 'EL_STOPPED') say(why.code); });
await Promise.all(elections.map((election) => once(election.start(), 'elected')));
`;

test('a thousand elections share one connection and one thread, and give all back', async (t) => {
  const child = run(
    t,
    `const before = { descriptors: links().length, threads: threads().length };
${start('/thousand', MANY)}
await oneConnection();
say('engines', engines());
say('lead', elections.filter((election) => election.isLeader()).length);
const until = elections.map((election) => performance.now() + election.timeLeft());
setTimeout(async () => {
  say('renewed', elections.filter((election, at) => performance.now() + election.timeLeft() > until[at]).length);
  await oneConnection();
  listen();
  for (const election of elections) election.stop();
  say('after stop lead', elections.filter((election) => election.isLeader() || election.isRunning()).length);
  // Whether all are known to be released depends on luck: a join that a busy etcd did not answer stays in doubt.
  Promise.all(elections.map((election) => election.stopped())).then(async (ends) => {
    say('ended', ends.length);
    await untilNoEngine();
    say('descriptors', links().length - before.descriptors, 'threads', threads().length - before.threads);
  });
}, 2000);`,
  );
  await child.says(/^renewed/);
  assert.equal(keysBelow('/thousand'), MANY);
  child.tell('stop');
  assert.deepEqual(await saidBy(child), [
    'engines 1',
    `lead ${MANY}`,
    `renewed ${MANY}`,
    'after stop lead 0',
    `ended ${MANY}`,
    'descriptors 0 threads 0',
  ]);
  assert.equal(keysBelow('/thousand'), 0);
});

test('a process that leads two hundred elections gives all places up when it exits', async (t) => {
  const exiting = run(t, `${start('/exit', 200)} process.exit();`);
  assert.deepEqual(await saidBy(exiting), []);
  // On a busy machine it does not wait for all to be confirmed; but they have been asked for.
  await waitFor('all keys to go', () => keysBelow('/exit') === 0, GIVEN_UP_MS);
  const ending = run(t, `${start('/unref', 200)} for (const election of elections) election.unref();`);
  assert.deepEqual(await saidBy(ending), []);
  await waitFor('all keys to go', () => keysBelow('/unref') === 0, GIVEN_UP_MS);
});

test('ten thousand starts and stops leave neither memory nor descriptors nor threads behind', async (t) => {
  // V8 doubles its space for young objects now and then, up to 32 MB of it, so it gets 1 MB for good. The other growth
  // is over after 2,000 cycles: compiled code, heaps, what malloc keeps. From there on a busy machine was seen to add up to
  // 4.2 MB once, in 10,000 cycles. A leak adds in each half: the bound finds one of 400 bytes a cycle, and an election has many
  // times that.
  const warmUp = 2000;
  const half = 5040;
  const slackKb = (half * 400) / 1024;
  const child = run(
    t,
    `
let elected = 0;
// Some lanes share a key in twos, so that some are stopped while the other one leads; each object is used for some rounds.
async function lane(at, rounds) {
  let election;
  for (let round = 0; round < rounds; round += 1) {
    if (round % 5 === 0) election = etcdLeader(url, '/cycles/' + (at < 10 ? at >> 1 : at), 'lane ' + at, 5).on('elected', () => { elected += 1; });
    election.start();
    if (round % 2) await once(election, 'elected');
    else if (round % 4) await settled();
    election.stop();
    if (round % 3) await election.stopped();
  }
  await election.stopped();
}
async function cycle(count) {
  const lanes = 40;
  await Promise.all(Array.from({ length: lanes }, (_, at) => lane(at, count / lanes)));
  await untilNoEngine();
  // Finalizers run between collections, later on a busy machine: until nothing more goes.
  let heapKb = Infinity;
  for (let calm = 0; calm < 5; calm += 1) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const now = process.memoryUsage().heapUsed >> 10;
    if (now < heapKb - 8) calm = 0;
    heapKb = Math.min(heapKb, now);
  }
  const kb = Number(/^VmRSS:\\s+(\\d+) kB$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]);
  return { kb, heapKb, descriptors: links().length, threads: threads().length };
}
const before = await cycle(${warmUp});
elected = 0;
say(JSON.stringify({ before, between: await cycle(${half}), after: await cycle(${half}), elected }));`,
    { execArgv: ['--expose-gc', '--max-semi-space-size=1'] },
  );
  const [line] = await saidBy(child);
  const { before: early, between, after: late, elected } = JSON.parse(line);
  assert.ok(elected >= half && elected < 2 * half, `${elected} were elected`);
  assert.equal(late.descriptors, early.descriptors);
  assert.equal(late.threads, early.threads);
  const grewKb = Math.min(between.kb - early.kb, late.kb - between.kb);
  assert.ok(grewKb < slackKb && late.kb - early.kb < 4 * slackKb, `it grew from ${early.kb} to ${between.kb} and ${late.kb} kB`);
  // What JavaScript holds after a collection does not depend on luck.
  assert.ok(late.heapKb - early.heapKb < 512, `its heap grew from ${early.heapKb} to ${late.heapKb} kB`);
  assert.equal(keysBelow('/cycles'), 0);
});

test('an election that nobody holds runs on; one that has ended is collected', async (t) => {
  const child = run(
    t,
    `
const held = (make) => {
  const references = Array.from({ length: 50 }, (_, at) => new WeakRef(make(at)));
  return () => references.filter((reference) => reference.deref()).length;
};
const collect = async () => { for (let times = 0; times < 10; times += 1) { gc(); await settled(); } };
const untilNone = async (count) => { while (count() > 0) await collect(); };
let heard = 0;
const running = held((at) => etcdLeader(url, '/held/run/' + at, 'me', { ttl: 2, renewMs: 200 }).on('elected', () => { heard += 1; }).start());
const stopped = held((at) => etcdLeader(url, '/held/stop/' + at, 'me', 5).on('elected', function () { this.stop(); }).start());
const failed = held(() => etcdLeader({ hosts: [], get() {} }, '/held/fail', 'me', 5).on('error', () => {}).start());
const idle = held((at) => etcdLeader(url, '/held/idle/' + at, 'me', 5));
const aborted = held((at) => {
  const abort = new AbortController();
  return etcdLeader(url, '/held/abort/' + at, 'me', { ttl: 5, signal: abort.signal }).on('elected', () => abort.abort()).start();
});
for (const count of [stopped, failed, idle, aborted]) await untilNone(count);
while (heard < 50) await settled();
await collect();
say('running', running(), 'others', stopped() + failed() + idle() + aborted());
// Past the ttl: they are renewed.
setTimeout(async () => { await collect(); say('running', running()); listen(); process.exit(); }, 2500);`,
    { execArgv: ['--expose-gc'] },
  );
  await child.says('running 50');
  assert.equal(keysBelow('/held'), 50);
  child.tell('exit');
  assert.deepEqual(await saidBy(child), ['running 50 others 0', 'running 50']);
  assert.equal(keysBelow('/held'), 0);
});

for (const api of ['v3', 'v2']) {
  test(`a hundred candidates for one key in one process, on ${api}: one leads at a time, each once, in its turn`, async (t) => {
    const rounds = 20;
    const child = run(
      t,
      `
const candidates = Array.from({ length: 100 }, (_, at) => etcdLeader({ endpoints: url, api: ${JSON.stringify(api)} }, '/hundred', 'c' + at, ${pace}));
const leaders = () => candidates.filter((one) => one.isLeader()).length;
let done = 0, most = 0, last = 0, isInOrder = true;
await new Promise((resolve) => {
  for (const one of candidates) {
    one.on('elected', (token) => {
      most = Math.max(most, leaders());
      isInOrder &&= token > last;
      last = token;
      setImmediate(() => { one.stop(); done += 1; if (done === ${rounds}) resolve(); });
    });
    one.start();
  }
});
say('led', done, 'at once', most, 'in order', isInOrder);
await Promise.all(candidates.map((one) => one.stop().stopped()));
await untilNoEngine();
say('connections', connections());`,
    );
    assert.deepEqual(await saidBy(child), [`led ${rounds} at once 1 in order true`, 'connections 0']);
    assert.deepEqual(await etcd.entries('/hundred', api), []);
  });
}

test('child processes get none of its descriptors, and change nothing for its elections', async (t) => {
  const child = run(
    t,
    `
const { execFileSync, spawn } = require('child_process');
const inherited = () => execFileSync('ls', ['/proc/self/fd'], { stdio: ['ignore', 'pipe', 'ignore'] });
const before = inherited();
const election = report(etcdLeader(url, '/parent', 'me', ${pace}));
await once(election.start(), 'elected');
say('the same', inherited().equals(before));
await once(spawn('true'), 'exit');
say('leads', election.isLeader());
election.stop();`,
  );
  assert.deepEqual((await saidBy(child)).slice(1), ['the same true', 'leads true', 'unelected EL_STOPPED']);
});
