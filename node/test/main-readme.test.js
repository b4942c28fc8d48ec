'use strict';

// The JavaScript in the README of the whole runs as it stands there.

const assert = require('node:assert/strict');
const { it, before, after } = require('node:test');
const fs = require('node:fs');
const path = require('node:path');
const { Child } = require('./support/child');
const { Cluster } = require('./support/etcd');
const { NODE, installed, outcome } = require('./support/package');

const README = fs.readFileSync(path.join(NODE, '../README.md'), 'utf8');
const [INTRODUCTION, QUICK_START, LEAD, ...others] = README.split('```js\n').slice(1).map((rest) => rest.split('```')[0]);

let cluster;
let folder;
before(async () => {
  [cluster, folder] = await Promise.all([Cluster.start(), installed()]);
});
after(() => cluster?.end());

function start(name, text) {
  assert.ok(text.includes('http://127.0.0.1:2379'));
  const file = path.join(folder, name);
  fs.writeFileSync(file, text.replace('http://127.0.0.1:2379', cluster.url));
  return new Child(process.execPath, [file], { cwd: folder });
}

it('has three programs in JavaScript', () => assert.deepEqual(others, []));

it('the one at the start', async () => {
  const child = start('introduction.mjs', `import etcdLeader from 'etcd-leader';\n${INTRODUCTION}console.log('led');\n`);
  assert.deepEqual(await outcome(child), { code: 0, signal: null, said: ['led'], errors: '' });
});

it('the quick start', async () => {
  const child = start('quick.cjs', QUICK_START);
  await child.says(/^leading, token \d+$/);
  child.kill('SIGINT');
  const { code, said, errors } = await outcome(child);
  assert.deepEqual([code, said[1], errors], [0, 'not leading any more: the election was asked to stop', '']);
});

it('the one with lead()', async () => {
  const { code, said, errors } = await outcome(start('lead.cjs', LEAD));
  assert.deepEqual([code, errors], [0, '']);
  assert.match(said[0], /^\d+$/);
});
