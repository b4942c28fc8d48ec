'use strict';

// What stands in the place of `etcd`, read as endpoints, certificates and a user. Every mistake names the field and the
// remedy; none repeats a password or a key.

const { isUint8Array } = require('node:util').types;
const { mistake, shown } = require('./errors');

const MEMBERS = ['endpoints', 'api', 'username', 'password', 'tls'];
const TLS_MEMBERS = ['ca', 'cert', 'key', 'caFile', 'certFile', 'keyFile', 'servername'];
const DEFAULT_PORTS = { 'http:': 80, 'https:': 443 };
const NAMES_OF_OBJECT = {
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
/** A client has no files. */
const NAMES_OF_CLIENT = {
  ca_pem: "the client's ca",
  cert_pem: "the client's cert",
  key_pem: "the client's key",
  ca_file: "the client's ca",
  cert_file: "the client's cert",
  key_file: "the client's key",
  tls_server_name: "the client's servername",
};
const ALTERNATIVES =
  'give a client of node-etcd 4.0.2 to 7, a URL such as "http://127.0.0.1:2379", several, or an object { endpoints, ... }';

/**
 * Whether `etcd` is a client, as the original took it. Those are read at start, and what is wrong with them is told as
 * `error`; of URLs and objects it is thrown at once.
 */
function isClient(etcd) {
  return !isUrls(etcd) && !isPlain(etcd);
}

/** The part of the configuration that `etcd` says, and what the core's fields are called there. Throws mistakes. */
function readConnection(etcd) {
  if (isUrls(etcd)) {
    return { config: { endpoints: urls('etcd', etcd), api: 3 }, names: { ...NAMES_OF_OBJECT, ...namesOfUrls('etcd', etcd) } };
  }
  return isPlain(etcd) ? readObject(etcd) : readClient(etcd);
}

function isUrls(etcd) {
  return typeof etcd === 'string' || etcd instanceof URL || Array.isArray(etcd);
}

/**
 * An object with members, none of which is a function: no client is that, and no stand-in for one. Every object has those
 * of an Object.prototype, if only of another realm's, as under a test runner; those of the package config have hidden ones.
 */
function isPlain(etcd) {
  if (typeof etcd !== 'object' || etcd === null || Object.keys(etcd).length === 0) return false;
  let at = etcd;
  do {
    const members = Object.entries(Object.getOwnPropertyDescriptors(at));
    const isFunction = ([name, { value, enumerable }]) =>
      typeof value === 'function' && name !== 'constructor' && (enumerable || at !== etcd);
    if (members.some(isFunction)) return false;
    at = Object.getPrototypeOf(at);
  } while (at && Object.getPrototypeOf(at));
  return true;
}

function readObject(etcd) {
  checkMembers('etcd', etcd, MEMBERS);
  const { endpoints, api = 'v3', username, password, tls = {} } = etcd;
  if (api !== 'v2' && api !== 'v3') throw mistake(`etcd.api is ${shown(api)}; give "v3" (the default) or "v2"`);
  // It may be a key that stands in the wrong place: it is not shown.
  if (typeof tls !== 'object' || tls === null || Array.isArray(tls)) {
    throw mistake(`etcd.tls is no object; give one with ${TLS_MEMBERS.join(', ')}`);
  }
  checkMembers('etcd.tls', tls, TLS_MEMBERS);
  const asFile = (name) => `or the name of its file as etcd.tls.${name}File`;
  const config = {
    endpoints: urls('etcd.endpoints', endpoints),
    api: api === 'v2' ? 2 : 3,
    username: text('etcd.username', username),
    password: secret('etcd.password', password),
    caPem: pem('etcd.tls.ca', tls.ca, asFile('ca')),
    certPem: pem('etcd.tls.cert', tls.cert, asFile('cert')),
    keyPem: pem('etcd.tls.key', tls.key, asFile('key')),
    caFile: file('etcd.tls.ca', tls.caFile),
    certFile: file('etcd.tls.cert', tls.certFile),
    keyFile: file('etcd.tls.key', tls.keyFile),
    tlsServerName: text('etcd.tls.servername', tls.servername),
  };
  return { config, names: { ...NAMES_OF_OBJECT, ...namesOfUrls('etcd.endpoints', endpoints) } };
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
  const isFour = 'sslopts' in etcd;
  const options = isFour ? optionsOfFour(etcd, hosts) : optionsOfFive(etcd);
  const places = hosts.map((host, at) => (isFour ? placeOfFour(at, host, etcd.sslopts != null) : placeOfFive(at, host)));
  const asRead = 'as fs.readFileSync() gives it';
  const config = {
    endpoints: places.map(({ endpoint }) => endpoint),
    api: 2,
    ...login(options.auth, places),
    caPem: pem("the client's ca", options.ca, asRead),
    certPem: pem("the client's cert", options.cert, asRead),
    keyPem: pem("the client's key", options.key, asRead),
    tlsServerName: text("the client's servername", options.servername),
  };
  const users =
    options.auth == null
      ? { username: 'the user in etcd.hosts', password: 'the password in etcd.hosts' }
      : { username: "the client's auth.user", password: "the client's auth.pass" };
  return { config, names: { ...NAMES_OF_CLIENT, ...users, ...namesOfUrls('etcd.hosts', hosts) } };
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
      `etcd was made with ${inPlaceOfOptions(sslopts)} where node-etcd 4 takes TLS options; ` +
        'give the port with the host, new Etcd(["host:2379"]), or as new Etcd("host", 2379)',
    );
  }
  return checked(sslopts ?? {});
}

function optionsOfFive({ client }) {
  const options = client?.options ?? {};
  if (typeof options !== 'object') {
    const port = typeof options === 'number' || typeof options === 'string' ? Number(options) : 0;
    throw mistake(
      `etcd was made with ${inPlaceOfOptions(options)} where node-etcd 5 and later take options; ` +
        `give the port with the host: new Etcd("http://host:${port || 2379}")`,
    );
  }
  const given = Object.entries(options).filter(([, value]) => value != null);
  return checked({ ...options.agentOptions, ...Object.fromEntries(given) });
}

/** A text may be a key that stands in the wrong place. */
function inPlaceOfOptions(value) {
  return typeof value === 'string' ? 'a text' : shown(value);
}

function checked(options) {
  if (options.rejectUnauthorized === false || options.strictSSL === false) {
    const name = options.strictSSL === false ? 'strictSSL' : 'rejectUnauthorized';
    throw mistake(
      `etcd has ${name}: false, and there is no insecure mode; ` +
        "leave it out, and give as ca who has signed the servers' certificates",
    );
  }
  if (options.passphrase != null) {
    throw mistake('etcd has a passphrase, and keys are taken without one; write the key anew with: openssl pkey -in key.pem -out plain.pem');
  }
  if (options.pfx != null) {
    throw mistake('etcd has a pfx; give cert and key in PEM, made with: openssl pkcs12 -in client.pfx -nodes -out client.pem');
  }
  return options;
}

function placeOfFour(at, host, isSecure) {
  return place(`etcd.hosts[${at}]`, `${isSecure ? 'https' : 'http'}://${host}`, 'host:port, such as 127.0.0.1:2379');
}

function placeOfFive(at, host) {
  const field = `etcd.hosts[${at}]`;
  const form = 'http://host:port or https://host:port';
  if (!/^\s*https?:\/\//i.test(host)) throw mistake(`${field} has no scheme; write ${form}`);
  return place(field, host, form);
}

/** What a client would connect to; it leaves a port out where it means that of the scheme. */
function place(field, host, form) {
  let url;
  try {
    url = new URL(host);
  } catch {
    throw mistake(`${field} cannot be read as a URL; write ${form}, and several as an array`);
  }
  const port = url.port || DEFAULT_PORTS[url.protocol];
  const path = url.pathname === '/' ? '' : url.pathname;
  return {
    // With all that follows, for which it is refused: a password that is not escaped may have ended the host too early.
    endpoint: `${url.protocol}//${url.hostname}:${port}${path}${url.search}${url.hash}`,
    username: decoded(field, url.username),
    password: decoded(field, url.password),
  };
}

function decoded(field, part) {
  let once;
  try {
    once = decodeURIComponent(part);
  } catch {
    throw mistake(`${field} has a user or password with a % that begins no escape; write %25`);
  }
  // Under node-etcd it is decoded twice; who has a %41 in a password has escaped it twice.
  try {
    return decodeURIComponent(once);
  } catch {
    return once;
  }
}

function login(auth, places) {
  if (auth != null) {
    const { user, pass, username = user, password = pass, bearer } = auth;
    if (bearer != null || (username ?? password) == null) {
      throw mistake("etcd has an auth that is no user and password, and etcd's API v2 knows no other; give { user, pass }");
    }
    return { username: text("the client's auth.user", username), password: secret("the client's auth.pass", password) };
  }
  const [{ username, password }] = places;
  if (places.some((other) => other.username !== username || other.password !== password)) {
    throw mistake('etcd has hosts with different users; give all the same, or as auth: { user, pass }');
  }
  return username || password ? { username, password } : {};
}

function urls(field, given) {
  const list = Array.isArray(given) ? given : [given];
  return list.map((url, at) => readUrl(Array.isArray(given) ? `${field}[${at}]` : field, url));
}

/** The core numbers them all; here one may stand for itself. */
function namesOfUrls(field, given) {
  return { endpoints: field, 'endpoints[0]': Array.isArray(given) ? `${field}[0]` : field };
}

function readUrl(field, url) {
  if (url instanceof URL) {
    const { protocol, host, port, username, password } = url;
    const usual = DEFAULT_PORTS[protocol];
    if (usual && !port && !username && !password) {
      const [one, other] = [usual, 2379].map((number) => `"${protocol}//${host}:${number}"`);
      throw mistake(`${field} has no port, and a URL object keeps no port that is its scheme's own; give a text: ${one} or ${other}`);
    }
    return url.href.replace(/\/$/, '');
  }
  if (typeof url !== 'string') {
    throw mistake(`${field} is ${url === undefined ? 'missing' : shown(url)}; give a URL such as "http://127.0.0.1:2379"`);
  }
  return url;
}

function text(field, value) {
  if (value == null || typeof value === 'string') return value ?? undefined;
  throw mistake(`${field} is ${shown(value)}; give a text`);
}

function secret(field, value) {
  if (value == null || typeof value === 'string') return value ?? undefined;
  throw mistake(`${field} is no text; give a string`);
}

/** The name of a file that holds what `field` may be. */
function file(field, value) {
  const name = text(`${field}File`, value);
  if (name?.includes('-----BEGIN ')) throw mistake(`${field}File is PEM itself, and not the name of a file; give it as ${field}`);
  return name;
}

/** PEM as tls.connect() takes it: a text, bytes, or several. */
function pem(field, value, remedy) {
  if (value == null) return undefined;
  const parts = (Array.isArray(value) ? value : [value]).map((part) => {
    if (typeof part === 'string') return part;
    if (isUint8Array(part)) return Buffer.from(part).toString('utf8');
    throw mistake(`${field} is neither a text nor bytes; give PEM`);
  });
  const whole = parts.join('\n');
  if (!whole.includes('-----BEGIN ')) throw mistake(`${field} is no PEM; give the text itself, ${remedy}`);
  return whole;
}

function checkMembers(field, object, known) {
  const unknown = Object.keys(object).find((name) => !known.includes(name));
  if (unknown !== undefined) throw mistake(`${field} has the member ${shown(unknown)}, which is none of ${known.join(', ')}`);
}

module.exports = { isClient, readConnection, checkMembers };
