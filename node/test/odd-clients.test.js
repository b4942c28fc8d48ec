'use strict';

// What people give by mistake. With a client of node-etcd nothing throws, as it never did: the mistake comes as `error`
// after the start. Of URLs and objects it is thrown at once.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { describe, it } = require('node:test');
const vm = require('node:vm');
const { PLANTED, checkSilence, debugLines } = require('./support/secrets');
const etcdLeader = require('..');
const { program } = require('./support/child');
const { ALL } = require('./support/clients');
const { freePorts } = require('./support/etcd');
const { PATIENCE_MS, heard } = require('./support/wait');

const [FOUR, , FIVE, , , SEVEN] = ALL.map(({ Etcd }) => Etcd);
const KEY_PEM = `-----BEGIN PRIVATE KEY-----\n${PLANTED}\n-----END PRIVATE KEY-----\n`;
const CERT_PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
const USER = `root:${PLANTED}`;
const URL_1 = 'http://127.0.0.1:1';
const TLS_1 = 'https://127.0.0.1:1';

/** The core's names for fields, outside of what is quoted: ca_file, ttl_s. */
const CORES_NAMES = /^(?:[^"]|"(?:[^"\\]|\\.)*")*?\b[a-z]+_[a-z]/;

/** It names what it should and nothing that it should not. */
function checkMessage(error, words) {
  assert.equal(error.code, 'EL_INVALID');
  for (const word of words) assert.ok(error.message.includes(word), `no ${JSON.stringify(word)} in: ${error.message}`);
  assert.doesNotMatch(error.message, CORES_NAMES);
  assert.doesNotMatch(error.message, /is undefined|\[object/);
  // Two fields of the core may be one here.
  assert.doesNotMatch(error.message, /(the client's \w+) (or|\(or) \1/);
  checkSilence(error);
}

/** Starts what cannot be started, and gives what it hears: once, later, when it runs no more. */
async function mistaken(t, etcd, ttlOrOptions, key = '/jobs') {
  const election = etcdLeader(etcd, key, 'me', ttlOrOptions);
  t.after(() => election.stop());
  const errors = [];
  const others = [];
  let isLater = false;
  election.on('error', (error) => errors.push({ error, isLater, isRunning: election.isRunning() }));
  for (const event of ['elected', 'unelected', 'leader', 'leaderless', 'retrying']) election.on(event, () => others.push(event));
  assert.equal(election.start(), election);
  assert.equal(election.start(), election);
  assert.deepEqual([election.isRunning(), election.isLeader(), errors.length], [true, false, 0]);
  isLater = true;
  await assert.rejects(election.stopped(), (error) => error === errors[0]?.error);
  // Whatever else there was to hear has been heard by then.
  await new Promise(setImmediate);
  assert.equal(errors.length, 1);
  assert.deepEqual(others, []);
  const [{ error }] = errors;
  assert.ok(error instanceof etcdLeader.EtcdError && errors[0].isLater && !errors[0].isRunning);
  checkSilence(election);
  assert.equal(election.stop(), election);
  return error;
}

/** A client as somebody's tests have it. */
const mock = (members) => ({ get() {}, set() {}, ...members });

const CLIENTS = {
  'nothing at all': [{}, ['etcd has no hosts', 'give a client of node-etcd 4.0.2 to 7', 'http://127.0.0.1:2379', '{ endpoints']],
  'a number': [4001, ['etcd has no hosts', 'a URL']],
  'true': [true, ['etcd has no hosts']],
  'a function': [() => 'http://h:1', ['etcd has no hosts']],
  'a symbol': [Symbol('etcd'), ['etcd has no hosts']],
  'a date': [new Date(), ['etcd has no hosts']],
  'a promise of one': [Promise.resolve(URL_1), ['etcd has no hosts']],
  'the class itself': [SEVEN, ['etcd has no hosts']],
  'functions only': [mock(), ['etcd has no hosts', 'no client of node-etcd']],
  'functions and endpoints': [mock({ endpoints: URL_1 }), ['etcd has no hosts', '{ endpoints']],
  'hosts that are a text': [mock({ hosts: URL_1 }), ['etcd has no hosts']],
  'no hosts (4)': [new FOUR([]), ['etcd has no hosts']],
  'hosts without a scheme on a mock': [mock({ hosts: ['127.0.0.1:4001'] }), ['etcd.hosts[0]', 'no scheme', 'http://host:port']],
  'a host without a scheme on 7, put there later': [Object.assign(new SEVEN(), { hosts: [`${USER}@h:1`] }), ['etcd.hosts[0]', 'no scheme']],
  'a host that has http in its name (7)': [new SEVEN('myhttp:2379'), ['etcd.hosts[0]', 'no scheme', 'http://host:port']],
  'an empty host (4)': [new FOUR(['']), ['etcd.hosts[0]', 'host:port']],
  'an empty host (5)': [new FIVE(''), ['etcd.hosts[0]', 'http://host:port']],
  'an empty host (7)': [new SEVEN(''), ['etcd.hosts[0]', 'http://host:port']],
  'https:// as a host of 4': [new FOUR(`https://${USER}@h`, 4001), ['a host that has a scheme', 'new Etcd(["host:2379"], { ca })']],
  'http:// as a host of 4': [new FOUR([URL_1]), ['a host that has a scheme', 'without one']],
  'several hosts in one': [new FIVE('http://h:1,http://h:2'), ['etcd.hosts[0]', 'host:port']],
  'a path in a host': [new FIVE('http://h:1/etcd'), ['etcd.hosts[0] "http://h:1/etcd"', 'after the port']],
  'a question in a host': [new FOUR(['h:1?x']), ['etcd.hosts[0]', 'after the port']],
  'port 0': [new FOUR('h', 0), ['etcd.hosts[0] "http://h:0"', 'from 1 to 65535']],
  'a port that is none': [new FOUR('h', 'port'), ['etcd.hosts[0]', 'host:port']],
  'one host too many': [new FOUR(Array(65).fill('h:1')), ['etcd.hosts has 65', 'at most 64']],
  'no texts as hosts (4)': [new FOUR(['h:1', 4001]), ['etcd.hosts[1] is 4001', 'texts']],
  'objects as hosts (4)': [new FOUR([{ host: 'h', password: PLANTED }]), ['etcd.hosts[0] is an object', 'texts']],
  'options that are a number, as in 4 (5)': [new FIVE('127.0.0.1', 4001), ['4001', 'node-etcd 5 and later take options', 'new Etcd("http://host:4001")']],
  'options that are a port, as in 4 (7)': [new SEVEN('127.0.0.1', '4001'), ['take options', 'new Etcd("http://host:4001")']],
  'options that are a key (7)': [new SEVEN(TLS_1, KEY_PEM), ['take options']],
  'options that are a symbol (7)': [new SEVEN(TLS_1, Symbol('x')), ['take options']],
  'TLS options that are a number (4)': [new FOUR(['h:1'], 4001), ['4001', 'node-etcd 4 takes TLS options', 'new Etcd("host", 2379)']],
  'TLS options that are a key (4)': [new FOUR(['h:1'], KEY_PEM), ['node-etcd 4 takes TLS options']],
  'hosts with different users (4)': [new FOUR([`${USER}@h:1`, 'h:2']), ['different users', 'auth: { user, pass }']],
  'hosts with different users (7)': [new SEVEN([`http://${USER}@h:1`, `http://${USER}2@h:2`]), ['different users']],
  'a user without a password': [new SEVEN('http://root@h:1'), ['the password in etcd.hosts', 'empty']],
  'a password without a user': [new FOUR([`:${PLANTED}@h:1`]), ['the user in etcd.hosts', 'empty']],
  'a user with a colon': [new FIVE(`http://ro%3Aot:${PLANTED}@h:1`), ['the user in etcd.hosts "ro:ot"', 'colon']],
  'a password with a lonely %': [new FOUR([`root:50%${PLANTED}@h:1`]), ['etcd.hosts[0]', '%25']],
  'a password with a #': [new FOUR([`root:12#${PLANTED}@h:1`]), ['etcd.hosts[0]', 'user or password']],
  'a password with a /': [new FIVE(`http://root:12/${PLANTED}@h:1`), ['etcd.hosts[0]', 'user or password']],
  'rejectUnauthorized: false (4)': [new FOUR(['h:1'], { rejectUnauthorized: false }), ['rejectUnauthorized: false', 'no insecure mode', 'ca']],
  'rejectUnauthorized: false (7)': [new SEVEN(TLS_1, { rejectUnauthorized: false }), ['rejectUnauthorized: false', 'no insecure mode', 'ca']],
  'strictSSL: false': [new FIVE(TLS_1, { strictSSL: false }), ['strictSSL: false', 'no insecure mode']],
  'rejectUnauthorized: false, for the agent': [new SEVEN(TLS_1, { agentOptions: { rejectUnauthorized: false } }), ['rejectUnauthorized: false']],
  'a passphrase (4)': [new FOUR(['h:1'], { passphrase: PLANTED }), ['passphrase', 'openssl pkey -in key.pem -out plain.pem']],
  'a passphrase (5)': [new FIVE(TLS_1, { passphrase: PLANTED }), ['passphrase', 'openssl pkey']],
  'a pfx': [new SEVEN(TLS_1, { pfx: Buffer.from(PLANTED) }), ['pfx', 'openssl pkcs12']],
  'a bearer': [new SEVEN(URL_1, { auth: { bearer: PLANTED } }), ['auth', '{ user, pass }']],
  'auth as a text': [new SEVEN(URL_1, { auth: USER }), ['auth', '{ user, pass }']],
  'auth without a password': [new SEVEN(URL_1, { auth: { user: 'root' } }), ["the client's auth.user \"root\"", "set the client's auth.pass"]],
  'auth without a user': [new SEVEN(URL_1, { auth: { pass: PLANTED } }), ["the client's auth.pass", "set the client's auth.user"]],
  'auth with nothing in it': [new SEVEN(URL_1, { auth: {} }), ['auth', '{ user, pass }']],
  'a user that is a number': [new SEVEN(URL_1, { auth: { user: 5, pass: PLANTED } }), ['auth.user is 5', 'text']],
  'a password that is an object': [new SEVEN(URL_1, { auth: { user: 'root', pass: { PLANTED } } }), ['auth.pass', 'string']],
  'a ca without PEM (4)': [new FOUR(['h:1'], { ca: '/etc/ca.pem' }), ["the client's ca", 'PEM', 'readFileSync']],
  'a ca without PEM (7)': [new SEVEN(TLS_1, { ca: Buffer.from(PLANTED) }), ["the client's ca", 'PEM']],
  'a ca that is damaged': [new SEVEN(TLS_1, { ca: CERT_PEM.slice(0, 32) }), ["the client's ca", 'damaged']],
  'a key as the ca': [new SEVEN(TLS_1, { ca: KEY_PEM }), ["the client's ca"]],
  'a certificate without its key (4)': [new FOUR(['h:1'], { cert: CERT_PEM }), ['without its key', "set the client's key"]],
  'a key without its certificate (7)': [new SEVEN(TLS_1, { key: KEY_PEM }), ['without its certificate', "set the client's cert"]],
  'a damaged key': [new SEVEN(TLS_1, { cert: CERT_PEM, key: KEY_PEM }), ["the client's key", 'damaged', 'whole private key']],
  'a key with its passphrase': [new SEVEN(TLS_1, { cert: CERT_PEM, key: [{ pem: KEY_PEM, passphrase: PLANTED }] }), ["the client's key", 'PEM']],
  'a ca for a host without TLS': [new SEVEN(URL_1, { ca: CERT_PEM }), ["the client's ca", URL_1, 'write https://']],
  'a servername that is none': [new SEVEN(TLS_1, { servername: 'a b' }), ["the client's servername \"a b\"", 'DNS name']],
};

describe('a client that cannot be used', { timeout: PATIENCE_MS }, () => {
  for (const [what, [etcd, words]] of Object.entries(CLIENTS)) {
    it(what, async (t) => checkMessage(await mistaken(t, etcd), words));
  }

  it('good clients with other arguments that cannot be used', async (t) => {
    const client = new SEVEN(`http://${USER}@127.0.0.1:1`);
    checkMessage(await mistaken(t, client, -5), ['ttl is -5', 'whole seconds']);
    checkMessage(await mistaken(t, client, 500), ['ttl is 500', 'from 1 to 300']);
    checkMessage(await mistaken(t, client, 1e10), ['ttl is 10000000000', 'whole seconds']);
    checkMessage(await mistaken(t, client, Symbol('ttl')), ['ttl is a symbol', 'whole seconds']);
    checkMessage(await mistaken(t, client, { ttl: '5' }), ['ttl is "5"', 'whole seconds']);
    checkMessage(await mistaken(t, client, { renew: 5 }), ['options has the member "renew"', 'renewMs']);
    checkMessage(await mistaken(t, client, { signal: true }), ['signal is true', 'AbortSignal']);
    checkMessage(await mistaken(t, client, {}, '/jobs/'), ['key "/jobs/"', 'slash']);
    checkMessage(await mistaken(t, client, {}, '/a/../b'), ['key "/a/../b"', 'rename']);
  });

  it('a ttl that is no number is ten seconds, as it was', async () => {
    const [port] = await freePorts(1);
    for (const ttl of ['abc', '', 0, null, undefined, NaN, () => 5, '7s']) {
      const election = etcdLeader(new FOUR('127.0.0.1', port), '/jobs', 'me', ttl).start();
      assert.equal((await heard(election, 'retrying')).code, 'EL_UNREACHABLE');
      await election.stop().stopped();
    }
  });

  it('DEBUG=etcd-leader tells of it, and no secret', async (t) => {
    const before = debugLines.length;
    await mistaken(t, new SEVEN(`https://${USER}@h:1`, { passphrase: PLANTED }));
    assert.match(debugLines.slice(before).join(''), /Starting me in \/jobs\n.*ERROR - etcd has a passphrase/);
  });

  it('a mistake that nobody listens for ends the process, and tells no secret', async () => {
    const clients = JSON.stringify(require.resolve('./support/clients'));
    const child = program(
      `const { ALL } = require(${clients});
      const etcd = new ALL[5].Etcd('https://${USER}@127.0.0.1:1', { passphrase: '${PLANTED}', key: '${PLANTED}' });
      const election = etcdLeader(etcd, '/jobs', 'me').start();
      say('not thrown', require('util').inspect(election, { showHidden: true }));`,
      { env: { DEBUG: '*' } },
    );
    assert.equal((await child.ended).code, 1);
    assert.match(child.said().join('\n'), /^not thrown/);
    assert.match(child.errors, /EtcdError.*passphrase/);
    checkSilence(child.errors, child.said());
  });

  it('it is told in lead() too, and only there if nobody listens', async () => {
    const election = etcdLeader(new FOUR(['h:1'], 5), '/jobs', 'me');
    await assert.rejects(election.lead(() => {}), { code: 'EL_INVALID', name: 'EtcdError' });
  });

  it('a client that throws what is no error is told of as well', async () => {
    const election = etcdLeader({ get: () => {}, get hosts() { throw null; } }, '/jobs', 'me');
    const told = once(election, 'error');
    election.start();
    const [error] = await told;
    assert.deepEqual([error.code, error.message, election.isRunning()], ['EL_INTERNAL', 'null', false]);
  });

  it('it may be put right by who hears of it', async () => {
    const [port] = await freePorts(1);
    const client = new FOUR(['h:0']);
    const election = etcdLeader(client, '/jobs', 'me').start();
    election.on('error', () => {
      client.hosts = [`127.0.0.1:${port}`];
      election.start();
    });
    const retrying = await heard(election, 'retrying');
    assert.deepEqual([retrying.code, retrying.endpoint], ['EL_UNREACHABLE', `http://127.0.0.1:${port}`]);
    await election.stop().stopped();
  });
});

const object = (members) => ({ endpoints: URL_1, ...members });
const tls = (members) => ({ endpoints: TLS_1, tls: members });

/** [etcd, options, what the message says]. */
const THROWN = [
  ['127.0.0.1:port', , ['etcd "127.0.0.1:port" has the port "port"', '1 to 65535']],
  ['   ', , ['etcd "   " names no server', 'http://host:port']],
  ['ftp://h:1', , ['etcd has the scheme "ftp"', 'http://host:port', 'unix:///path']],
  ['http://h:1/v3', , ['etcd "http://h:1/v3"', 'after the port']],
  ['http://h:0', , ['etcd "http://h:0" has the port "0"', '1 to 65535']],
  ['http://h:1,http://h:2/v3', , ['etcd "http://h:2/v3"', 'after the port']],
  [`http://${USER}@h:1`, , ['etcd has a user or password in the URL', 'leave them out']],
  [new URL(`http://${USER}@h:1`), , ['etcd has a user or password in the URL']],
  [new URL('http://h:1/v3'), , ['etcd "http://h:1/v3"', 'after the port']],
  [new URL('https://h:443'), , ['etcd', 'a URL object keeps no port', '"https://h:443"', '"https://h:2379"']],
  [[], , ['etcd is empty', 'at least one']],
  [['http://h:1', 'h:2/v3'], , ['etcd[1] "h:2/v3"', 'after the port']],
  [['http://h:1', 4001], , ['etcd[1] is 4001', 'http://127.0.0.1:2379']],
  [['http://h:1', { password: PLANTED }], , ['etcd[1] is an object', 'a URL']],
  [Array(65).fill(URL_1), , ['etcd has 65 entries', 'at most 64']],
  [{ endpoint: URL_1 }, , ['etcd has the member "endpoint"', 'endpoints, api, username, password, tls']],
  [{ hosts: URL_1, credentials: { rootCertificate: KEY_PEM } }, , ['etcd has the member "hosts"', 'endpoints']],
  [{ api: 'v3' }, , ['etcd.endpoints is missing', 'a URL']],
  [object({ endpoints: 'h:0' }), , ['etcd.endpoints "h:0" has the port "0"']],
  [object({ endpoints: ['http://h:1', 'h:0'] }), , ['etcd.endpoints[1] "h:0" has the port "0"']],
  [object({ endpoints: [] }), , ['etcd.endpoints is empty', 'at least one']],
  [object({ endpoints: `${USER}@h:1` }), , ['etcd.endpoints has a user or password']],
  [object({ api: 'v1' }), , ['etcd.api is "v1"', '"v3" (the default) or "v2"']],
  [object({ api: 3 }), , ['etcd.api is 3', '"v2"']],
  [object({ username: 'root' }), , ['etcd.username "root" has no password', 'set etcd.password']],
  [object({ password: PLANTED }), , ['etcd.password', 'set etcd.username']],
  [object({ username: 'root', password: '' }), , ['etcd.password is empty']],
  [object({ username: '', password: PLANTED }), , ['etcd.username is empty']],
  [object({ username: 5, password: PLANTED }), , ['etcd.username is 5', 'text']],
  [object({ username: 'root', password: { PLANTED } }), , ['etcd.password', 'string']],
  [object({ username: 'root', password: PLANTED.repeat(99) }), , ['etcd.password has 1683 bytes', 'at most 1024']],
  [object({ username: 'a:b', password: PLANTED, api: 'v2' }), , ['etcd.username "a:b"', 'colon']],
  [object({ tls: KEY_PEM }), , ['etcd.tls', 'object']],
  [object({ tls: null }), , ['etcd.tls', 'object']],
  [object({ tls: { ca: CERT_PEM } }), , ['etcd.tls.ca is given', URL_1, 'write https://', 'leave etcd.tls.ca out']],
  [object({ tls: { caFile: 'ca.pem' } }), , ['etcd.tls.caFile is given', 'write https://']],
  [object({ tls: { servername: 'h' } }), , ['etcd.tls.servername is given', 'write https://']],
  [tls({ caCert: CERT_PEM }), , ['etcd.tls has the member "caCert"', 'ca, cert, key, caFile']],
  [tls({ rejectUnauthorized: false }), , ['etcd.tls has the member "rejectUnauthorized"']],
  [tls({ ca: '/etc/ca.pem' }), , ['etcd.tls.ca', 'PEM', 'etcd.tls.caFile']],
  [tls({ ca: 5 }), , ['etcd.tls.ca', 'PEM']],
  [tls({ ca: CERT_PEM, caFile: 'ca.pem' }), , ['etcd.tls.caFile "ca.pem"', 'etcd.tls.ca as well', 'one of them']],
  [tls({ ca: KEY_PEM }), , ['etcd.tls.ca', 'damaged']],
  [tls({ ca: KEY_PEM.replace(PLANTED, 'AAAA') }), , ['etcd.tls.ca holds a private key', 'mixed up']],
  [tls({ caFile: Buffer.from('ca.pem') }), , ['etcd.tls.caFile', 'text']],
  [tls({ caFile: '/no such/ca_file.pem' }), , ['etcd.tls.caFile "/no such/ca_file.pem"', 'No such file', 'may read']],
  [tls({ caFile: '/' }), , ['etcd.tls.caFile "/"', 'not a regular file']],
  [tls({ caFile: CERT_PEM }), , ['etcd.tls.caFile', 'PEM itself', 'give it as etcd.tls.ca']],
  [tls({ cert: CERT_PEM, keyFile: KEY_PEM }), , ['etcd.tls.keyFile', 'PEM itself', 'give it as etcd.tls.key']],
  [tls({ cert: CERT_PEM }), , ['without its key', 'set etcd.tls.keyFile or etcd.tls.key']],
  [tls({ keyFile: 'key.pem' }), , ['without its certificate', 'set etcd.tls.certFile or etcd.tls.cert']],
  [tls({ cert: CERT_PEM, key: KEY_PEM }), , ['etcd.tls.key', 'damaged']],
  [tls({ cert: CERT_PEM, key: KEY_PEM.replaceAll('PRIVATE', 'ENCRYPTED PRIVATE') }), , ['etcd.tls.key', 'encrypted', 'openssl pkey -in FILE']],
  [tls({ servername: 'a b' }), , ['etcd.tls.servername "a b"', 'DNS name']],
  [URL_1, -5, ['ttl is -5', 'whole seconds']],
  [URL_1, 301, ['ttl is 301', 'from 1 to 300']],
  [URL_1, 1e10, ['ttl is 10000000000', 'too large']],
  [URL_1, Symbol('ttl'), ['ttl is a symbol', 'whole seconds']],
  [URL_1, { ttl: 2.5 }, ['ttl is 2.5', 'whole seconds']],
  [URL_1, { renewMs: '500' }, ['renewMs is "500"', 'whole milliseconds']],
  [URL_1, { renewMs: null }, ['renewMs is null', 'whole milliseconds']],
  [URL_1, { renewMs: 2 ** 40 }, ['renewMs is 1099511627776', 'too large']],
  [URL_1, { ttl: 300, renewMs: 100_001 }, ['renewMs is 100001', 'at most 100000']],
  [URL_1, { ttl: 1, renewMs: 990 }, ['renewMs 990 and stepDownMs 200', 'ttl', 'lower']],
  [URL_1, { requestTimeoutMs: 19 }, ['requestTimeoutMs is 19', 'at least 20']],
  [URL_1, { requestTimeoutMs: 9000 }, ['requestTimeoutMs is 9000', 'renewMs 5000', 'at most 1500', 'raise ttl']],
  [URL_1, { stopTimeoutMs: 3_600_001 }, ['stopTimeoutMs is 3600001', 'at most 3600000']],
  [URL_1, { stopTimeoutMs: -1 }, ['stopTimeoutMs is -1', 'whole milliseconds']],
  [URL_1, { onStoreReset: 'panic' }, ['onStoreReset is "panic"', '"continue" or "stop"']],
  [URL_1, { timeout: 5 }, ['options has the member "timeout"', 'ttl, renewMs, stepDownMs, requestTimeoutMs, stopTimeoutMs, onStoreReset, signal']],
  [URL_1, [5], ['options', 'array']],
  [URL_1, { signal: new AbortController() }, ['signal is an object', 'AbortSignal']],
];

describe('a URL or an object that cannot be used is refused at once', () => {
  for (const [etcd, options, words] of THROWN) {
    it(words.join(' ... '), () => {
      for (const make of [() => etcdLeader(etcd, '/jobs', 'me', options), () => new etcdLeader(etcd, '/jobs', 'me', options)]) {
        assert.throws(make, (error) => {
          assert.ok(error instanceof TypeError && error.name === 'TypeError');
          checkMessage(error, words);
          return true;
        });
      }
    });
  }

  it('keys and names', () => {
    for (const [key, name, words] of [
      ['/jobs/', 'me', ['key "/jobs/"', 'leave the slash out']],
      ['/a//b', 'me', ['key "/a//b"', 'double slash']],
      ['/a\0b', 'me', ['key "/a\\0b"', 'NUL']],
      ['k'.repeat(1025), 'me', ['key', '1025 bytes', 'at most 1024']],
      ['/jobs', 'm\0e', ['name "m\\0e"', 'NUL']],
      ['/jobs', 'é'.repeat(513), ['name', '1026 bytes', 'at most 1024']],
    ]) {
      assert.throws(() => etcdLeader(URL_1, key, name), (error) => checkMessage(error, words) ?? true);
    }
  });

  it('what was always required', () => {
    for (const nothing of [undefined, null, '', 0, false]) {
      assert.throws(() => etcdLeader(nothing, '/jobs', 'me'), { name: 'TypeError', message: 'etcd is required' });
    }
    for (const etcd of [URL_1, new FOUR(), {}]) {
      for (const nothing of [undefined, null, '', '   ', '\t\n', 0]) {
        assert.throws(() => etcdLeader(etcd, nothing, 'me'), { name: 'TypeError', message: 'node key not specified' });
        assert.throws(() => etcdLeader(etcd, '/jobs', nothing), { name: 'TypeError', message: 'node name not specified' });
      }
    }
  });

  it('a field keeps its name where the core or a user has a word that looks like it', () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'etcd-leader-odd-'));
    try {
      const file = path.join(folder, 'ca_file.password');
      fs.writeFileSync(file, Buffer.from([0x30, 0x82, 0x01, 0x00, 0x30, 0x81]));
      const command = new RegExp(`openssl x509 -inform der -in ${file} -out cert.pem`);
      assert.throws(() => etcdLeader(tls({ caFile: file }), '/jobs', 'me'), { message: command });
      assert.throws(() => etcdLeader(URL_1, '/ttl_s "renew_ms/', 'me'), { message: /key "\/ttl_s \\"renew_ms\/" ends/ });
      const host = object({ endpoints: 'http://password:1', tls: { ca: CERT_PEM } });
      assert.throws(() => etcdLeader(host, '/jobs', 'me'), { message: /http:\/\/password:1 is not/ });
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });

  it('what comes from another realm is taken for what it is', () => {
    const alien = vm.runInNewContext(`({ endpoints: ['h:0'], tls: {} })`);
    assert.throws(() => etcdLeader(alien, '/jobs', 'me'), { message: /etcd.endpoints\[0\] "h:0" has the port/ });
    const bytes = vm.runInNewContext('Uint8Array.from([45, 45])');
    assert.throws(() => etcdLeader(tls({ ca: bytes }), '/jobs', 'me'), { message: /etcd.tls.ca .*PEM/ });
    const pem = vm.runInNewContext(`new Uint8Array(${JSON.stringify([...Buffer.from(CERT_PEM)])})`);
    assert.throws(() => etcdLeader(tls({ cert: pem }), '/jobs', 'me'), { message: /without its key/ });
    etcdLeader(Object.assign(Object.create(null), { endpoints: URL_1 }), '/jobs', 'me');
    // The package config gives its objects functions that nobody sees.
    const configured = Object.defineProperty({ endpoints: 'h:0' }, 'get', { value: () => {} });
    assert.throws(() => etcdLeader(configured, '/jobs', 'me'), { message: /etcd.endpoints "h:0" has the port/ });
  });

  it('a ttl that is no number of whole seconds, but with a client of the original', () => {
    for (const [ttl, words] of [[2.9, '2.9'], [0.5, '0.5'], [1e21, '1e+21'], [NaN, 'NaN'], ['abc', '"abc"'], ['60 000', '"60 000"'], [true, 'true'], [() => {}, 'a function']]) {
      assert.throws(() => etcdLeader(URL_1, '/jobs', 'me', ttl), (error) => checkMessage(error, [`ttl is ${words}`, 'whole seconds']) ?? true);
      etcdLeader(new FOUR(), '/jobs', 'me', ttl);
    }
  });

  it('what is good is not', () => {
    const objects = [{ api: 'v2' }, { tls: {} }, { username: null, tls: undefined }].map(object);
    const numbers = { ttl: 0, renewMs: undefined, stopTimeoutMs: 0 };
    for (const etcd of [URL_1, new URL(URL_1), [URL_1, new URL('http://[::1]:2')], tls({}), ...objects]) {
      for (const options of [undefined, 5, '5', { ttl: 300 }, numbers, { signal: AbortSignal.abort() }, { onStoreReset: 'stop' }]) {
        const election = etcdLeader(etcd, '/jobs', 'me', options);
        assert.ok(election instanceof etcdLeader && !election.isRunning());
      }
    }
  });
});
