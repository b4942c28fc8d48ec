'use strict';

// The package in Bun and in Deno, as their npm packages bring them: what works there, and what does not.
//
// Nothing is promised of them beyond this file; README.md of the package says the same in words.

const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { Cluster } = require('./support/etcd');
const { Child } = require('./support/child');
const { installed, outcome, temporaryFolder } = require('./support/package');
const { waitFor } = require('./support/wait');

/** Packages run no install scripts here, so the programs are taken from the packages of their platforms. */
function find(scope, program) {
  const parent = path.join(__dirname, 'node_modules', scope);
  const platforms = fs.existsSync(parent) ? fs.readdirSync(parent) : [];
  const found = platforms.map((platform) => path.join(parent, platform, program)).find((file) => fs.existsSync(file));
  if (!found) throw new Error(`no ${scope} in node/test/node_modules: run \`npm ci\` in node/test`);
  return found;
}

const RUNTIMES = {
  Bun: { command: () => find('@oven', 'bin/bun'), args: ['run'] },
  Deno: { command: () => find('@deno', 'deno'), args: ['run', '--no-prompt', '--allow-all'] },
};

/** The least that Deno has to allow, for it looks at the platform, DEBUG and the binary, and loads that. */
const LEAST = ['run', '--no-prompt', '--allow-env', '--allow-read', '--allow-ffi'];

const BEGIN = `
import etcdLeader, { EtcdError } from 'etcd-leader';
const say = (...words) => console.log(words.join(' '));
const [url, key] = process.argv.slice(2);
const election = etcdLeader(url, key, 'host-1', 2);
election.on('unelected', (reason) => say('unelected', reason.code, reason instanceof EtcdError, election.isLeader()));
process.on('exit', (code) => say('exit', code));
`;
const SMOKE = `
election.on('elected', async (token) => {
  say('elected', token === election.token(), election.isLeader(), election.currentLeader());
  const { released } = await election.stop().stopped();
  say('released', released);
});
election.start();
`;
const SMOKE_SAYS = ['elected true true host-1', 'unelected EL_STOPPED true false', 'released true', 'exit 0'];

let cluster;
let folder;
let home;
const children = [];
before(async () => {
  [cluster, folder] = await Promise.all([Cluster.start(), installed()]);
  home = temporaryFolder();
});
after(() => {
  children.forEach((child) => child.kill());
  cluster?.end();
});

/** Runs a module, or a script, on an election of its own. */
function start({ command, args }, code, { url = cluster.url, key = `/runtime/${children.length}`, end = 'mjs' } = {}) {
  const file = path.join(folder, `program-${children.length}.${end}`);
  fs.writeFileSync(file, end === 'cjs' ? code.replace(/^import .*$/m, "const etcdLeader = require('etcd-leader'), { EtcdError } = etcdLeader;") : code);
  const env = { HOME: home, DENO_DIR: path.join(home, 'deno'), NO_COLOR: '1', DENO_NO_UPDATE_CHECK: '1', DO_NOT_TRACK: '1' };
  const child = new Child(command(), [...args, file, url, key], { cwd: folder, env });
  children.push(child);
  return child;
}

const well = (said) => ({ code: 0, signal: null, said, errors: '' });

for (const [name, runtime] of Object.entries(RUNTIMES)) {
  describe(name, () => {
    test('loads it, is elected, gives the place up and ends by itself', async () => {
      assert.deepEqual(await outcome(start(runtime, BEGIN + SMOKE)), well(SMOKE_SAYS));
    });

    test('does so with require() too', async () => {
      assert.deepEqual(await outcome(start(runtime, BEGIN + SMOKE, { end: 'cjs' })), well(SMOKE_SAYS));
    });

    test('leads as long as the work of lead() takes', async () => {
      const child = start(runtime, `${BEGIN}
        say('gave', await election.lead(async ({ signal }) => {
          await new Promise((resolve) => setTimeout(resolve, 100));
          return !signal.aborted && election.isLeader();
        }));`);
      assert.deepEqual(await outcome(child), well(['unelected EL_STOPPED true false', 'gave true', 'exit 0']));
    });

    test('may end while an election runs that was unreferenced, and while it leads: the place is given up', async () => {
      const key = `/runtime/exit/${name}`;
      const unref = start(runtime, `${BEGIN}
        // It keeps the program running until the event has come: isLeader() says so before that.
        const timer = setInterval(() => {}, 1000);
        election.on('elected', () => {
          say('elected');
          clearInterval(timer);
        });
        election.start().unref();`, { key });
      assert.deepEqual(await outcome(unref), well(['elected', 'exit 0']));
      assert.deepEqual(await cluster.entries(key, 'v3'), []);
      const exit = start(runtime, `${BEGIN}
        election.on('elected', () => process.exit(3));
        election.start();`, { key });
      assert.deepEqual(await outcome(exit), { ...well(['exit 3']), code: 3 });
      assert.deepEqual(await cluster.entries(key, 'v3'), []);
    });

    test('stops leading by the clock when etcd is frozen', async (t) => {
      const frozen = await Cluster.start();
      t.after(() => frozen.end());
      const child = start(runtime, `${BEGIN}
        election.on('elected', () => say('elected'));
        election.once('unelected', () => process.exit());
        election.start();`, { url: frozen.url });
      await child.says('elected');
      frozen.freeze();
      assert.deepEqual(await outcome(child), well(['elected', 'unelected EL_DEADLINE true false', 'exit 0']));
    });

    test('gives up the places of a worker that is terminated', async () => {
      const key = `/runtime/worker/${name}`;
      const child = start(runtime, `${BEGIN}
        const { Worker, isMainThread, parentPort } = await import('node:worker_threads');
        const { fileURLToPath } = await import('node:url');
        if (isMainThread) {
          const worker = new Worker(fileURLToPath(import.meta.url), { argv: [url, key] });
          worker.on('message', async (message) => {
            say(message);
            await worker.terminate();
            say('terminated');
            process.stdin.on('data', () => process.exit());
          });
        } else {
          const inside = etcdLeader(url, key, 'worker').start();
          inside.on('elected', () => parentPort.postMessage('elected in the worker'));
        }`, { key });
      await child.says('terminated');
      // While the process lives: not only because it ends.
      await waitFor('the place to be given up', async () => (await cluster.entries(key, 'v3')).length === 0);
      child.tell('end');
      assert.deepEqual(await outcome(child), well(['elected in the worker', 'terminated', 'exit 0']));
    });

    test('tells uncaughtException of a listener that throws, and goes on', async () => {
      const child = start(runtime, `${BEGIN}
        process.on('uncaughtException', (error) => {
          say('uncaught', error.message);
          election.stop();
        });
        election.on('elected', () => {
          throw new Error('of mine');
        });
        election.start();`);
      assert.deepEqual(await outcome(child), well(['uncaught of mine', 'unelected EL_STOPPED true false', 'exit 0']));
    });

    test('ends by a listener that throws, if nobody catches it', async () => {
      const child = start(runtime, `${BEGIN}
        election.on('elected', () => {
          throw new Error('of mine');
        });
        election.start();`);
      const { code, errors } = await outcome(child);
      assert.equal(code, 1);
      // Deno does not say what was thrown to its addons: an uncaughtException listener has to.
      assert.match(errors, name === 'Deno' ? /^error: Uncaught null$/m : /of mine/);
    });

    test('refuses what cannot be with the code and the words', async () => {
      const child = start(runtime, `${BEGIN}
        try {
          etcdLeader({ endpoints: url, api: 'v4' }, key, 'host-1');
        } catch (error) {
          say(error.name, error.code, error.message);
        }
        etcdLeader({ hosts: [], get() {} }, key, 'host-1').on('error', (error) => say(error.name, error.code)).start();`);
      assert.deepEqual(await outcome(child), well([
        'TypeError EL_INVALID etcd.api is "v4"; give "v3" (the default) or "v2"',
        'EtcdError EL_INVALID',
        'exit 0',
      ]));
    });
  });
}

test('what Deno has to allow', async () => {
  const { command } = RUNTIMES.Deno;
  assert.deepEqual(await outcome(start({ command, args: LEAST }, BEGIN + SMOKE)), well(SMOKE_SAYS));
  for (const left of LEAST.filter((arg) => arg.startsWith('--allow-'))) {
    const { code, errors } = await outcome(start({ command, args: LEAST.filter((arg) => arg !== left) }, BEGIN + SMOKE));
    assert.equal(code, 1, left);
    assert.match(errors, new RegExp(`run again with the ${left} flag`));
  }
});
