'use strict';

// The examples in examples/node do what they say, and the program in the README of 2015 runs as it stands.

const assert = require('node:assert/strict');
const { it, before, after } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Child, ROOT } = require('./support/child');
const { Cluster, etcdBinary } = require('./support/etcd');
const { waitFor } = require('./support/wait');

const TOP = path.join(ROOT, '..');
const EXAMPLES = path.join(TOP, 'examples/node');
/** Those that a checkout runs; in hosts are those that need more. */
const NAMES = fs.readdirSync(EXAMPLES).filter((name) => /\.m?js$/.test(name));

let cluster;
before(async () => {
  cluster = await Cluster.start();
});
after(() => cluster?.end());

const start = (name, ...args) => new Child(process.execPath, [path.join(EXAMPLES, name), ...args]);

/** The commands in the head of an example: what is set in. */
function commands(name) {
  const [head] = fs.readFileSync(path.join(EXAMPLES, name), 'utf8').split(/^[^/]/m);
  return [...head.matchAll(/^\/\/ {4,}(.+)$/gm)].map(([, command]) => command);
}

for (const name of NAMES) {
  it(`the commands in the head of ${name} run it in a checkout`, async () => {
    const [build, command, ...others] = commands(name);
    assert.equal(build, 'make node');
    assert.deepEqual(others, []);
    assert.ok(command.startsWith(`node examples/node/${name} http://127.0.0.1:2379 /`), command);
    const child = new Child('sh', ['-c', `exec ${command.replace('http://127.0.0.1:2379', cluster.url)}`], { cwd: TOP });
    await child.says(/token \d+/);
    child.kill('SIGTERM');
    assert.equal((await child.ends()).code, 0, child.errors);
    assert.equal(child.errors, '');
    assert.deepEqual(await cluster.entries(command.split(' ')[3], 'v3'), []);
  });
}

// Of each: the ttl, which is the longest that a stop may take; how many campaign; its arguments.
for (const [name, ttlS, count, ...args] of [['campaign.js', 2, 1, 'one', '2'], ['job.mjs', 4, 1, 'one'], ['cluster.js', 2, 2, '2']]) {
  for (const leads of [true, false]) {
    it(`${name} ends on SIGTERM while etcd is frozen and it ${leads ? 'leads' : 'waits'}`, async () => {
      const own = await Cluster.start();
      const children = [];
      const begin = (...words) => children[children.push(start(...words)) - 1];
      try {
        if (!leads) await begin('campaign.js', own.url, '/frozen', 'first', '30').says(/^first: elected/);
        const child = begin(name, own.url, '/frozen', ...args);
        const all = leads ? count : count + 1;
        await waitFor('all in line', async () => (await own.entries('/frozen', 'v3')).length === all || undefined);
        if (leads) await child.says(/token \d+/);
        own.freeze();
        const from = performance.now();
        child.kill('SIGTERM');
        const { code, at } = await child.ends();
        assert.ok(at - from < ttlS * 1000 + 5000, `it took ${at - from} ms:\n${child.said().join('\n')}${child.errors}`);
        // lead() that has never led rejects.
        assert.equal(code, name === 'job.mjs' && !leads ? 1 : 0, child.errors);
      } finally {
        children.forEach((child) => child.kill());
        own.end();
      }
    });
  }
}

it('cluster.js gives all places up on Ctrl-C, of which the workers hear from the terminal and from the primary', async () => {
  const primary = start('cluster.js', cluster.url, '/ctrl-c', '3');
  await primary.says(/runs the job/);
  await waitFor('three workers', async () => (await cluster.entries('/ctrl-c', 'v3')).length === 3 || undefined);
  const { pid } = primary.process;
  const workers = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  assert.equal(workers.length, 3);
  for (const one of [...workers, pid]) process.kill(Number(one), 'SIGINT');
  assert.equal((await primary.ends()).code, 0, primary.errors);
  assert.deepEqual(await cluster.entries('/ctrl-c', 'v3'), []);
});

for (const flags of [[], ['--v2']]) {
  it(`campaign.js ${flags.join(' ')}: one leaves, one is killed, the third follows`, async () => {
    const api = flags.length > 0 ? 'v2' : 'v3';
    const campaign = (name) => start('campaign.js', ...flags, cluster.url, '/campaign', name, '5');
    const one = campaign('one');
    await one.says(/^one: elected, token \d+$/);
    const two = campaign('two');
    await two.says('two: the leader is one');
    const three = campaign('three');
    await three.says('three: the leader is one');
    one.kill('SIGINT');
    assert.equal((await one.ended).code, 0, one.errors);
    assert.equal(one.said().at(-1), 'one: unelected (EL_STOPPED): the election was asked to stop');
    await two.says(/^two: elected/);
    await three.says('three: the leader is two');
    two.kill('SIGKILL');
    await three.says(/^three: elected/);
    three.kill('SIGTERM');
    assert.equal((await three.ended).code, 0, three.errors);
    assert.deepEqual(await cluster.entries('/campaign', api), []);
  });
}

it('campaign.js says what is wrong', async () => {
  for (const [args, said] of [
    [[], /^usage: /],
    [['--v2', 'http://h', '/k'], /^usage: /],
    [['ftp://h', '/k', 'n'], /ftp/],
    [['http://h', '/k/', 'n'], /leave the slash out/],
    [['http://h', '/k', 'n', '1000'], /ttl is 1000/],
  ]) {
    const child = start('campaign.js', ...args);
    assert.equal((await child.ended).code, 2);
    assert.match(child.errors, said);
  }
});

it('job.mjs: the leader dies, the next one goes on where it was, and nobody does a step twice', async () => {
  const one = start('job.mjs', cluster.url, '/report', 'one');
  await one.says('one: step 3');
  // So that it is not done before the other is there.
  one.kill('SIGSTOP');
  const two = start('job.mjs', cluster.url, '/report', 'two');
  await waitFor('two in line', async () => (await cluster.entries('/report', 'v3')).includes('two'));
  one.kill('SIGKILL');
  await one.ended;
  assert.equal((await two.ended).code, 0, two.errors);
  assert.equal(two.said().at(-1), 'two: ended after step 10');
  const steps = [...one.said(), ...two.said()].filter((line) => line.includes('step')).slice(0, -1);
  const numbers = steps.map((line) => Number(line.split(' ').at(-1)));
  // A step whose word was lost with the process is not done again either.
  assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
  assert.equal(cluster.etcdctl(['get', '--print-value-only', '/report-done']).trim(), '10');
});

it('job.mjs: a write with a token that is too old is refused', async () => {
  cluster.etcdctl(['put', '/stale-fence', String(Number.MAX_SAFE_INTEGER).padStart(20, '0')]);
  const one = start('job.mjs', cluster.url, '/stale', 'one');
  assert.equal((await one.ended).code, 1);
  assert.match(one.errors, /^one: the token \d+ is too old/);
  assert.equal(cluster.etcdctl(['get', '/stale-done']), '');
});

it('cluster.js: exactly one worker runs the job, and another when that one is killed', async () => {
  const primary = start('cluster.js', cluster.url, '/cron', '3');
  const first = await primary.says(/runs the job/);
  const pid = Number(first.line.split(' ')[1]);
  process.kill(pid, 'SIGKILL');
  await primary.says(`worker ${pid} is gone`);
  const next = new RegExp(`^worker (?!${pid} )\\d+ runs the job`);
  await primary.says(next);
  await waitFor('three workers again', async () => (await cluster.entries('/cron', 'v3')).length === 3);
  primary.kill('SIGTERM');
  assert.equal((await primary.ended).code, 0, primary.errors);
  assert.deepEqual(await cluster.entries('/cron', 'v3'), []);
  // Tokens in the order in which they were said never go back: no two ran it by turns.
  const tokens = primary.said().filter((line) => line.includes('token')).map((line) => Number(line.split(' ').at(-1)));
  assert.deepEqual(tokens, [...tokens].sort((a, b) => a - b));
  assert.equal(new Set(tokens).size, 2);
});

it('the program in the README of 2015 runs unchanged, with its client and its port', async (t) => {
  const readme = fs.readFileSync(path.join(ROOT, 'test/node_modules/original/README.md'), 'utf8');
  const program = readme.split('```')[1];
  assert.match(program, /new Etcd\("localhost", 4001\)/);
  const place = fs.mkdtempSync(path.join(os.tmpdir(), `etcd-leader-test-${process.pid}-`));
  t.after(() => fs.rmSync(place, { recursive: true, force: true }));
  fs.mkdirSync(path.join(place, 'node_modules'));
  fs.symlinkSync(ROOT, path.join(place, 'node_modules/etcd-leader'));
  fs.symlinkSync(path.join(ROOT, 'test/node_modules/node-etcd-4.0.2'), path.join(place, 'node_modules/node-etcd'));
  fs.writeFileSync(path.join(place, 'readme-of-2015.js'), program);
  // A network of its own, in which that port is free.
  const etcd = path.join(cluster.folder, 'alone');
  const script = `ip link set lo up
    '${etcdBinary()}' --data-dir '${etcd}' --enable-v2=true --listen-client-urls http://localhost:4001 \\
      --advertise-client-urls http://localhost:4001 --listen-peer-urls http://localhost:4002 2>'${etcd}.log' >&2 &
    exec '${process.execPath}' -r '${path.join(__dirname, 'support/no-deasync.js')}' '${path.join(place, 'readme-of-2015.js')}'`;
  const child = new Child('unshare', ['--map-root-user', '--net', '--pid', '--fork', '--kill-child', 'sh', '-c', script]);
  // etcd starts beside it: that it is not there yet is no error.
  await child.says('I am the MASTER.');
  child.kill('SIGKILL');
  await child.ended;
  assert.equal(child.errors, '');
});
