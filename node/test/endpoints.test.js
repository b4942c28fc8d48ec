'use strict';

// Endpoints as etcdctl takes them: a list in one string, a socket, a domain that lists the servers.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { describe, it, before, after } = require('node:test');
const { Cluster } = require('./support/etcd');
const { Fleet } = require('./support/fleet');
const { heard } = require('./support/wait');

describe('endpoints', { concurrency: true }, () => {
  let cluster;
  let server;
  before(async () => {
    cluster = await Cluster.start();
    server = cluster.urls[0].slice('http://'.length);
  });
  after(() => cluster.end());

  it('are a list in one string, with spaces, without a scheme, with a comma at the end', async (t) => {
    await heard(new Fleet(t).candidate(` ${server} , `, '/list', 'one', 10).start(), 'elected');
  });

  it('lead to a socket', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'el-'));
    const [host, port] = server.split(':');
    const passes = net.createServer((from) => {
      const to = net.connect(Number(port), host);
      for (const end of [from, to]) end.on('error', () => [from, to].forEach((one) => one.destroy()));
      from.pipe(to).pipe(from);
    });
    await new Promise((listens) => passes.listen(path.join(folder, 'etcd'), listens));
    t.after(() => {
      passes.close();
      fs.rmSync(folder, { recursive: true });
    });
    await heard(new Fleet(t).candidate(`unix://${folder}/etcd`, '/socket', 'one', 10).start(), 'elected');
  });

  it('name a domain, which is looked up', async (t) => {
    const trouble = await heard(new Fleet(t).candidate('srv://nowhere.invalid', '/domain', 'one', 10).start(), 'retrying');
    assert.match(trouble.message, /nowhere\.invalid/);
  });
});
