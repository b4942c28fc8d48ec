'use strict';

// Certificates for tests, made with openssl: a CA, and what it signs, in files.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

function openssl(...args) {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

class Ca {
  constructor(folder, name = 'ca') {
    this.folder = folder;
    this.cert = path.join(folder, `${name}.crt`);
    this.key = path.join(folder, `${name}.key`);
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3650', '-subj', `/CN=${name}`, '-keyout', this.key, '-out', this.cert);
  }

  /** A certificate: { cert, key }, paths. `names` as in a subjectAltName, such as 'IP:127.0.0.1,DNS:localhost'. */
  issue(name, names = 'IP:127.0.0.1,DNS:localhost', usage = 'serverAuth') {
    const at = (end) => path.join(this.folder, `${name}.${end}`);
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`, '-keyout', at('key'), '-out', at('csr'));
    fs.writeFileSync(at('ext'), `subjectAltName=${names}\nextendedKeyUsage=${usage}\n`);
    openssl('x509', '-req', '-in', at('csr'), '-CA', this.cert, '-CAkey', this.key, '-CAcreateserial', '-days', '3650', '-extfile', at('ext'), '-out', at('crt'));
    return { cert: at('crt'), key: at('key') };
  }
}

module.exports = { Ca };
