'use strict';

// Hosts freeze a program, put their own timers into it, forbid it files, and bundle it.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { after, before, describe, it } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { Cluster } = require('./support/etcd');
const { Child, program } = require('./support/child');
const { Fleet } = require('./support/fleet');
const { heard } = require('./support/wait');

const NODE = path.join(__dirname, '..');

describe('hosts', { concurrency: true }, () => {
  let cluster;
  before(async () => {
    cluster = await Cluster.start();
  });
  after(() => cluster.end());

  /** Freezes a program that leads, until another one leads in its place. */
  async function freezePastItsTerm(t, child, key) {
    child.kill('SIGSTOP');
    const two = new Fleet(t).candidate(cluster.url, key, 'two', 2);
    const elected = heard(two, 'elected');
    two.start();
    await elected;
  }

  it('that freeze a program past its term: lead() rejects, and the signal says so before any event', async (t) => {
    const child = program(`
const election = etcdLeader(${JSON.stringify(cluster.url)}, '/frozen', 'one', 2);
election.on('unelected', (why) => say('unelected', why.code));
election.lead(async ({ signal }) => {
  say('leads');
  listen();
  try { signal.throwIfAborted(); } catch (error) { say('aborted', signal.aborted, error.code); }
  return 'done';
}).then((value) => say('resolved', value), (error) => say('rejected', error.code));`);
    t.after(() => child.kill());
    await child.says('leads');
    await freezePastItsTerm(t, child, '/frozen');
    child.tell('go on');
    child.kill('SIGCONT');
    await child.ends();
    const said = child.said();
    const [, code] = said[1].split(' ');
    assert.deepEqual(said.slice(1), [`unelected ${code}`, `aborted true ${code}`, `rejected ${code}`]);
  });

  it('that freeze a program: what a listener throws meanwhile is not thrown by the signal', async (t) => {
    const child = program(`
const election = etcdLeader(${JSON.stringify(cluster.url)}, '/thrown', 'one', 2);
process.on('uncaughtException', (error) => say('caught', error.message));
election.on('unelected', () => { throw new Error('in vain'); });
election.lead(async ({ signal }) => {
  say('leads');
  listen();
  say('aborted', signal.aborted);
}).then((value) => say('resolved', value), (error) => say('rejected', /^EL_/.test(error.code)));`);
    t.after(() => child.kill());
    await child.says('leads');
    await freezePastItsTerm(t, child, '/thrown');
    child.tell('go on');
    child.kill('SIGCONT');
    await child.ends();
    assert.deepEqual(child.said().slice(1), ['aborted true', 'caught in vain', 'rejected true']);
  });

  it('that freeze a program: work that ended in time by its own clock is rejected all the same', async (t) => {
    const child = program(`
const election = etcdLeader(${JSON.stringify(cluster.url)}, '/slept', 'one', 2);
election.lead(async () => {
  say('leads');
  await new Promise((resolve) => setTimeout(resolve, 1500));
}).then((value) => say('resolved'), (error) => say('rejected', error.code));`);
    t.after(() => child.kill());
    await child.says('leads');
    await freezePastItsTerm(t, child, '/slept');
    child.kill('SIGCONT');
    await child.ends();
    assert.match(child.said().at(-1), /^rejected EL_/);
  });

  it('that keep the event loop busy: work that ended before the news is rejected with the reason of the loss', async (t) => {
    const child = program(`
const election = etcdLeader(${JSON.stringify({ endpoints: cluster.urls, api: 'v3' })}, '/busy', 'one', 5);
election.lead(({ token }) => {
  say('leads');
  // It may lead again at once, with another token.
  while (election.token() === token);
}).then(() => say('resolved'), (error) => say('rejected', error.code));`);
    t.after(() => child.kill());
    await child.says('leads');
    const [node] = await cluster.nodes('/busy', 'v3');
    await cluster.remove(node.key, 'v3');
    await child.ends();
    assert.equal(child.said().at(-1), 'rejected EL_KEY_LOST');
  });

  it('that go on: after retrying comes recovered', async (t) => {
    const own = await Cluster.start();
    t.after(() => own.end());
    const one = new Fleet(t).candidate(own.url, '/back', 'one', 5);
    const elected = heard(one, 'elected');
    one.start();
    await elected;
    const retrying = heard(one, 'retrying');
    own.kill();
    await retrying;
    const recovered = heard(one, 'recovered');
    await own.restart();
    await recovered;
  });

  it('that put fake timers there after the package was loaded', async (t) => {
    const child = program(`
for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']) globalThis[name] = () => say('fake', name);
process.nextTick = () => say('fake', 'nextTick');
const election = etcdLeader(${JSON.stringify(cluster.url)}, '/fake', 'one', 5);
election.lead(async ({ signal }) => { say('works', signal.aborted); }).then(() => say('done'));`);
    t.after(() => child.kill());
    const { code: status } = await child.ends();
    assert.deepEqual([status, child.said()], [0, ['works false', 'done']]);
  });

  // Addons and a permission model go together from Node.js 20.12 on.
  const skip = process.allowedNodeEnvironmentFlags.has('--allow-addons') ? false : 'this Node.js has no --allow-addons';
  it('that forbid it to read the program that runs it (--permission)', { skip }, async (t) => {
    const [flag] = process.allowedNodeEnvironmentFlags.has('--permission') ? ['--permission'] : ['--experimental-permission'];
    const code = `require(${JSON.stringify(path.join(NODE, 'index.js'))}); require('fs').writeSync(1, 'loaded\\n'); try { require('fs').readFileSync(process.execPath); } catch (e) { require('fs').writeSync(1, e.code + '\\n'); }`;
    const child = new Child(process.execPath, [flag, `--allow-fs-read=${NODE}/*`, '--allow-addons', '-e', code]);
    t.after(() => child.kill());
    await child.ends();
    assert.deepEqual(child.said(), ['loaded', 'ERR_ACCESS_DENIED'], child.errors);
  });

  it('that bundle it: the message names the remedy, and a variable names the binary', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'etcd-leader-test-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    fs.writeFileSync(
      path.join(folder, 'in.js'),
      `const etcdLeader = require(${JSON.stringify(NODE)});
etcdLeader(process.argv[2], '/bundle', 'one', 5).lead(async () => console.log('leads')).catch((error) => console.log(error.code));`,
    );
    const out = path.join(folder, 'out.js');
    const esbuild = path.join(__dirname, 'node_modules/esbuild-wasm/bin/esbuild');
    const words = [path.join(folder, 'in.js'), '--bundle', '--platform=node', '--log-level=error', `--outfile=${out}`];
    await promisify(execFile)(process.execPath, [esbuild, ...words]);
    const run = async (env) => {
      const child = new Child(process.execPath, [out, cluster.url], { env });
      t.after(() => child.kill());
      return { ...(await child.ends()), said: child.said(), errors: child.errors };
    };
    const without = await run({});
    assert.match(without.errors, /a bundler has left it out/);
    for (const word of ['--external etcd-leader', 'serverExternalPackages', 'ETCD_LEADER_BINARY']) assert.ok(without.errors.includes(word), word);
    const binary = path.join(NODE, require('../lib/target').fileName());
    assert.deepEqual((await run({ ETCD_LEADER_BINARY: binary })).said, ['leads']);
    assert.match((await run({ ETCD_LEADER_BINARY: '/none.node' })).errors, /ETCD_LEADER_BINARY is \/none\.node, and there is no such file/);
  });
});
