'use strict';

// Certificates and users as the object form takes them, on etcd's two APIs.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');
const { PLANTED, checkSilence, hide, untrusted } = require('./support/secrets');
const { Cluster } = require('./support/etcd');
const { Fleet, names } = require('./support/fleet');
const { Ca } = require('./support/pki');
const { heard } = require('./support/wait');

const PASSWORD = `${PLANTED}-1`;
/** Trouble is told at most once per ttl. */
const SHORT_TTL_S = 1;
/** A request has five seconds then: etcd's API v2 takes its time for each password. */
const TTL_S = 60;

let folder;
let ca;
/** Paths, and what they hold. */
let files;
let pem;
/** Asks for client certificates. */
let strict;
/** Asks for users, in both APIs. */
let guarded;

before(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'etcd-leader-secure-'));
  ca = new Ca(folder);
  const other = new Ca(folder, 'other');
  const server = ca.issue('server');
  const client = ca.issue('client', 'DNS:client', 'clientAuth');
  files = { caFile: ca.cert, certFile: client.cert, keyFile: client.key, other: other.cert };
  pem = { ca: fs.readFileSync(ca.cert), cert: fs.readFileSync(client.cert), key: fs.readFileSync(client.key), other: fs.readFileSync(other.cert) };
  hide(String(pem.key));
  [strict, guarded] = await Promise.all([
    Cluster.start({ tls: { ...server, ca: ca.cert } }),
    // Passwords are hashed at the usual cost nowhere else on so busy a machine.
    Cluster.start({ tls: server, flags: ['--bcrypt-cost=4'] }),
  ]);
  for (const api of [3, 2]) {
    for (const user of ['root', 'worker', 'nobody']) root(api, 'user', 'add', `${user}:${PASSWORD}`);
    if (api === 3) root(api, 'user', 'grant-role', 'root', 'root');
    root(api, 'auth', 'enable');
  }
  root(2, 'role', 'revoke', 'guest', '--readwrite', '--path', '/*');
});

after(() => {
  strict?.end();
  guarded?.end();
  fs.rmSync(folder, { recursive: true, force: true });
});

/** Whether users of API v3 are asked for already. */
let isOn = false;

/** Does what the manager of the cluster does. */
function root(api, ...words) {
  const flag = api === 2 ? '--username' : '--user';
  if (api === 2 || isOn) words.unshift(`${flag}=root:${PASSWORD}`);
  const said = guarded.etcdctl(words, { api });
  if (words.includes('enable')) isOn = true;
  return said;
}

/** Runs the commands at the end of a message. */
function obey(message, api) {
  const commands = message.slice(message.indexOf(': ', message.indexOf('a role that')) + 2).split(' && ');
  for (const command of commands) {
    const words = command.replace('ETCDCTL_API=2 ', '').replaceAll("'", '').split(' ');
    assert.equal(words.shift(), 'etcdctl', command);
    root(api, ...words);
  }
}

/** Puts a file in the place of another, in one step. */
function replace(file, content) {
  fs.writeFileSync(`${file}.new`, content);
  fs.renameSync(`${file}.new`, file);
}

/** Leads, is seen in etcd, and leaves. */
async function leads(t, etcd, key) {
  const election = new Fleet(t).candidate(etcd, key, 'me', TTL_S).start();
  await heard(election, 'elected');
  if (etcd.endpoints === strict.httpsUrl) assert.deepEqual(await strict.entries(key, etcd.api), ['me']);
  assert.deepEqual(await election.stop().stopped(), { released: true });
  assert.deepEqual(names(election), ['elected', 'unelected']);
  checkSilence(election);
}

it('a certificate that etcd makes itself is its own CA', async (t) => {
  const own = await Cluster.start({ tls: 'auto' });
  t.after(() => own.end());
  for (const api of ['v2', 'v3']) await leads(t, { endpoints: own.httpsUrl, api, tls: { caFile: own.autoCa } }, '/auto');
});

for (const api of ['v2', 'v3']) {
  const version = Number(api[1]);

  describe(`certificates on ${api}`, () => {
    const trusting = (tls) => ({ endpoints: strict.httpsUrl, api, tls });
    const identity = () => ({ cert: pem.cert, key: pem.key });

    it('are given as texts, as bytes, as arrays and as files', async (t) => {
      const { caFile, certFile, keyFile } = files;
      const text = (name) => String(pem[name]);
      const shapes = {
        texts: { ca: text('ca'), cert: text('cert'), key: text('key') },
        bytes: { ca: pem.ca, cert: pem.cert, key: new Uint8Array(pem.key) },
        arrays: { ca: [pem.other, text('ca').trim(), pem.ca], cert: [text('cert')], key: [pem.key] },
        files: { caFile, certFile, keyFile },
        relative: { caFile: path.relative('', caFile), certFile: path.relative('', certFile), keyFile },
        mixed: { ca: pem.ca, certFile, key: text('key'), caFile: undefined, servername: null },
        renamed: { caFile, certFile, keyFile, servername: 'localhost' },
      };
      for (const [shape, tls] of Object.entries(shapes)) await leads(t, trusting(tls), `/shapes/${shape}`);
    });

    it('a place is handed over', async (t) => {
      const fleet = new Fleet(t);
      const one = fleet.candidate(trusting({ ca: pem.ca, ...identity() }), '/over', 'one').start();
      const token = await heard(one, 'elected');
      const two = fleet.candidate(trusting({ caFile: files.caFile, certFile: files.certFile, keyFile: files.keyFile }), '/over', 'two').start();
      assert.equal(await heard(two, 'leader'), 'one');
      const elected = heard(two, 'elected');
      one.stop();
      assert.ok((await elected) > token);
    });

    it('a wrong CA is reported, and healed by replacing its file', async (t) => {
      const caFile = path.join(folder, `${api}-replaced.crt`);
      fs.copyFileSync(files.other, caFile);
      const election = new Fleet(t).candidate(trusting({ caFile, ...identity() }), '/healed', 'me', SHORT_TTL_S).start();
      const trouble = await untrusted(election);
      assert.deepEqual([trouble.code, trouble.endpoint, trouble.name], ['EL_UNTRUSTED', strict.httpsUrl, 'EtcdError']);
      assert.match(trouble.message, /not signed by a CA in/);
      assert.ok(trouble.message.includes(caFile), trouble.message);
      assert.deepEqual([election.isRunning(), election.isLeader(), election.timeLeft()], [true, false, 0]);
      replace(caFile, pem.ca);
      await heard(election, 'elected');
      assert.ok(!election.log.some(([event]) => event === 'error'));
    });

    it('a client certificate that is missing, or unknown there, is reported', async (t) => {
      const fleet = new Fleet(t);
      const stranger = new Ca(folder, `stranger-${api}`).issue(`unknown-${api}`, 'DNS:client', 'clientAuth');
      const key = hide(fs.readFileSync(stranger.key, 'utf8'));
      const troubles = [{ ca: pem.ca }, { ca: pem.ca, certFile: stranger.cert, key }].map((tls, at) =>
        untrusted(fleet.candidate(trusting(tls), '/refused', `number ${at}`, SHORT_TTL_S).start()),
      );
      const [missing, unknown] = await Promise.all(troubles);
      assert.deepEqual([missing.code, unknown.code], ['EL_UNTRUSTED', 'EL_UNTRUSTED']);
      assert.match(missing.message, /wants a client certificate/);
      assert.match(unknown.message, /does not (take|know the CA of) our client certificate/);
      assert.ok(fleet.all.every((election) => election.isRunning()));
      checkSilence(missing, unknown, ...fleet.all);
    });

    it('what is wrong is told with the names that things have here', async (t) => {
      const fleet = new Fleet(t);
      const candidate = (tls) => fleet.candidate(trusting(tls), '/names', 'me', SHORT_TTL_S).start();
      const { message: wrong } = await untrusted(candidate({ caFile: files.other, ...identity() }));
      const { message: missing } = await untrusted(candidate({ ca: pem.ca }));
      const { message: renamed } = await untrusted(candidate({ ca: pem.ca, ...identity(), servername: 'etcd-1.example' }));
      assert.ok(wrong.includes(`not signed by a CA in etcd.tls.caFile ${files.other}`), wrong);
      assert.match(missing, /give one in etcd.tls.certFile and etcd.tls.keyFile \(or etcd.tls.cert and etcd.tls.key\)/);
      assert.match(renamed, /set etcd.tls.servername to one/);
    });

    it('a server that is not who it should be is not spoken to', async (t) => {
      const election = new Fleet(t).candidate(trusting({ ca: pem.ca, ...identity(), servername: 'etcd-1.example' }), '/who', 'me', SHORT_TTL_S).start();
      const trouble = await untrusted(election);
      assert.equal(trouble.code, 'EL_UNTRUSTED');
      assert.match(trouble.message, /not for etcd-1.example: it holds 127.0.0.1, localhost/);
    });

    it('a file that has gone before the start is an error then, and the start after it is fine', async (t) => {
      const keyFile = path.join(folder, `${api}-gone.key`);
      fs.copyFileSync(files.keyFile, keyFile);
      const election = new Fleet(t).candidate(trusting({ ca: pem.ca, cert: pem.cert, keyFile }), '/gone', 'me');
      fs.rmSync(keyFile);
      const error = await heard(election.start(), 'error');
      assert.deepEqual([error.code, error.name, election.isRunning()], ['EL_INVALID', 'EtcdError', false]);
      assert.ok(error.message.startsWith(`etcd.tls.keyFile ${JSON.stringify(keyFile)} cannot be read`), error.message);
      fs.copyFileSync(files.keyFile, keyFile);
      election.start();
      await heard(election, 'elected');
      await election.stop().stopped();
      assert.deepEqual(names(election), ['error', 'elected', 'unelected']);
    });
  });

  describe(`a user on ${api}`, () => {
    const as = (username, password = PASSWORD) => ({ endpoints: guarded.httpsUrl, api, username, password, tls: { ca: pem.ca } });

    it('is let in with the role that the message tells how to make', async (t) => {
      const key = '/jobs/nightly';
      const election = new Fleet(t).candidate(as('worker'), key, 'me', TTL_S);
      const denied = await heard(election.start(), 'error');
      assert.equal(denied.code, 'EL_DENIED');
      assert.match(denied.message, /user "worker"/);
      obey(denied.message, version);
      election.start();
      await heard(election, 'elected');
      await election.stop().stopped();
      assert.deepEqual(names(election), ['error', 'elected', 'unelected']);
      await leads(t, as('worker'), key);
      checkSilence(election, denied);
    });

    it('is told once of a wrong password, and so is who gives none', async (t) => {
      const { username, password, ...without } = as('worker');
      const cases = [
        [as('worker', `${PLANTED}-2`), /user "worker".*check .*password/],
        [as('stranger'), /user "stranger".*check .*password/],
        [as('nobody'), /user "nobody" (may not )?use/],
        [without, version === 3 ? /etcd asks for a user/ : /give the username and password of a user/],
      ];
      await Promise.all(
        cases.map(async ([etcd, words]) => {
          const election = new Fleet(t).candidate(etcd, '/jobs/denied', 'me', TTL_S).start();
          const error = await heard(election, 'error');
          assert.deepEqual([error.code, election.isRunning()], ['EL_DENIED', false]);
          assert.match(error.message, words);
          await assert.rejects(election.stopped(), (reason) => reason === error);
          assert.deepEqual(names(election), ['error']);
          checkSilence(election, error);
        }),
      );
    });

    it('is told what to give with the names that things have here', async (t) => {
      const { username, password, ...without } = as('worker');
      const { message } = await heard(new Fleet(t).candidate(without, '/jobs/denied', 'me', TTL_S).start(), 'error');
      // In API v2 they are told in words.
      assert.match(message, /set etcd.username and etcd.password|give the username and password of a user/);
    });

    it('is told in lead() of what is denied', async (t) => {
      const election = new Fleet(t).candidate(as('worker', `${PLANTED}-3`), '/jobs/denied', 'me');
      await assert.rejects(election.lead(() => assert.fail('it leads')), { code: 'EL_DENIED' });
    });
  });
}
