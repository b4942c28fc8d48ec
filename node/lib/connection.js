'use strict';

// What stands in the place of `etcd`, read as endpoints, certificates and a user. Every mistake names the field and the
// remedy; none repeats a password or a key.

const { mistake, shown } = require('./errors');

const MEMBERS = ['endpoints', 'api', 'username', 'password', 'tls'];
const TLS_MEMBERS = ['ca', 'cert', 'key', 'caFile', 'certFile', 'keyFile', 'servername'];
const DEFAULT_PORTS = { 'http:': 80, 'https:': 443 };
const ALTERNATIVES =
  'give a client of node-etcd 4.0.2 to 7, a URL such as "http://127.0.0.1:2379", several, or an object { endpoints, ... }';

/**
 * Whether `etcd` is a client, as the original took it. Those are read at start, and what is wrong with them is told as
 * `error`; of URLs and objects it is thrown at once.
 */
function isClient(etcd) {
  return !isUrls(etcd) && !isPlain(etcd);
}

/** The part of the configuration that `etcd` says, and what its fields are called there. Throws mistakes. */
function readConnection(etcd) {
  if (isUrls(etcd)) return { config: { endpoints: urls('etcd', etcd), api: 3 }, names: { endpoints: 'etcd' } };
  return isPlain(etcd) ? readObject(etcd) : readClient(etcd);
}

function isUrls(etcd) {
  return typeof etcd === 'string' || etcd instanceof URL || Array.isArray(etcd);
}

/** An object with members, none of which is a function: no client is that, and no stand-in for one. */
function isPlain(etcd) {
  if (typeof etcd !== 'object' || etcd === null || Object.keys(etcd).length === 0) return false;
  for (let at = etcd; at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    const members = Object.entries(Object.getOwnPropertyDescriptors(at));
    if (members.some(([name, { value }]) => name !== 'constructor' && typeof value === 'function')) return false;
  }
  return true;
}

function readObject(etcd) {
  checkMembers('etcd', etcd, MEMBERS);
  const { endpoints, api = 'v3', username, password, tls = {} } = etcd;
  if (api !== 'v2' && api !== 'v3') throw mistake(`etcd.api is ${shown(api)}; give "v3" (the default) or "v2"`);
  if (typeof tls !== 'object' || tls === null) throw mistake(`etcd.tls is ${shown(tls)}; give an object`);
  checkMembers('etcd.tls', tls, TLS_MEMBERS);
  if (password !== undefined && typeof password !== 'string') throw mistake('etcd.password is no text; give a string');
  const config = {
    endpoints: urls('etcd.endpoints', endpoints),
    api: api === 'v2' ? 2 : 3,
    username: text('etcd.username', username),
    password,
    caPem: pem('etcd.tls.ca', tls.ca),
    certPem: pem('etcd.tls.cert', tls.cert),
    keyPem: pem('etcd.tls.key', tls.key),
    caFile: text('etcd.tls.caFile', tls.caFile),
    certFile: text('etcd.tls.certFile', tls.certFile),
    keyFile: text('etcd.tls.keyFile', tls.keyFile),
    tlsServerName: text('etcd.tls.servername', tls.servername),
  };
  const names = {
    endpoints: 'etcd.endpoints',
    username: 'etcd.username',
    password: 'etcd.password',
    ca_pem: 'etcd.tls.ca',
    cert_pem: 'etcd.tls.cert',
    key_pem: 'etcd.tls.key',
    ca_file: 'etcd.tls.caFile',
    cert_file: 'etcd.tls.certFile',
    key_file: 'etcd.tls.keyFile',
    tls_server_name: 'etcd.tls.servername',
  };
  return { config, names };
}

/**
 * A client of node-etcd: 4.x keeps hosts without a scheme, and TLS options in `sslopts`; later ones keep hosts with one,
 * and what the requests are made with in `client.options`. All keep a user in the host, later ones also in `auth`.
 */
function readClient(etcd) {
  const hosts = etcd.hosts;
  if (!Array.isArray(hosts) || hosts.length === 0) throw mistake(`etcd has no hosts: it is no client of node-etcd; ${ALTERNATIVES}`);
  const odd = hosts.findIndex((host) => typeof host !== 'string');
  if (odd >= 0) throw mistake(`etcd.hosts[${odd}] is ${shown(hosts[odd])}; make the client with texts`);
  const isFour = Object.hasOwn(etcd, 'sslopts');
  const options = isFour ? optionsOfFour(etcd, hosts) : optionsOfFive(etcd);
  const scheme = isFour ? (etcd.sslopts == null ? 'http://' : 'https://') : '';
  const places = hosts.map((host, at) => place(`etcd.hosts[${at}]`, scheme + host));
  const config = {
    endpoints: places.map(({ endpoint }) => endpoint),
    api: 2,
    ...login(options.auth, places),
    caPem: pem('ca', options.ca),
    certPem: pem('cert', options.cert),
    keyPem: pem('key', options.key),
    tlsServerName: text('servername', options.servername),
  };
  const names = { endpoints: 'etcd.hosts', ca_pem: 'ca', cert_pem: 'cert', key_pem: 'key', tls_server_name: 'servername' };
  return { config, names };
}

function optionsOfFour({ sslopts }, hosts) {
  if (hosts.some((host) => host.includes('://'))) {
    throw mistake(
      'etcd was made with a host that has a scheme, and node-etcd 4 takes hosts without one; ' +
        'for https give it TLS options, if only {}: new Etcd(["host:2379"], { ca })',
    );
  }
  if (sslopts != null && typeof sslopts !== 'object') {
    throw mistake(
      `etcd was made with ${shown(sslopts)} where node-etcd 4 takes TLS options; ` +
        'give the port with the host, new Etcd(["host:2379"]), or as new Etcd("host", 2379)',
    );
  }
  return checked(sslopts ?? {});
}

function optionsOfFive({ client }) {
  const options = client?.options ?? {};
  if (typeof options !== 'object') {
    throw mistake(
      `etcd was made with ${shown(options)} where node-etcd 5 and later take options; ` +
        `give the port with the host: new Etcd("http://host:${Number(options) || 2379}")`,
    );
  }
  return checked({ ...options.agentOptions, ...options });
}

function checked(options) {
  if (options.rejectUnauthorized === false || options.strictSSL === false) {
    const name = options.strictSSL === false ? 'strictSSL' : 'rejectUnauthorized';
    throw mistake(`etcd has ${name}: false, and there is no insecure mode; leave it out, and give as ca who has signed the servers' certificates`);
  }
  if (options.passphrase != null) {
    throw mistake('etcd has a passphrase, and keys are taken without one; write the key anew with: openssl pkey -in key.pem -out plain.pem');
  }
  if (options.pfx != null) {
    throw mistake('etcd has a pfx; give cert and key in PEM, made with: openssl pkcs12 -in client.pfx -nodes -out client.pem');
  }
  return options;
}

/** What a client would connect to; it leaves a port out where it means that of the scheme. */
function place(field, host) {
  let url;
  try {
    url = new URL(host);
  } catch {
    throw mistake(`${field} is no URL; make the client with hosts such as "127.0.0.1:2379"`);
  }
  const port = url.port || DEFAULT_PORTS[url.protocol] || '';
  const path = url.pathname === '/' ? '' : url.pathname;
  return {
    endpoint: `${url.protocol}//${url.hostname}:${port}${path}${url.search}`,
    username: decoded(field, url.username),
    password: decoded(field, url.password),
  };
}

function decoded(field, part) {
  try {
    return decodeURIComponent(part);
  } catch {
    throw mistake(`${field} has a user or password with a % that begins no escape; write %25`);
  }
}

function login(auth, places) {
  if (auth != null) {
    if (typeof auth !== 'object' || auth.bearer != null) {
      throw mistake("etcd has an auth that is no user and password, and etcd's API v2 knows no other; give { user, pass }");
    }
    return { username: text('auth.user', auth.user ?? auth.username), password: secret('auth.pass', auth.pass ?? auth.password) };
  }
  const [{ username, password }] = places;
  if (places.some((other) => other.username !== username || other.password !== password)) {
    throw mistake('etcd has hosts with different users; give all the same, or as auth: { user, pass }');
  }
  return username || password ? { username, password } : {};
}

function urls(field, given) {
  const list = Array.isArray(given) ? given : [given];
  return list.map((url, at) => {
    const name = Array.isArray(given) ? `${field}[${at}]` : field;
    if (url instanceof URL) return url.href.replace(/\/$/, '');
    if (typeof url !== 'string') throw mistake(`${name} is ${shown(url)}; give a URL such as "http://127.0.0.1:2379"`);
    return url;
  });
}

function text(field, value) {
  if (value == null || typeof value === 'string') return value ?? undefined;
  throw mistake(`${field} is ${shown(value)}; give a text`);
}

function secret(field, value) {
  if (value == null || typeof value === 'string') return value ?? undefined;
  throw mistake(`${field} is no text; give a string`);
}

/** PEM as tls.connect() takes it: a text, bytes, or several. */
function pem(field, value) {
  if (value == null) return undefined;
  const parts = (Array.isArray(value) ? value : [value]).map((part) => {
    if (typeof part === 'string') return part;
    if (part instanceof Uint8Array) return Buffer.from(part).toString('utf8');
    throw mistake(`${field} is neither a text nor bytes; give PEM`);
  });
  const whole = parts.join('\n');
  if (!whole.includes('-----BEGIN ')) throw mistake(`${field} is no PEM; give the text itself, or its file as ${field}File`);
  return whole;
}

function checkMembers(field, object, known) {
  const unknown = Object.keys(object).find((name) => !known.includes(name));
  if (unknown !== undefined) throw mistake(`${field} has the member ${shown(unknown)}, which is none of ${known.join(', ')}`);
}

module.exports = { isClient, readConnection, checkMembers };
