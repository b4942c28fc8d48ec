'use strict';

// Real etcd members, gone with the test that started them.

const { spawn, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { waitFor } = require('./wait');

// etcd waits for the disk at every step.
const PARENT = fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir();
/** Above the ports of well-known services. */
const LOWEST_PORT = 10_240;
/** A listener on a port of this address holds the same port of 127.0.0.1; the system ends it with its process. */
const HELD_AT = '127.77.77.77';

/** Everything that is still to be ended and removed, should this process end before. */
const living = new Set();
process.on('exit', () => {
  for (const cluster of living) cluster.end();
});

function find(name, variable) {
  const given = process.env[variable];
  if (given) {
    if (!fs.existsSync(given)) throw new Error(`${variable} is ${given}, and there is no such file`);
    return given;
  }
  const cached = path.join(__dirname, '../../../.cache/etcd/usr/bin');
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), cached];
  const found = folders.map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
  if (!found) throw new Error(`no ${name} found: set ${variable} to one, put one on PATH, or run make etcd`);
  return found;
}

/** The ports that the system gives to nobody by itself, be it for an outgoing connection or for a listener on port 0. */
function portsOfOurOwn() {
  const [low, high] = fs.readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/).map(Number);
  const all = Array.from({ length: 65_536 - LOWEST_PORT }, (_, at) => LOWEST_PORT + at);
  const found = all.filter((port) => port < low || port > high);
  return found.length > 1000 ? found : all;
}

/** A server on this port, or none if another one is there. */
function listens(port, host) {
  const server = net.createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', (error) => (error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error)));
    server.listen({ port, host, exclusive: true }, () => resolve(server.unref()));
  });
}

const closes = (server) => new Promise((resolve) => server.close(resolve));

/**
 * Free ports of 127.0.0.1. No test here gets one of them until this process ends or calls `giveBack`.
 * Node cannot bind a port without listening on it, so that a port chosen by the system (listen on port 0, close) may
 * belong to somebody else before etcd has started, or while it is killed. These ports are outside of the range from
 * which the system chooses, and the tests keep out of each other's way by a lock: a listener on the same port of another
 * address of loopback.
 */
async function holdPorts(count) {
  const all = portsOfOurOwn();
  const numbers = [];
  const locks = [];
  for (let at = Math.floor(Math.random() * all.length); numbers.length < count; at += 1) {
    const port = all[at % all.length];
    const lock = await listens(port, HELD_AT);
    const probe = lock && (await listens(port, '127.0.0.1'));
    if (probe) {
      await closes(probe);
      numbers.push(port);
      locks.push(lock);
    } else if (lock) await closes(lock);
  }
  return { numbers, giveBack: () => locks.forEach((lock) => lock.close()) };
}

/** Free ports that are held until this process ends. */
const freePorts = async (count) => (await holdPorts(count)).numbers;

class Cluster {
  /**
   * `members` (1) healthy members with API v2 and v3. `flags` are added to the usual ones; with `tls` (see pki.js:
   * { cert, key, ca }) the first member listens for TLS too, at `httpsUrl`, and asks for client certificates if
   * `tls.ca` is there. With `tls: 'auto'` it makes its own certificate, at `autoCa`.
   */
  static async start({ members = 1, flags = [], tls = null } = {}) {
    const cluster = new Cluster(await holdPorts(2 * members + 1), members, flags, tls);
    await cluster.#comesUp();
    return cluster;
  }

  constructor(ports, members, flags, tls) {
    this.folder = fs.mkdtempSync(path.join(PARENT, `etcd-leader-test-${process.pid}-`));
    living.add(this);
    this.ports = ports;
    const { numbers } = ports;
    const https = numbers.at(-1);
    this.httpsUrl = tls ? `https://127.0.0.1:${https}` : null;
    const peers = numbers.slice(members, 2 * members);
    const all = peers.map((port, at) => `m${at}=http://127.0.0.1:${port}`).join(',');
    this.members = peers.map((peer, at) => {
      const url = `http://127.0.0.1:${numbers[at]}`;
      const listen = tls && at === 0 ? `${url},${this.httpsUrl}` : url;
      const args = [
        `--name=m${at}`,
        `--data-dir=${path.join(this.folder, `m${at}`)}`,
        `--listen-client-urls=${listen}`,
        `--advertise-client-urls=${url}`,
        `--listen-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-cluster=${all}`,
        '--enable-v2=true',
        ...(tls === 'auto' ? ['--auto-tls'] : []),
        ...(tls?.cert ? [`--cert-file=${tls.cert}`, `--key-file=${tls.key}`] : []),
        ...(tls?.ca ? ['--client-cert-auth', `--trusted-ca-file=${tls.ca}`] : []),
        ...flags,
      ];
      return { url, args, log: path.join(this.folder, `m${at}.log`), process: null };
    });
  }

  get urls() {
    return this.members.map(({ url }) => url);
  }

  /** The certificate that the first member has made itself. */
  get autoCa() {
    return path.join(this.folder, 'm0/fixtures/client/cert.pem');
  }

  /** Where the first member listens. */
  get url() {
    return this.members[0].url;
  }

  async #comesUp() {
    this.members.forEach((member) => this.#launch(member));
    for (const member of this.members) await this.#isUp(member);
  }

  async #isUp(member) {
    await waitFor(`${member.url} to be healthy`, async () => {
      if (await isHealthy(member.url)) return true;
      if (member.process.exitCode === null && member.process.signalCode === null) return undefined;
      throw new Error(`etcd ended:\n${fs.readFileSync(member.log, 'utf8').slice(-4000)}`);
    });
  }

  #launch(member) {
    const log = fs.openSync(member.log, 'a');
    // Variables that begin with ETCD are flags to etcd. It dies with us, however we end.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ETCD')));
    const args = ['--pdeathsig', 'KILL', '--', find('etcd', 'ETCD_BIN'), ...member.args];
    member.process = spawn('setpriv', args, { env, stdio: ['ignore', log, log] });
    member.process.on('error', () => {});
    fs.closeSync(log);
  }

  /** kill -9, and waits until it is dead. */
  async kill(at = 0) {
    const { process: child } = this.members[at];
    if (child.exitCode !== null || child.signalCode !== null) return;
    const dead = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await dead;
  }

  /** Starts a member that was killed, with the data it has, or with none. */
  async restart(at = 0, { isEmpty = false } = {}) {
    await this.kill(at);
    if (isEmpty) fs.rmSync(path.join(this.folder, `m${at}`), { recursive: true, force: true });
    this.#launch(this.members[at]);
    await this.#isUp(this.members[at]);
  }

  /** SIGSTOP, and the certainty that each thread stands still: until then a request that was sent before may be answered. */
  freeze(at = 0) {
    const { process: child } = this.members[at];
    child.kill('SIGSTOP');
    const tasks = `/proc/${child.pid}/task`;
    const isStill = (task) => / T [^)]*$/.test(fs.readFileSync(`${tasks}/${task}/stat`, 'utf8'));
    while (!fs.readdirSync(tasks).every(isStill));
  }

  thaw(at = 0) {
    this.members[at].process.kill('SIGCONT');
  }

  /** What etcdctl says to this; `api` is 3 or 2. Throws if it fails. */
  etcdctl(args, { api = 3 } = {}) {
    const env = { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ETCD'))), ETCDCTL_API: String(api) };
    try {
      return execFileSync(find('etcdctl', 'ETCDCTL_BIN'), ['--endpoints', this.urls.join(','), ...args], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    } catch (error) {
      // Node's message names all arguments, and so the passwords among them.
      throw new Error(`etcdctl failed: ${error.stderr ?? error.code}`);
    }
  }

  /** The names of those in an election, the leader first; of either API. */
  async entries(key, api) {
    return (await this.nodes(key, api)).map(({ name }) => name);
  }

  /** The entries of an election, { key, name }, the leader first. */
  async nodes(key, api) {
    if (api === 'v2') {
      const answer = await fetch(`${this.url}/v2/keys${key}?quorum=true`);
      const { node } = await answer.json();
      const nodes = node?.nodes ?? [];
      return nodes.sort((one, other) => one.createdIndex - other.createdIndex).map((one) => ({ key: one.key, name: one.value }));
    }
    // Not by etcdctl: the event loop, and with it each candidate's listeners, would stand still until it has ended.
    const range = { key: coded(`${key}/`), range_end: coded(`${key}0`), sort_target: 'CREATE' };
    // etcd answers this over a connection to itself, which may break when it is first used: then it says that it is unavailable.
    const { kvs = [] } = await waitFor('an answer to a read', () => this.#v3('/kv/range', range).catch((error) => {
      if (!UNAVAILABLE.test(error.message)) throw error;
    }));
    return kvs.map((one) => ({ key: decoded(one.key), name: decoded(one.value) }));
  }

  /** What the first member answers to a request of API v3. */
  async #v3(path, body) {
    const answer = await fetch(`${this.url}/v3${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
    return answer.json();
  }

  /** Deletes one entry, as an admin would. */
  async remove(key, api) {
    if (api === 'v2') await fetch(`${this.url}/v2/keys${key}`, { method: 'DELETE' });
    else await this.#v3('/kv/deleterange', { key: coded(key) });
  }

  /** Kills all members and removes what they wrote. */
  end() {
    if (!living.delete(this)) return;
    for (const { process: child } of this.members) {
      child?.kill('SIGCONT');
      child?.kill('SIGKILL');
    }
    this.ports.giveBack();
    fs.rmSync(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

/** How the JSON of API v3 writes gRPC's UNAVAILABLE. */
const UNAVAILABLE = /"code": *14\b/;

/** Bytes as the JSON of API v3 writes them. */
const coded = (text) => Buffer.from(text).toString('base64');
const decoded = (text) => Buffer.from(text, 'base64').toString();

async function isHealthy(url) {
  try {
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(1000) });
    return (await answer.json()).health === 'true' || undefined;
  } catch {
    return undefined;
  }
}

/** The etcd that the tests use. */
const etcdBinary = () => find('etcd', 'ETCD_BIN');

module.exports = { Cluster, etcdBinary, freePorts };
