'use strict';

// Clients of node-etcd, as people have them since 2015, against a real etcd with API v2.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');
const { PLANTED, checkSilence, hide, untrusted } = require('./support/secrets');
const { ALL, namesSeenBy } = require('./support/clients');
const { Cluster, freePorts } = require('./support/etcd');
const { Fleet } = require('./support/fleet');
const { Ca } = require('./support/pki');
const { heard } = require('./support/wait');

/** With what a URL must not hold as it is. */
const PASSWORD = `${PLANTED}: 50%/@+`;
const USER = `worker:${encodeURIComponent(PASSWORD)}@`;

/** A request has five seconds then: etcd's API v2 takes its time for each password. */
const TTL_S = 60;

const withUser = (url) => url.replace('://', `://${USER}`);

/** Leads with this client, which finds the name itself where it should be; then the place is given up. */
async function leads(t, client, key) {
  const election = new Fleet(t).candidate(client, key, 'me', TTL_S).start();
  await heard(election, 'elected');
  assert.deepEqual(await namesSeenBy(client, key), ['me']);
  assert.deepEqual(await election.stop().stopped(), { released: true });
  assert.deepEqual(await namesSeenBy(client, key), []);
  checkSilence(election);
}

describe('clients of node-etcd', () => {
  let cluster;
  let other;
  before(async () => {
    [cluster, other] = await Promise.all([Cluster.start(), Cluster.start()]);
  });
  after(() => {
    cluster?.end();
    other?.end();
  });

  ALL.forEach((version, at) => {
    const next = ALL[(at + 1) % ALL.length];
    it(`${version.version} leads under its name, and hands over to ${next.version}`, async (t) => {
      const key = `/handed-over/${version.version}`;
      const clients = [version.client(cluster.url), next.client(cluster.url)];
      const fleet = new Fleet(t);
      const one = fleet.candidate(clients[0], key, 'one').start();
      const token = await heard(one, 'elected');
      assert.deepEqual(await cluster.entries(key, 'v2'), ['one']);
      const two = fleet.candidate(clients[1], key, 'two').start();
      assert.equal(await heard(two, 'leader'), 'one');
      assert.deepEqual([two.isLeader(), two.currentLeader(), one.isLeader(), one.token()], [false, 'one', true, token]);
      for (const client of clients) assert.deepEqual(await namesSeenBy(client, key), ['one', 'two']);

      const elected = heard(two, 'elected');
      one.stop();
      assert.ok((await elected) > token);
      assert.deepEqual([one.isLeader(), two.isLeader(), two.currentLeader()], [false, true, 'two']);
      assert.deepEqual(await one.stopped(), { released: true });
      assert.deepEqual(await cluster.entries(key, 'v2'), ['two']);
      await two.stop().stopped();
      assert.deepEqual(await cluster.entries(key, 'v2'), []);
    });

    it(`${version.version} takes a host and a port, and a member that is down among those that are not`, async (t) => {
      const [, host, port] = cluster.url.match(/(127\.0\.0\.1):(\d+)/);
      await leads(t, version.isFour ? new version.Etcd(host, Number(port)) : new version.Etcd(`${host}:${port}`), `/one/${version.version}`);
      const [nobody] = await freePorts(1);
      await leads(t, version.client([`http://127.0.0.1:${nobody}`, cluster.url]), `/several/${version.version}`);
    });

    it(`${version.version} is asked for its hosts at each start`, async (t) => {
      const key = `/moved/${version.version}`;
      const client = version.client(cluster.url);
      const election = new Fleet(t).candidate(client, key, 'me').start();
      await heard(election, 'elected');
      client.hosts = [version.host(other.url)];
      assert.ok(election.isLeader());
      election.stop().start();
      await heard(election, 'elected');
      assert.deepEqual(await other.entries(key, 'v2'), ['me']);
      assert.deepEqual(await cluster.entries(key, 'v2'), []);
      await election.stop().stopped();
    });
  });

  it('one client serves many elections, of different keys and of the same', async (t) => {
    const client = ALL[0].client(cluster.url);
    const fleet = new Fleet(t);
    const one = fleet.candidate(client, '/shared/a', 'one').start();
    const other = fleet.candidate(client, '/shared/b', 'other').start();
    await Promise.all([heard(one, 'elected'), heard(other, 'elected')]);
    const next = fleet.candidate(client, '/shared/a', 'next').start();
    assert.equal(await heard(next, 'leader'), 'one');
    const elected = heard(next, 'elected');
    one.stop();
    await elected;
    assert.ok(other.isLeader());
    await Promise.all([other.stop().stopped(), next.stop().stopped()]);
  });

  it('what only looks like a client is one, if it has hosts', async (t) => {
    await leads(t, Object.create(ALL[0].client(cluster.url)), '/derived/4');
    await leads(t, new Proxy(ALL[5].client(cluster.url), {}), '/derived/7');
    const own = class extends ALL[2].Etcd {};
    await leads(t, new own([cluster.url]), '/derived/5');
  });
});

describe('clients of node-etcd with certificates on both sides', () => {
  let folder;
  let cluster;
  let pem;
  before(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'etcd-leader-clients-'));
    const ca = new Ca(folder);
    const files = { ca: ca.cert, ...ca.issue('client', 'DNS:client', 'clientAuth') };
    pem = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, fs.readFileSync(file)]));
    pem.other = fs.readFileSync(new Ca(folder, 'other').cert);
    hide(String(pem.key));
    cluster = await Cluster.start({ tls: { ...ca.issue('server'), ca: ca.cert } });
  });
  after(() => {
    cluster?.end();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  for (const version of ALL) {
    it(`${version.version} gives them as bytes, as texts and as arrays`, async (t) => {
      const { ca, cert, key, other } = pem;
      const shapes = {
        bytes: { ca, cert, key },
        texts: { ca: String(ca), cert: String(cert), key: String(key) },
        arrays: { ca: [other, String(ca)], cert: [cert], key: [String(key)] },
        // Without their last line end, which editors take away.
        cut: { ca: [String(other).trim(), String(ca).trim()], cert: String(cert).trim(), key: String(key).trim() },
      };
      if (!version.isFour) shapes.agent = { agentOptions: { ca, cert, key }, ca: undefined };
      for (const [shape, options] of Object.entries(shapes)) {
        await leads(t, version.client(cluster.httpsUrl, options), `/tls/${version.version}/${shape}`);
      }
    });

    it(`${version.version} hears what is wrong with them, and leads once it is put right`, async (t) => {
      const options = { ca: pem.other };
      const client = version.client(cluster.httpsUrl, options);
      const election = new Fleet(t).candidate(client, `/wrong/${version.version}`, 'me', 1).start();
      const trouble = await untrusted(election);
      assert.deepEqual([trouble.code, trouble.endpoint], ['EL_UNTRUSTED', cluster.httpsUrl]);
      assert.match(trouble.message, /not signed by a CA in the client's ca;/);
      assert.ok(election.isRunning());
      await election.stop().stopped();
      Object.assign(options, pem);
      await leads(t, client, `/wrong/${version.version}`);
      checkSilence(trouble);
    });
  }

  it('4 has a host and a port before them', async (t) => {
    const { ca, cert, key } = pem;
    const client = new ALL[1].Etcd('127.0.0.1', new URL(cluster.httpsUrl).port, { ca, cert, key });
    await leads(t, client, '/tls/host-and-port');
  });
});

describe('a user is who node-etcd says it is', () => {
  const PASSWORDS = ['plain', ':', '@', '/', '?#', '50%', '%41', '%2541', '+', ' ', '"', '\\'].map((part) => `a${part}b`);
  const OPTIONS = [
    { auth: { user: 'you', pass: 'b:ä%41' } },
    { auth: { username: 'you', password: 'b' } },
    { auth: { user: 'you', username: 'them', pass: 'b', password: 'c' } },
    { auth: null },
  ];
  const withPassword = (url, password) => url.replace('://', `://me:${encodeURIComponent(password)}@`);

  for (const version of ALL) {
    it(`with ${version.version}`, async (t) => {
      // Something else than etcd, which hears it. With a user, the list of members is asked for before any key.
      const server = http.createServer(({ headers, url }, response) => {
        if (url === '/v2/members') response.setHeader('X-Etcd-Cluster-Id', 'c1');
        server.emit(url.split(/[/?]/)[3], headers.authorization);
        response.end('{}');
      });
      t.after(() => {
        server.close();
        server.closeAllConnections();
      });
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
      const url = `http://127.0.0.1:${server.address().port}`;
      const clients = PASSWORDS.map((password) => version.client(withPassword(url, password)));
      const hosts = version.isFour ? [] : [url, withPassword(url, 'a')];
      clients.push(...hosts.flatMap((host) => OPTIONS.map((options) => version.client(host, options))));
      for (const [at, client] of clients.entries()) {
        const [theirs] = await Promise.all([heard(server, `theirs-${at}`), namesSeenBy(client, `/theirs-${at}`)]);
        const election = new Fleet(t).candidate(client, `/ours-${at}`, 'me').start();
        assert.equal(await heard(server, `ours-${at}`), theirs, `${client.hosts[0]} ${JSON.stringify(client.client.options)}`);
        election.stop();
      }
    });
  }
});

describe('clients of node-etcd with a user', () => {
  let guarded;
  before(async () => {
    guarded = await Cluster.start();
    const root = (...words) => guarded.etcdctl([`--username=root:${PASSWORD}`, ...words], { api: 2 });
    for (const user of ['root', 'worker']) root('user', 'add', `${user}:${PASSWORD}`);
    root('role', 'add', 'election');
    root('role', 'grant', 'election', '--readwrite', '--path', '/guarded*');
    root('user', 'grant', 'worker', '--roles', 'election');
    root('auth', 'enable');
    root('role', 'revoke', 'guest', '--readwrite', '--path', '/*');
  });
  after(() => guarded?.end());

  for (const version of ALL) {
    it(`${version.version} gives the user in the host${version.isFour ? '' : ' or as an option'}`, async (t) => {
      const key = `/guarded/${version.version}`;
      await leads(t, version.client(withUser(guarded.url)), key);
      if (version.isFour) return;
      await leads(t, version.client(guarded.url, { auth: { user: 'worker', pass: PASSWORD } }), key);
    });
  }

  for (const version of [ALL[1], ALL[5]]) {
    it(`${version.version} without one, or with a wrong password, is told so once, and may begin afresh`, async (t) => {
      const key = `/guarded/${version.version}`;
      const client = version.client(guarded.url);
      const election = new Fleet(t).candidate(client, key, 'me', TTL_S).start();
      const errors = [];
      election.on('error', (error) => errors.push([error, election.isRunning()]));
      await heard(election, 'error');
      client.hosts[0] = version.host(guarded.url.replace('://', `://worker:${PLANTED}-not@`));
      election.start();
      await heard(election, 'error');
      client.hosts[0] = version.host(withUser(guarded.url));
      election.start();
      await heard(election, 'elected');
      await election.stop().stopped();
      assert.deepEqual(errors.map(([{ code }, isRunning]) => [code, isRunning]), [['EL_DENIED', false], ['EL_DENIED', false]]);
      assert.match(errors[0][0].message, /give the username and password of a user/);
      assert.match(errors[1][0].message, /user "worker".*check the password/);
      checkSilence(election, ...errors);
    });
  }
});
