'use strict';

// Elections in worker threads, in modules loaded more than once, and in the children of the module cluster. All of it
// runs in processes of its own, which are to end by themselves.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Cluster } = require('./support/etcd');
const { Child, program, PRELUDE, ROOT } = require('./support/child');
const { waitFor } = require('./support/wait');

/** Hundreds of times what it takes, since machines are busy; and far less than the ttl here, which is 5 s. */
const PROMPTLY_MS = 2000;

let etcd;
before(async () => {
  etcd = await Cluster.start();
});
after(() => etcd?.end());

/** The line with which programs and threads here begin. */
const candidate = (key, { name = 'me', url = etcd.url, ttl = 5 } = {}) =>
  `const election = report(etcdLeader(...${JSON.stringify([url, key, name, ttl])}), ${JSON.stringify(name)});\n`;

/** A thread in a program. */
const thread = (code, options = '{}') => `thread(${JSON.stringify(`const { parentPort, threadId, workerData } = require('worker_threads');\n${code}`)}, ${options})`;

function run(t, code, options) {
  const child = program(code, options);
  t.after(() => child.kill());
  return child;
}

/** What was said of elections and work. A machine that stalls for a second makes trouble, and that is told too. */
const withoutTrouble = (lines) => lines.filter((line) => !/ retrying EL_/.test(line));

/** A program that is to end by itself, well and without a word of complaint: what it has said. */
async function saidBy(t, code, options) {
  const child = run(t, code, options);
  const { code: status, signal } = await child.ends();
  assert.deepEqual({ status, signal, errors: child.errors }, { status: 0, signal: null, errors: '' });
  return withoutTrouble(child.said());
}

const HELPERS = `
const { once } = require('events');
const engines = () => require('fs').readdirSync('/proc/self/task').filter((task) => {
  try { return require('fs').readFileSync('/proc/self/task/' + task + '/comm', 'utf8') === 'etcd-leader\\n'; } catch { return false; }
}).length;
const untilNoEngine = async () => { while (engines() > 0) await new Promise((resolve) => setTimeout(resolve, 5)); };
`;

test('events come in the thread that made the election, and a worker ends by itself after stop()', async (t) => {
  const stopWhenElected = `election.start().on('elected', () => { say('in', require('worker_threads').threadId); election.stop(); });`;
  const said = await saidBy(
    t,
    `${candidate('/own/main', { name: 'main' })}
const worker = ${thread(`${candidate('/own/worker', { name: 'worker' })} ${stopWhenElected}`)};
worker.on('exit', (code) => {
  say('worker ended', code);
  ${stopWhenElected}
});`,
  );
  assert.deepEqual(said.map((line) => line.replace(/elected \d+/, 'elected N')), [
    ...['worker elected N', 'in 1', 'worker unelected EL_STOPPED', 'worker ended 0'],
    ...['main elected N', 'in 0', 'main unelected EL_STOPPED'],
  ]);
});

test('two workers and the main thread campaign for one key: one leads at a time, each in its turn', async (t) => {
  const rounds = 10;
  const compete = (name) => `
const held = require('worker_threads').workerData ?? shared;
const election = etcdLeader(${JSON.stringify(etcd.url)}, '/compete', ${JSON.stringify(name)}, 5);
let rounds = ${rounds};
election.on('elected', (token) => {
  say(${JSON.stringify(name)}, token, Atomics.add(held, 0, 1), election.isLeader());
  setImmediate(() => {
    election.stop();
    rounds -= 1;
    if (rounds > 0) election.start();
  });
});
election.on('unelected', () => Atomics.sub(held, 0, 1));
election.start();`;
  const said = await saidBy(
    t,
    `const shared = new Int32Array(new SharedArrayBuffer(4));
${thread(compete('one').replace(' ?? shared', ''), '{ workerData: shared }')};
${thread(compete('two').replace(' ?? shared', ''), '{ workerData: shared }')};
${compete('main')}`,
  );
  const terms = said.map((line) => line.split(' '));
  for (const name of ['one', 'two', 'main']) assert.equal(terms.filter(([who]) => who === name).length, rounds, name);
  const tokens = terms.map(([, token]) => Number(token));
  assert.deepEqual(tokens, [...tokens].sort((one, other) => one - other), 'tokens grow');
  for (const [who, token, others, isLeader] of terms) assert.deepEqual([others, isLeader], ['0', 'true'], `${who} ${token}`);
});

const WAYS = {
  idle: `election.start();`,
  'in an endless listener': `election.start().on('elected', () => { for (;;); });`,
  'in an endless turn of its own': `election.start().on('elected', () => setImmediate(() => { for (;;); }));`,
  'at work in lead()': `election.lead(() => new Promise(() => {}));`,
};

for (const [way, code] of Object.entries(WAYS)) {
  test(`a worker that is terminated while it leads, ${way}, gives its place up`, async (t) => {
    const said = await saidBy(
      t,
      `${candidate('/terminated', { name: 'main' })}
const worker = ${thread(`${candidate('/terminated', { name: 'worker' })} election.once('elected', () => parentPort.postMessage('leads')); ${code}`)};
let terminated;
worker.once('message', () => election.start());
election.on('leader', async () => { terminated = performance.now(); await worker.terminate(); });
election.on('elected', () => { say('took', performance.now() - terminated); election.stop(); });`,
    );
    assert.match(said[0], /^worker elected/);
    assert.equal(said[1], 'main leader worker');
    const took = said.find((line) => line.startsWith('took')).slice(5);
    assert.ok(Number(took) < PROMPTLY_MS, `it took ${took} ms`);
    assert.equal(said.at(-1), 'main unelected EL_STOPPED');
    assert.ok(!said.includes('worker unelected EL_STOPPED'));
  });
}

test('a worker that ends on its own, well or badly, gives up its places, and only its own', async (t) => {
  const codes = {
    exit: `${candidate('/ends/1', { name: 'worker' })} election.start().on('elected', () => process.exit(3));`,
    thrown: `${candidate('/ends/2', { name: 'worker' })} election.start().on('elected', () => { throw new Error('thrown in a worker'); });`,
    unref: `${candidate('/ends/3', { name: 'worker' })} election.start().on('elected', () => election.unref());`,
    memory: `${candidate('/ends/4', { name: 'worker' })}
      election.start().on('elected', () => { for (const all = []; ; ) all.push(new Array(1000).fill(Math.random())); });`,
  };
  const child = run(
    t,
    `${HELPERS} ${candidate('/ends/main', { name: 'main' })}
election.start().on('elected', async () => {
  for (const [at, code] of ${JSON.stringify(Object.values(codes))}.entries()) {
    const worker = thread(code, { resourceLimits: { maxOldGenerationSizeMb: 30 } }).on('error', (error) => say(error.code ?? error.message));
    const status = await new Promise((resolve) => worker.on('exit', resolve));
    say(at + 1, 'ended', status);
    listen();
  }
  say('leads', election.isLeader());
  election.stop();
});`,
  );
  for (let at = 1; at <= 4; at += 1) {
    await child.says(new RegExp(`^${at} ended`));
    assert.deepEqual(await etcd.entries(`/ends/${at}`), [], Object.keys(codes)[at - 1]);
    assert.deepEqual(await etcd.entries('/ends/main'), ['main']);
    child.tell('');
  }
  const { code } = await child.ends();
  const outcomes = withoutTrouble(child.said()).filter((line) => !/^(main|worker) elected/.test(line));
  assert.deepEqual(outcomes, [
    ...['1 ended 3', 'thrown in a worker', '2 ended 1', '3 ended 0', 'ERR_WORKER_OUT_OF_MEMORY', '4 ended 1'],
    ...['leads true', 'main unelected EL_STOPPED'],
  ]);
  assert.equal(code, 0);
});

test('the addon loaded in workers alone, one after another, terminated or not', async (t) => {
  const inWorker = `${PRELUDE} ${candidate('/alone')}
const { parentPort } = require('worker_threads');
election.start().on('elected', () => parentPort.postMessage('leads'));
parentPort.once('message', () => election.stop());`;
  const code = `const { Worker } = require('worker_threads');
const { once } = require('events');
(async () => {
  for (let at = 0; at < 6; at += 1) {
    const worker = new Worker(${JSON.stringify(inWorker)}, { eval: true });
    await once(worker, 'message');
    if (at % 2) await worker.terminate();
    else { worker.postMessage('stop'); await once(worker, 'exit'); }
  }
  console.log('not loaded here', !Object.keys(require.cache).some((file) => file.startsWith(${JSON.stringify(ROOT)})));
})();`;
  const child = new Child(process.execPath, ['-e', code]);
  t.after(() => child.kill());
  const { code: status } = await child.ends();
  assert.equal(status, 0, child.errors);
  assert.equal(child.errors, '');
  const said = withoutTrouble(child.said()).map((line) => line.replace(/\d+/, 'N'));
  const terms = [0, 1, 2].flatMap(() => ['me elected N', 'me unelected EL_STOPPED', 'me elected N']);
  assert.deepEqual(said, [...terms, 'not loaded here true']);
  assert.deepEqual(await etcd.entries('/alone'), []);
});

test('the module loaded many times in one thread: all copies work, and all give up at the end', async (t) => {
  const copies = 12;
  const said = await saidBy(
    t,
    `${HELPERS}
const all = [etcdLeader];
while (all.length < ${copies}) {
  // Every other time with the binary itself.
  for (const file of Object.keys(require.cache)) if (all.length % 2 || !file.endsWith('.node')) delete require.cache[file];
  all.push(require(${JSON.stringify(ROOT)}));
}
say('copies', new Set(all).size);
const elections = all.map((one, at) => one(${JSON.stringify(etcd.url)}, '/copies/' + at, 'copy', 5).start());
const rival = all.at(-1)(${JSON.stringify(etcd.url)}, '/copies/0', 'rival', 5);
Promise.all(elections.map((one) => once(one, 'elected'))).then(async () => {
  rival.start();
  say('led by', ...await once(rival, 'leader'));
  elections[0].stop();
  await once(rival, 'elected');
  say('engines', engines());
  process.exit();
});`,
  );
  assert.deepEqual(said, [`copies ${copies}`, 'led by copy', 'engines 1']);
  for (let at = 0; at < copies; at += 1) assert.deepEqual(await etcd.entries(`/copies/${at}`), []);
});

test('twenty workers in a row, terminated at any moment of their elections, leave nothing behind', async (t) => {
  const stir = `const election = etcdLeader(${JSON.stringify(etcd.url)}, '/row/all', 'worker', 5);
for (const event of ['elected', 'unelected', 'leader']) election.on(event, () => parentPort.postMessage(event));
const also = etcdLeader(${JSON.stringify(etcd.url)}, '/row/own/' + workerData, 'worker', 5).start();
const stir = () => { election.stop(); election.start(); also[workerData % 2 ? 'stop' : 'start'](); parentPort.postMessage('stirred'); };
election.start();
if (workerData >= 10) setInterval(stir, 1);`;
  const said = await saidBy(
    t,
    `${HELPERS} (async () => {
  for (let at = 0; at < 20; at += 1) {
    const worker = ${thread(stir, '{ workerData: at }')};
    await once(worker, 'online');
    // From before its first line up to many events later.
    for (let events = at < 10 ? at % 2 : at; events > 0; events -= 1) await once(worker, 'message');
    await worker.terminate();
  }
  await untilNoEngine();
  say('all gone');
})();`,
  );
  assert.deepEqual(said, ['all gone']);
  assert.deepEqual(await etcd.entries('/row'), []);
});

test('eight workers with many elections each, terminated all at once', async (t) => {
  const crowd = `for (let at = 0; at < 25; at += 1) {
  etcdLeader(${JSON.stringify(etcd.url)}, '/crowd/' + at, 'worker', 5).start().on('elected', () => parentPort.postMessage(at));
}`;
  const said = await saidBy(
    t,
    `${HELPERS} (async () => {
  for (let round = 0; round < 3; round += 1) {
    const workers = Array.from({ length: 8 }, () => ${thread(crowd)});
    await Promise.race(workers.map((worker) => once(worker, 'message')));
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  await untilNoEngine();
  say('all gone');
})();`,
  );
  assert.deepEqual(said, ['all gone']);
  assert.deepEqual(await etcd.entries('/crowd'), []);
});

test('with etcd frozen a process with workers ends as fast as without', async (t) => {
  const frozen = await Cluster.start();
  t.after(() => frozen.end());
  const workers = 8;
  const child = run(
    t,
    `for (let at = 0; at < ${workers}; at += 1) thread(${JSON.stringify(candidate('/slow', { url: frozen.url }).replace('"/slow"', '"/slow/" + require("worker_threads").threadId'))} + 'election.start();');
${candidate('/slow/main', { url: frozen.url })} election.start();
process.on('SIGUSR2', () => { say('leaves'); process.exit(); });`,
  );
  await waitFor('all to lead', () => child.said().filter((line) => / elected /.test(line)).length === workers + 1);
  frozen.freeze();
  child.kill('SIGUSR2');
  const leaves = await child.says('leaves');
  const { code, at } = await child.ends();
  assert.equal(code, 0);
  // Workers may say something until it is their turn to end.
  const tookMs = at - leaves.at;
  assert.ok(tookMs < 1500 + 1000, `it took ${tookMs} ms`);
});

test('loading the module waits for nobody: no name server, no other thread', async (t) => {
  const load = `const begun = performance.now(); require(${JSON.stringify(ROOT)}); console.log(performance.now() - begun);`;
  const codes = [
    `const net = require('net');
let open = 50;
const server = net.createServer(() => { open -= 1; if (open === 0) { ${load} process.exit(); } }).listen(0, () => {
  for (let at = open; at > 0; at -= 1) net.connect(server.address().port, '127.0.0.1');
});`,
    `const busy = new (require('worker_threads').Worker)("require('worker_threads').parentPort.postMessage(1); require('child_process').execSync('sleep 2')", { eval: true });
busy.on('message', () => { ${load} });`,
  ];
  for (const code of codes) {
    const child = new Child(process.execPath, ['-e', code]);
    t.after(() => child.kill());
    const { code: status } = await child.ends();
    assert.equal(status, 0, child.errors);
    assert.ok(Number(child.said()[0]) < PROMPTLY_MS, `it took ${child.said()[0]} ms to load`);
  }
});

test('listeners run in the asynchronous context in which their election was started', async (t) => {
  const said = await saidBy(
    t,
    `const context = new (require('async_hooks').AsyncLocalStorage)();
for (const name of ['one', 'two']) {
  const election = etcdLeader(${JSON.stringify(etcd.url)}, '/context/' + name, name, 5);
  election.once('elected', () => {
    say(name, 'in', context.getStore());
    context.run('another', () => election.stop());
    context.run(name + ' again', () => election.once('elected', () => { say(name, 'in', context.getStore()); election.stop(); }).start());
  });
  context.run(name, () => election.start());
}`,
  );
  assert.deepEqual(said.sort(), ['one in one', 'one in one again', 'two in two', 'two in two again']);
});

test('of the children of the module cluster exactly one leads, and another one when it is killed', async (t) => {
  const inChild = `${PRELUDE}
const election = report(etcdLeader(${JSON.stringify(etcd.url)}, '/cluster', String(process.pid), { ttl: 2, renewMs: 200 }), process.pid).start();
process.on('disconnect', () => election.stop());`;
  const child = run(
    t,
    `const cluster = require('cluster');
cluster.setupPrimary({ exec: 'child', execArgv: ['-e', ${JSON.stringify(inChild)}] });
for (let at = 0; at < 3; at += 1) cluster.fork();
process.on('SIGUSR2', () => cluster.disconnect());`,
  );
  const elected = () => child.said().filter((line) => / elected /.test(line)).map((line) => line.split(' ')[0]);
  const followers = (leader) => child.said().filter((line) => line.endsWith(` leader ${leader}`)).length;
  const [first] = await waitFor('a leader', () => elected().length > 0 && elected());
  await waitFor('two who follow it', () => followers(first) === 2);
  assert.deepEqual(elected(), [first]);
  process.kill(Number(first), 'SIGKILL');
  const [, second] = await waitFor('another leader', () => elected().length > 1 && elected());
  await waitFor('one who follows it', () => followers(second) === 1);
  assert.deepEqual(elected(), [first, second]);
  assert.notEqual(second, first);
  child.kill('SIGUSR2');
  const { code } = await child.ends();
  assert.equal(code, 0, child.errors);
  assert.deepEqual(await etcd.entries('/cluster'), []);
});
