'use strict';

// A process with elections: how long it lives, what is left of it in etcd when it ends, and what it knows when it was
// not running.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { setTimeout: sleep } = require('node:timers/promises');
const { after, before, test } = require('node:test');
const etcdLeader = require('..');
const { Cluster } = require('./support/etcd');
const { program, ROOT } = require('./support/child');
const { heard, waitFor } = require('./support/wait');

/** Hundreds of times what it takes to end, since machines are busy; what keeps a process by mistake does so for 5 s. */
const PROMPTLY_MS = 4000;
/** What it takes at most when etcd does not answer; and a busy machine may be late. */
const UNANSWERED_MS = 1500 + 1000;
/** How far etcd's own clockwork may be behind a lease's end; and a busy machine may be late. */
const EXPIRY_SLACK_MS = 1000 + 1000;

/** A short ttl, renewed often, so that a busy machine does not lose it. */
const SHORT = { ttl: 2, renewMs: 200 };

let etcd;
before(async () => {
  etcd = await Cluster.start();
});
after(() => etcd?.end());

/** The line with which programs here begin: an election that says all its events. */
const candidate = (key, { url = etcd.url, name = 'me', ttl = 5 } = {}) =>
  `const election = report(etcdLeader(...${JSON.stringify([url, key, name, ttl])}));\n`;

/** A program that is killed when the test is over, if it still runs. */
function run(t, code, options) {
  const child = program(code, options);
  t.after(() => child.kill());
  return child;
}

/** Another candidate, in this process; stopped when the test is over. */
function rivalOf(t, key) {
  const rival = etcdLeader(etcd.url, key, 'rival', 5);
  t.after(() => rival.stop().stopped());
  return rival.start();
}

async function clusterOf(t) {
  const cluster = await Cluster.start();
  t.after(() => cluster.end());
  return cluster;
}

/** Waits for the end of a child: its code, and how long that took since it had said its last line. */
async function ending(child) {
  const { code, signal, at } = await child.ends();
  assert.equal(signal, null, child.errors);
  return { code, tookMs: at - (child.lines.at(-1)?.at ?? child.begun) };
}

async function endsPromptly(child, expected = 0) {
  const { code, tookMs } = await ending(child);
  assert.equal(code, expected, child.errors);
  assert.ok(tookMs < PROMPTLY_MS, `it took ${tookMs} ms to end`);
}

test('a process lives as long as its election runs, and ends by itself after stop()', async (t) => {
  const rival = rivalOf(t, '/lives');
  await heard(rival, 'elected');
  // The ttl is not the point, so it is a long one: no stall of the machine is told as trouble, or ends the lead.
  const child = run(t, `${candidate('/lives', { ttl: { ttl: 60, renewMs: 200 } })}
election.unref().ref().start();
process.on('SIGUSR2', () => { election.stop(); say('stopped'); });`);
  await child.says('leader rival');
  // Many renewals long: it is not the one or the other of them that keeps the process.
  await sleep(1500);
  rival.stop();
  await child.says(/^elected/);
  await sleep(1500);
  child.kill('SIGUSR2');
  await child.says('stopped');
  await endsPromptly(child);
  assert.deepEqual(await etcd.entries('/lives'), []);
  assert.deepEqual(child.said().filter((line) => /^unelected|retrying/.test(line)), ['unelected EL_STOPPED']);
});

test('no election that does not run keeps a process alive', async (t) => {
  await heard(rivalOf(t, '/idle/held'), 'elected');
  const programs = {
    'never started': candidate('/idle/1'),
    'stopped in the turn of its start': `${candidate('/idle/2')} election.start().stop();`,
    'started and stopped many times in one turn': `${candidate('/idle/3')} for (let at = 0; at < 100; at += 1) election.start().stop();`,
    'stopped while another leads': `${candidate('/idle/held')} election.start().on('leader', () => election.stop());`,
    'stopped while nobody answers': `${candidate('/idle/4', { url: 'http://127.0.0.1:1' })} election.start().on('retrying', () => election.stop());`,
    'ended by an error': `report(etcdLeader({ hosts: ['http://'], get() {} }, '/idle/5', 'me', 5)).start();`,
    aborted: `const abort = new AbortController();
      const election = report(etcdLeader(${JSON.stringify(etcd.url)}, '/idle/6', 'me', { signal: abort.signal }));
      election.start().on('elected', () => abort.abort());`,
    'aborted in its second run': `const abort = new AbortController();
      const election = report(etcdLeader(${JSON.stringify(etcd.url)}, '/idle/9', 'me', { signal: abort.signal }));
      election.start().once('elected', () => election.stop().start().once('elected', () => abort.abort()));`,
    'after the work of lead()': `${candidate('/idle/7')} election.lead(async () => {});`,
    'started again and stopped again': `${candidate('/idle/8')} let more = 3;
      election.start().on('elected', () => { election.stop(); if (more--) election.start(); });`,
  };
  await Promise.all(
    Object.entries(programs).map(async ([what, code]) => {
      await endsPromptly(run(t, `${code}\nsay('begun');`)).catch((error) => assert.fail(`${what}: ${error.message}`));
    }),
  );
});

test('after unref() the process ends at once, and its place is given up then', async (t) => {
  const leader = run(t, `${candidate('/unref/1')} election.start().on('elected', () => election.unref());`);
  await endsPromptly(leader);
  assert.deepEqual(await etcd.entries('/unref/1'), []);
  assert.match(leader.said()[0], /^elected \d+$/);

  const early = run(t, `${candidate('/unref/2')} election.unref().start(); setTimeout(() => say('over'), 200);`);
  await early.says('over');
  await endsPromptly(early);
  assert.deepEqual(await etcd.entries('/unref/2'), []);
});

test('unref() while a stopped run still gives its place up lets the process end', async (t) => {
  const frozen = await clusterOf(t);
  const child = run(t, `${candidate('/unref/3', { url: frozen.url })} election.start();
process.on('SIGUSR2', () => { election.stop().start().unref(); say('left'); });`);
  await child.says(/^elected/);
  frozen.freeze();
  child.kill('SIGUSR2');
  const { code, tookMs } = await ending(child);
  assert.equal(code, 0);
  assert.ok(tookMs < UNANSWERED_MS, `it took ${tookMs} ms to end`);
});

test('process.exit() in any listener gives the place up', async (t) => {
  const codes = {
    elected: `${candidate('/exit/1')} election.start().on('elected', () => process.exit(3));`,
    unelected: `${candidate('/exit/2')}
      election.start().on('elected', () => election.stop()).on('unelected', () => process.exit(3));`,
    work: `${candidate('/exit/3')} election.lead(() => process.exit(3));`,
    exit: `${candidate('/exit/4')} process.on('exit', () => { election.stop(); });
      election.start().on('elected', () => setImmediate(() => process.exit(3)));`,
    'exit of another': `${candidate('/exit/5')} process.on('exit', () => process.exit(3)); election.start().on('elected', () => process.exit(1));`,
  };
  for (const [at, [what, code]] of Object.entries(codes).entries()) {
    const child = run(t, code);
    await endsPromptly(child, 3);
    assert.match(child.said()[0], /^elected/, what);
    assert.deepEqual(await etcd.entries(`/exit/${at + 1}`), [], what);
  }
});

for (const [how, word] of Object.entries({ freeze: 'frozen', kill: 'dead' })) {
  test(`with etcd ${word} a process ends within 1.5 s all the same`, async (t) => {
    const cluster = await clusterOf(t);
    const start = (key) => `${candidate(key, { url: cluster.url })} election.start();\n`;
    const children = [
      run(t, `${start('/a')} process.on('SIGUSR2', () => { say('leaves'); process.exit(); });`),
      run(t, `${start('/b')} process.on('SIGUSR2', () => { say('leaves'); election.unref(); });`),
      run(t, `${start('/c')} process.on('SIGUSR2', () => { say('leaves'); election.stop(); process.exit(); });`),
    ];
    for (const child of children) await child.says(/^elected/);
    await cluster[how]();
    for (const child of children) child.kill('SIGUSR2');
    const endings = await Promise.all(children.map(ending));
    for (const { code, tookMs } of endings) {
      assert.equal(code, 0);
      assert.ok(tookMs < UNANSWERED_MS, `it took ${tookMs} ms to end`);
    }
  });
}

test('what a listener throws and nobody catches ends the process with its stack, and the place is given up', async (t) => {
  const child = run(t, `${candidate('/uncaught/1')} election.start().on('elected', function whoThrows() { throw new Error('for all to see'); });`);
  await endsPromptly(child, 1);
  assert.match(child.errors, /Error: for all to see\n +at Election\.whoThrows /);
  assert.deepEqual(await etcd.entries('/uncaught/1'), []);

  const unheard = run(t, `say('begun'); etcdLeader({ hosts: [], get() {} }, '/uncaught/2', 'me', 5).start();`);
  await endsPromptly(unheard, 1);
  assert.match(unheard.errors, /EtcdError: etcd has no hosts/);
});

test('when what listeners throw is caught by the process, the election goes on', async (t) => {
  const rival = rivalOf(t, '/caught');
  await heard(rival, 'elected');
  const child = run(t, `${candidate('/caught', { ttl: 20 })}
election.once('elected', () => setImmediate(() => { say('waits'); listen(); }));
for (const event of ['elected', 'unelected', 'leader', 'leaderless']) election.on(event, () => { throw new Error(event); });
process.on('uncaughtException', (error, origin) => say(origin, error.message));
process.on('SIGUSR2', () => { try { election.stop(); } finally { say('stopped', election.isRunning(), election.isLeader()); } });
election.start();`);
  await child.says('leader rival');
  rival.stop();
  await child.says('waits');
  const [{ key }] = await etcd.nodes('/caught');
  await etcd.remove(key);
  // While the child waits the place is lost and taken anew, so that several events are due at once.
  await waitFor('the second term', async () => (await etcd.entries('/caught')).length === 1);
  child.tell('go on');
  const { at: lostAt } = await child.says('unelected EL_KEY_LOST');
  const { at: wonAt } = await waitFor('the second term', () => child.lines.filter(({ line }) => line.startsWith('elected'))[1]);
  assert.ok(wonAt - lostAt < PROMPTLY_MS, 'what was due came with the next renewal only');
  child.kill('SIGUSR2');
  await endsPromptly(child);
  assert.deepEqual(await etcd.entries('/caught'), []);
  // Whether it hears that nobody leads in between is a matter of luck.
  const said = child.said().filter((line) => !/leaderless|waits/.test(line)).map((line) => line.replace(/\d+/, 'N'));
  const thrown = (line) => [line, `uncaughtException ${line.split(' ')[0]}`];
  assert.deepEqual(said, [
    ...['leader rival', 'elected N', 'unelected EL_KEY_LOST', 'elected N'].flatMap(thrown),
    'unelected EL_STOPPED',
    'stopped false false',
    'uncaughtException unelected',
  ]);
});

test('a listener of unelected that throws takes no place away from the work of lead()', async (t) => {
  const child = run(t, `${candidate('/caught/work')}
process.on('uncaughtException', (error) => say('caught', error.message));
process.on('SIGUSR2', () => { say('may end'); end(); });
let end;
election.on('unelected', () => { throw new Error('in vain'); });
election.lead(async () => {
  setImmediate(() => election.stop());
  await new Promise((resolve) => { end = resolve; });
  say('work is over');
}).then(() => say('lead is over'));`);
  await child.says('caught in vain');
  // A rival that is elected before the work has ended is the fault that is looked for.
  const rival = rivalOf(t, '/caught/work');
  const first = await new Promise((resolve) => rival.once('elected', () => resolve('rival')).once('leader', resolve));
  assert.equal(first, 'me');
  await sleep(300);
  assert.equal(rival.isLeader(), false);
  child.kill('SIGUSR2');
  await heard(rival, 'elected');
  await endsPromptly(child);
  assert.deepEqual(child.said().slice(-3), ['may end', 'work is over', 'lead is over']);
});

test('a listener of unelected that throws does not keep the entry when the work of lead() has ended', async (t) => {
  const child = run(t, `${candidate('/caught/after')}
process.on('uncaughtException', (error) => say('caught', error.message));
election.on('unelected', () => { throw new Error('in vain'); });
election.lead(async () => say('work is over')).then(() => say('lead is over'), (error) => say(error.code));`);
  await endsPromptly(child);
  assert.deepEqual(child.said().slice(-4), ['work is over', 'unelected EL_STOPPED', 'caught in vain', 'lead is over']);
});

test('after kill -9 of the leader another one leads within the ttl', async (t) => {
  const child = run(t, `${candidate('/killed', { ttl: SHORT })} election.start();`);
  await child.says(/^elected/);
  const rival = rivalOf(t, '/killed');
  assert.equal(await heard(rival, 'leader'), 'me');
  child.kill('SIGKILL');
  const { at } = await child.ends();
  await heard(rival, 'elected');
  const tookMs = performance.now() - at;
  assert.ok(tookMs < SHORT.ttl * 1000 + EXPIRY_SLACK_MS, `it took ${tookMs} ms`);
});

test('a process that was stopped past the ttl hears the truth from its first question on', async (t) => {
  const child = run(t, `${candidate('/asleep', { ttl: SHORT })} election.start().on('elected', () => setImmediate(() => {
  say('waits', election.isLeader());
  listen();
  say('woke', election.isLeader(), election.token(), election.timeLeft(), election.currentLeader());
}));`);
  await child.says('waits true');
  const rival = rivalOf(t, '/asleep');
  assert.equal(await heard(rival, 'leader'), 'me');
  child.kill('SIGSTOP');
  await heard(rival, 'elected');
  child.tell('go on');
  child.kill('SIGCONT');
  await child.says('leader rival');
  assert.ok(rival.isLeader());
  const said = child.said();
  const woke = said.findIndex((line) => line.startsWith('woke'));
  assert.match(said[woke], /^woke false undefined 0 /);
  assert.ok(said[woke] !== 'woke false undefined 0 me', 'it names itself as the leader');
  assert.match(said[woke + 1], /^unelected EL_(DEADLINE|LEASE_LOST|KEY_LOST)$/);
});

test('while the event loop is blocked isLeader() turns false before the lease ends, and unelected comes first', async (t) => {
  const ttlMs = SHORT.ttl * 1000;
  const frozen = await clusterOf(t);
  const child = run(t, `${candidate('/blocked', { url: frozen.url, ttl: SHORT })} election.start().on('elected', () => setImmediate(() => {
  say('waits');
  listen();
  const frozenAt = performance.now();
  const turn = new Int32Array(new SharedArrayBuffer(4));
  let last = frozenAt;
  for (let now = frozenAt; election.isLeader(); now = performance.now()) {
    last = now;
    Atomics.wait(turn, 0, 0, 2);
  }
  say('lost', Math.ceil(last - frozenAt), election.isLeader(), election.token(), election.timeLeft());
}));`);
  await child.says('waits');
  // The engine's thread renews although JavaScript is held up.
  await sleep(ttlMs + 500);
  frozen.freeze();
  child.tell('frozen');
  const { line } = await child.says(/^lost/);
  await child.says(/^unelected/);
  const said = child.said();
  const [, lastMs] = line.match(/^lost (\d+) false undefined 0$/);
  assert.ok(Number(lastMs) < ttlMs, `it was still leading ${lastMs} ms after the last renewal`);
  assert.ok(Number(lastMs) > 0, 'it led no more when it was asked first, so it had not renewed while it was held up');
  assert.equal(said[said.indexOf(line) + 1], 'unelected EL_DEADLINE');
});

test('DEBUG=etcd-leader prints on stderr as the package debug 2.x does, and nothing is printed without it', async (t) => {
  const code = `${candidate('/debug', { name: 'foo' })} election.start().on('elected', () => setTimeout(() => election.stop(), 50));`;
  const silent = run(t, code, { env: { DEBUG: undefined } });
  await endsPromptly(silent);
  assert.equal(silent.errors, '');
  assert.equal(silent.said().length, 2);

  const loud = run(t, code, { env: { DEBUG: 'etcd-leader' } });
  await endsPromptly(loud);
  assert.deepEqual(loud.said().map((line) => line.replace(/\d+/, 'N')), ['elected N', 'unelected EL_STOPPED']);
  const lines = loud.errors.split('\n');
  assert.equal(lines.pop(), '');
  for (const line of lines) assert.match(line, /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT etcd-leader \S/);
  assert.equal(lines.filter((line) => line.endsWith(' GMT etcd-leader Stopping foo')).length, 1);
});

test('DEBUG means what it means to the package debug 2.x', () => {
  const values = [
    ...['', '*', 'etcd-leader', 'etcd*', '*-leader', 'e*r', 'etcd', 'etcd-leader2', 'leader', 'etcd-leader:*', 'etcd-*-leader'],
    ...['other,-etcd-leader', 'other,etcd-leader', 'other etcd-leader', ' etcd-leader ', ',,etcd-leader', '-etcd-leader', '*,-etcd-leader'],
    ...['-etcd-leader,*', '*,-etcd*', '*,-other', '*,-', 'etcd-leader,-*', '-*', 'ETCD-LEADER', '**'],
  ];
  // Each says the same line by way of debug and by way of ours; the date is cut off.
  const code = `
const debugPackage = require(require.resolve('debug', { paths: [require.resolve(${JSON.stringify(`${__dirname}/node_modules/original`)})] }));
let lines = [];
process.stderr.write = (line) => lines.push(line.replace(/^.*? GMT /, ''));
const said = (say) => { lines = []; say(); return lines.join(''); };
console.log(JSON.stringify(${JSON.stringify(values)}.map((value) => {
  debugPackage.enable(value);
  process.env.DEBUG = value;
  delete require.cache[${JSON.stringify(require.resolve(`${ROOT}/lib/debug`))}];
  const ours = require(${JSON.stringify(`${ROOT}/lib/debug`)});
  return [value, said(() => ours(() => 'Stopping foo')), said(() => debugPackage('etcd-leader')('Stopping foo'))];
})));`;
  const answers = JSON.parse(execFileSync(process.execPath, ['-e', code], { encoding: 'utf8', env: { ...process.env, DEBUG: '' }, stdio: ['ignore', 'pipe', 'pipe'] }));
  assert.equal(answers.length, values.length);
  for (const [value, ours, theirs] of answers) assert.equal(ours, theirs, `DEBUG=${value}`);
  assert.ok(answers.some(([, ours]) => ours === 'etcd-leader Stopping foo\n') && answers.some(([, ours]) => ours === ''));
});
