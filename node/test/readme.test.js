'use strict';

// The programs in the package's README run as they stand there, and its way to install leads to a package.

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { fileName } = require('../lib/target');
const { Cluster } = require('./support/etcd');
const { Child } = require('./support/child');
const { NODE, envWithCargo, installed, link, npmEnv, outcome, pack, run, temporaryFolder } = require('./support/package');

const README = fs.readFileSync(path.join(NODE, 'README.md'), 'utf8');
const blocks = (language) => [...README.matchAll(/^```(\w*)\n(.*?)^```$/gms)].filter(([, of]) => of === language).map(([, , text]) => text);
const [OF_2015, CAMPAIGN, LEAD] = blocks('js');
const [INSTALL] = blocks('sh');
const NO_DEASYNC = path.join(__dirname, 'support/no-deasync.js');

it('has three programs and one way to install, and no other blocks', () => {
  assert.equal(README.match(/^```/gm).length, 2 * 4);
  assert.deepEqual([blocks('js').length, blocks('sh').length], [3, 1]);
});

it('leads to nothing that the package does not hold', async () => {
  const { files } = await pack(temporaryFolder());
  const links = [...README.matchAll(/\]\(([^)\s]+)/g)].map(([, link]) => link).filter((link) => !/^https?:/.test(link));
  assert.ok(links.includes('index.d.ts'));
  assert.deepEqual(links.filter((link) => !files.includes(link)), []);
});

describe('the programs', () => {
  let cluster;
  let folder;
  const children = [];
  before(async () => {
    [cluster, folder] = await Promise.all([Cluster.start(), installed()]);
    link(folder, { 'node-etcd': 'node-etcd-7.0.0' });
  });
  after(() => {
    children.forEach((child) => child.kill());
    cluster?.end();
  });

  /** Runs one on our etcd; nothing else in it is changed. */
  function start(name, text) {
    const parts = text.split('http://127.0.0.1:2379');
    assert.equal(parts.length, 2, 'one URL to put ours in the place of');
    const file = path.join(folder, `${name}.${text.startsWith('import ') ? 'mjs' : 'cjs'}`);
    fs.writeFileSync(file, parts.join(cluster.url));
    // What node-etcd needs is deprecated in Node.js.
    const child = new Child(process.execPath, ['--no-deprecation', '-r', NO_DEASYNC, file], { cwd: folder });
    children.push(child);
    return child;
  }

  const well = (...said) => ({ code: 0, signal: null, said, errors: '' });

  it('with a client of node-etcd: two of them, one after the other', async () => {
    const [one, other] = [start('one', OF_2015), start('other', OF_2015)];
    const isFirst = await Promise.race([one.says('I am the MASTER.').then(() => true), other.says('I am the MASTER.').then(() => false)]);
    const [first, second] = isFirst ? [one, other] : [other, one];
    await second.says('Leader is now foo');
    assert.equal((await cluster.entries('/master', 'v2')).length, 2);
    first.kill('SIGINT');
    assert.deepEqual(await outcome(first), well('I am the MASTER.', 'I am no longer the MASTER.'));
    await second.says('I am the MASTER.');
    second.kill('SIGINT');
    assert.deepEqual(await outcome(second), well('Leader is now foo', 'I am the MASTER.', 'I am no longer the MASTER.'));
    assert.deepEqual(await cluster.entries('/master', 'v2'), []);
  });

  it('with a URL', async () => {
    const child = start('campaign', CAMPAIGN);
    const { line } = await child.says(/^leading, token \d+$/);
    child.kill('SIGINT');
    assert.deepEqual(await outcome(child), well(line, 'not leading any more (EL_STOPPED): the election was asked to stop'));
  });

  it('with lead()', async () => {
    assert.deepEqual(await outcome(start('lead', LEAD)), well('wrote 3 rows with no other leader beside'));
  });
});

it('the way to install leads to a package in the program', async () => {
  const home = temporaryFolder();
  const clone = path.join(home, 'etcd-leader');
  // In the place of what git brings, the files of this folder; in the place of cargo, something that copies what is built.
  fs.mkdirSync(path.join(clone, 'node'), { recursive: true });
  fs.copyFileSync(path.join(NODE, '../LICENSE'), path.join(clone, 'LICENSE'));
  for (const name of ['package.json', '.npmrc', 'build.js', 'index.js', 'index.d.ts', 'lib', 'README.md', 'THIRD-PARTY.txt']) {
    fs.cpSync(path.join(NODE, name), path.join(clone, 'node', name), { recursive: true });
  }
  const release = path.join(clone, 'target/release');
  const env = envWithCargo(clone, `mkdir -p '${release}'`, `cp '${path.join(NODE, fileName())}' '${release}/libetcd_leader_node.so'`);
  fs.mkdirSync(path.join(home, 'your-program'));
  fs.writeFileSync(path.join(home, 'your-program/package.json'), '{}\n');
  const [first, ...lines] = INSTALL.trim().split('\n');
  assert.match(first, /^git clone <.+> etcd-leader$/);
  const { stderr } = await run('sh', ['-e', '-c', lines.join('\n')], { cwd: home, env: npmEnv(home, env) });
  // Such as npm 11's on scripts that a package out of a file might run.
  assert.doesNotMatch(stderr, /npm warn/i);
  const code = "console.log(require('etcd-leader').name, require('etcd-leader/package.json').version)";
  const { stdout } = await run(process.execPath, ['-e', code], { cwd: path.join(home, 'your-program'), env });
  assert.equal(stdout, `etcdLeader ${require('../package.json').version}\n`);
});
