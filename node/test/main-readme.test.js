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
const [PROGRAM, ...others] = README.split('```js\n').slice(1).map((rest) => rest.split('```')[0]);

let cluster;
let folder;
before(async () => {
  [cluster, folder] = await Promise.all([Cluster.start(), installed()]);
});
after(() => cluster?.end());

it('has one program in JavaScript', () => assert.deepEqual(others, []));

it('the one with lead()', async () => {
  const shown = 'http://127.0.0.1:2379';
  assert.ok(PROGRAM.includes(shown));
  const file = path.join(folder, 'program.mjs');
  fs.writeFileSync(file, `import etcdLeader from 'etcd-leader';\n${PROGRAM.replace(shown, cluster.url)}console.log('led');\n`);
  const child = new Child(process.execPath, [file], { cwd: folder });
  assert.deepEqual(await outcome(child), { code: 0, signal: null, said: ['led'], errors: '' });
});
