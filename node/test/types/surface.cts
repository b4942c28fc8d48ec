// All that index.d.ts declares, used as it says: compiled by types.test.js with several settings, and run on an etcd.
import assert = require('node:assert/strict');
import events = require('node:events');
import fs = require('node:fs');
import etcdLeader = require('etcd-leader');

const [url, httpsUrl, caFile, certFile, keyFile] = process.argv.slice(2) as [string, string, string, string, string];
const controller = new AbortController();

/** Every option; each may be undefined, as members of an environment are. */
const options: etcdLeader.Options = {
  ttl: 10,
  renewMs: 4000,
  stepDownMs: 2000,
  requestTimeoutMs: 1500,
  stopTimeoutMs: 5000,
  onStoreReset: 'continue',
  signal: controller.signal,
};
const none: etcdLeader.Options = {
  ttl: undefined,
  renewMs: undefined,
  stepDownMs: undefined,
  requestTimeoutMs: undefined,
  stopTimeoutMs: undefined,
  onStoreReset: undefined,
  signal: undefined,
};

const inFiles: etcdLeader.Tls = { caFile, certFile, keyFile, servername: 'localhost' };
const [ca, cert, key]: Buffer[] = [caFile, certFile, keyFile].map((file) => fs.readFileSync(file));
const inPlace: etcdLeader.Tls = { ca: [ca!, ca!.toString()], cert: cert!, key: key!.toString() };
const unsaid: etcdLeader.Tls = {
  ca: undefined,
  caFile: undefined,
  cert: undefined,
  certFile: undefined,
  key: undefined,
  keyFile: undefined,
  servername: undefined,
};
const plain: etcdLeader.Connection = {
  endpoints: url,
  api: undefined,
  username: undefined,
  password: process.env['NO_PASSWORD_IS_SET'],
  tls: unsaid,
};
const client: etcdLeader.NodeEtcdClient = { hosts: [url], get: () => undefined };
const places: etcdLeader.Etcd[] = [
  url,
  new URL(url),
  [url, new URL(url)],
  { endpoints: [new URL(httpsUrl)], api: 'v2', tls: inFiles },
  { endpoints: httpsUrl, api: 'v3', tls: inPlace },
  plain,
  client,
];
const withUser: etcdLeader.Connection = { endpoints: url, username: 'host-1', password: 'a password' };
const pem: etcdLeader.Pem = inPlace.ca!;

/** A function for any event, and one for any code. */
function listen<E extends keyof etcdLeader.Events>(
  election: etcdLeader.Election,
  event: E,
  listener: (...args: etcdLeader.Events[E]) => void,
): void {
  election.on(event, listener).off(event, listener);
}

function isLoss(code: etcdLeader.ErrorCode): boolean {
  switch (code) {
    case 'EL_DEADLINE':
    case 'EL_KEY_LOST':
    case 'EL_LEASE_LOST':
      return true;
    default:
      return false;
  }
}

/** This program is run several times at once: each has keys of its own. */
const root = `/types/${process.pid}`;

async function everyPlace(): Promise<void> {
  for (const [at, etcd] of places.entries()) {
    const args: etcdLeader.Arguments = [etcd, `${root}/place/${at}`, 'host-1', '10'];
    const election = etcdLeader(...args).start();
    await events.once(election, 'elected');
    assert.equal(election.stop().isRunning(), false);
    assert.deepEqual(await election.stopped(), { released: true });
  }
}

async function listeners(): Promise<void> {
  const election: etcdLeader.Election = new etcdLeader(url, `${root}/listeners`, 'host-1', options);
  const heard: string[] = [];
  const onElected = (token: number): void => void heard.push(`on ${token === election.token()}`);
  election
    .on('elected', onElected)
    .once('elected', (token) => heard.push(`once ${token > 0}`))
    .prependListener('elected', (token: number) => heard.push(`first ${Number.isInteger(token)}`))
    .prependOnceListener('elected', async (token) => heard.push(`prepended ${token.toFixed() !== ''}`))
    .addListener('unelected', (reason) => heard.push(`${reason.code} ${isLoss(reason.code)} ${reason.endpoint}`))
    .on('leader', (name: string) => heard.push(name))
    .on('leaderless', () => heard.push('leaderless'))
    .on('retrying', (error: etcdLeader.EtcdError) => heard.push(error.message))
    .on('error', (error) => heard.push(error.name))
    .on('an event of your own', (one, other) => heard.push(`${one} ${other}`))
    .off('leader', () => {})
    .removeListener('leaderless', () => {});
  listen(election, 'elected', (token) => token.toFixed());
  const emitter: events.EventEmitter = election;
  emitter.emit('an event of your own', 1, 2);
  election.start().unref().ref();
  const [token]: number[] = await events.once(election, 'elected');
  assert.equal(election.token(), token);
  assert.equal(election.isLeader() && election.isRunning(), true);
  assert.ok(election.timeLeft() > 0);
  const leader: string | undefined = election.currentLeader();
  assert.equal(leader, 'host-1');
  controller.abort();
  const { released }: etcdLeader.Stopped = await election.stopped();
  assert.equal(released, true);
  assert.deepEqual(heard, ['1 2', 'prepended true', 'first true', 'on true', 'once true', 'EL_STOPPED false undefined']);
}

async function leading(): Promise<void> {
  const election = etcdLeader(url, `${root}/leading`, 'host-1', none);
  const work = async ({ token, signal }: etcdLeader.Term): Promise<string> => `${token > 0} ${signal.aborted}`;
  const said: string = await election.lead(work, { signal: undefined });
  assert.equal(said, 'true false');
  const number: number = await election.lead(() => 1, { signal: new AbortController().signal });
  assert.equal(number, 1);
  const nothing: void = await election.lead(() => {});
  assert.equal(nothing, undefined);
  if (Symbol.asyncDispose) await election[Symbol.asyncDispose]();
}

function errors(): void {
  const error: etcdLeader.EtcdError = new etcdLeader.EtcdError('EL_DENIED', 'no', url);
  assert.ok(error instanceof etcdLeader.EtcdError && error instanceof Error);
  assert.deepEqual([error.name, error.code, error.message, error.endpoint], ['EtcdError', 'EL_DENIED', 'no', url]);
  const some: unknown = etcdLeader(withUser, `${root}/errors`, 'host-1', 10);
  assert.ok(some instanceof etcdLeader);
  assert.equal(some.isRunning(), false);
  assert.equal(pem.length, 2);
}

async function main(): Promise<void> {
  errors();
  await Promise.all([everyPlace(), listeners(), leading()]);
  console.log('all was so');
}

void main();
