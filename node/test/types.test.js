'use strict';

// index.d.ts: programs that use it compile and run, those that should not compile do not, and it declares what there is.

const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const ts = require('./node_modules/typescript');
const { EventEmitter } = require('node:events');
const etcdLeader = require('..');
const { Cluster } = require('./support/etcd');
const { Child, ROOT } = require('./support/child');
const { Ca } = require('./support/pki');
const { installed, link, outcome, run, temporaryFolder } = require('./support/package');

const TSC = require.resolve('./node_modules/typescript/bin/tsc');
const SOURCES = path.join(__dirname, 'types');

/** Settings of compilers in the wild, and which of the programs in types/ are for them. */
const COMMONJS = { module: 'commonjs', lib: ['es2022'] };
const NODENEXT = { module: 'nodenext', lib: ['es2022'] };
const SETTINGS = {
  'CommonJS, esModuleInterop': [{ ...COMMONJS, esModuleInterop: true }, ['surface.cts', 'wrong.cts', 'default.cts']],
  'CommonJS': [{ ...COMMONJS, esModuleInterop: false }, ['surface.cts', 'wrong.cts', 'star.cts']],
  'nodenext, esModuleInterop': [{ ...NODENEXT, esModuleInterop: true }, ['surface.cts', 'wrong.cts', 'default.cts', 'module.mts']],
  'nodenext': [{ ...NODENEXT, esModuleInterop: false }, ['surface.cts', 'wrong.cts', 'star.cts', 'module.mts']],
};
/** Compiled and run. */
const RUN = [
  ['CommonJS, esModuleInterop', 'default.cjs'],
  ['CommonJS', 'surface.cjs'],
  ['CommonJS', 'star.cjs'],
  ['nodenext', 'surface.cjs'],
  ['nodenext', 'module.mjs'],
];

let cluster;
/** A program's folder with the package, the sources and the types of Node.js in it. */
let folder;
/** What a program is told: etcd's URLs, and certificates for the second. */
let args;
before(async () => {
  const ca = new Ca(temporaryFolder());
  const server = ca.issue('server');
  const client = ca.issue('client', 'DNS:client', 'clientAuth');
  [cluster, folder] = await Promise.all([Cluster.start({ tls: { ...server, ca: ca.cert } }), installed()]);
  args = [cluster.url, cluster.httpsUrl, ca.cert, client.cert, client.key];
  link(folder, { '@types/node': '@types/node', 'undici-types': 'undici-types' });
  for (const name of fs.readdirSync(SOURCES)) fs.copyFileSync(path.join(SOURCES, name), path.join(folder, name));
});
after(() => cluster?.end());

/** Compiles into a folder of its own, and gives it. Our declarations are checked too; those of others are only read. */
function compile(name, settings, files) {
  const outDir = path.join(folder, name.replace(/\W+/g, '-'));
  const strict = { strict: true, target: 'es2022', skipLibCheck: false, rootDir: '.', noUnusedLocals: true };
  const { options, errors } = ts.convertCompilerOptionsFromJson({ ...strict, ...settings, outDir }, folder);
  const host = { ...ts.createCompilerHost(options), getCurrentDirectory: () => folder };
  const program = ts.createProgram(files.map((file) => path.join(folder, file)), options, host);
  const ours = program.getSourceFiles().filter(({ fileName }) => !/\/node_modules\/(typescript|@types|undici-types)\//.test(fileName));
  assert.ok(ours.some(({ fileName }) => fileName.endsWith('/etcd-leader/index.d.ts')), 'the package declares itself');
  const found = [...errors, ...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()];
  for (const file of ours) {
    found.push(...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file));
    if (!file.isDeclarationFile) found.push(...program.emit(file).diagnostics);
  }
  assert.equal(ts.formatDiagnostics(found, host), '', `with ${name}`);
  return outDir;
}

/** The folder with what was compiled with these settings; compiled once. */
const folders = {};
const compiled = (name) => (folders[name] ??= compile(name, ...SETTINGS[name]));

describe('programs compile with the settings that people have, and run', { concurrency: true }, () => {
  for (const name of Object.keys(SETTINGS)) test(name, () => compiled(name));
  for (const [name, file] of RUN) {
    test(`${file} of ${name} on etcd`, async () => {
      const child = new Child(process.execPath, [path.join(compiled(name), file), ...args]);
      assert.deepEqual(await outcome(child), { code: 0, signal: null, said: ['all was so'], errors: '' });
    });
  }
  test('what tsc --init writes', async () => {
    const fresh = path.join(folder, 'fresh');
    fs.mkdirSync(fresh);
    await run(process.execPath, [TSC, '--init'], { cwd: fresh });
    const { config } = ts.readConfigFile(path.join(fresh, 'tsconfig.json'), ts.sys.readFile);
    const options = { ...config.compilerOptions, skipLibCheck: false };
    assert.equal(options.exactOptionalPropertyTypes, true);
    compile('tsc --init', options, ['surface.cts', 'wrong.cts', 'module.mts']);
  });
});

const source = ts.createSourceFile('index.d.ts', fs.readFileSync(path.join(ROOT, 'index.d.ts'), 'utf8'), ts.ScriptTarget.Latest, true);

/** What is declared by this name, in the namespace. */
function declared(name) {
  const namespace = source.statements.find(ts.isModuleDeclaration);
  const found = namespace.body.statements.find((statement) => statement.name?.text === name);
  assert.ok(found, `index.d.ts declares no ${name}`);
  return found;
}

/** The names of its members, each once; `Symbol.asyncDispose` in brackets. */
const members = (node) => [...new Set(node.members.filter(({ name }) => name).map(({ name }) => name.getText()))].sort();

test('an election has the methods that are declared, and no others', () => {
  const there = Reflect.ownKeys(etcdLeader.prototype)
    .filter((name) => name !== 'constructor')
    .map((name) => (typeof name === 'symbol' ? `[${name === Symbol.asyncDispose ? 'Symbol.asyncDispose' : name.description}]` : name));
  const inherited = new Set(Object.keys(EventEmitter.prototype));
  const wanted = members(declared('Election'))
    .filter((name) => !inherited.has(name))
    .filter((name) => name !== '[Symbol.asyncDispose]' || Symbol.asyncDispose);
  assert.deepEqual(there.sort(), wanted);
  for (const name of members(declared('Election'))) {
    if (inherited.has(name)) assert.equal(typeof etcdLeader.prototype[name], 'function', name);
  }
  const own = Object.getOwnPropertyNames(etcdLeader('http://127.0.0.1:1', '/types', 'host-1'));
  const emitters = Object.getOwnPropertyNames(new EventEmitter());
  assert.deepEqual(own.filter((name) => !emitters.includes(name)), []);
});

test('the module has what is declared, and nothing else', () => {
  const [{ type }] = source.statements.find(ts.isVariableStatement).declarationList.declarations;
  assert.deepEqual(Object.keys(etcdLeader).sort(), members(type));
  const error = source.statements.find(ts.isClassDeclaration);
  assert.deepEqual(Object.keys(new etcdLeader.EtcdError('EL_BUSY', 'no', 'http://127.0.0.1:1')).sort(), members(error));
});

test('the events that are emitted are those that are declared', () => {
  const code = fs.readFileSync(path.join(ROOT, 'index.js'), 'utf8');
  const emitted = [...code.matchAll(/\bthis\.emit\('(\w+)'/g)].map(([, event]) => event);
  assert.deepEqual([...new Set(emitted)].sort(), members(declared('Events')));
});

test('the options that are taken are those that are declared', () => {
  /** What a refusal of `options` names as known. */
  const known = (etcd, options) => {
    let message;
    assert.throws(() => etcdLeader(etcd, '/types', 'host-1', options), (error) => ((message = error.message), error.code === 'EL_INVALID'));
    return message.split('none of ')[1].split(', ').sort();
  };
  const url = 'http://127.0.0.1:1';
  assert.deepEqual(known(url, { unknown: 1 }), members(declared('Options')));
  assert.deepEqual(known({ endpoints: url, unknown: 1 }), members(declared('Connection')));
  assert.deepEqual(known({ endpoints: url, tls: { unknown: 1 } }), members(declared('Tls')));
  // Those with a choice of words take these and no others.
  const words = (of, name) => declared(of).members.find((member) => member.name.text === name).type.getText().match(/'\w+'/g).sort();
  const taken = (etcd, options) => {
    try {
      etcdLeader(etcd, '/types', 'host-1', options);
    } catch (error) {
      return error.message.split('; give ')[1].match(/"\w+"/g).map((word) => word.replaceAll('"', "'")).sort();
    }
    return assert.fail('nothing was refused');
  };
  assert.deepEqual(taken({ endpoints: url, api: 'unknown' }), words('Connection', 'api'));
  assert.deepEqual(taken(url, { onStoreReset: 'unknown' }), words('Options', 'onStoreReset'));
});

test('the error codes are those of C, of the core and of the documents', () => {
  const read = (file) => fs.readFileSync(path.join(ROOT, '..', file), 'utf8');
  const all = (text, pattern) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))].sort();
  const literals = declared('ErrorCode').type.types;
  const here = literals.map(({ literal }) => literal.text).sort();
  assert.deepEqual(here, all(read('include/etcd_leader.h'), /^#define (EL_\w+) -\d+$/gm), 'index.d.ts and include/etcd_leader.h');
  assert.deepEqual(here, all(read('core/rules/src/error.rs'), /=> "(EL_\w+)"/g), 'index.d.ts and core/rules/src/error.rs');
  for (const literal of literals) {
    assert.match(source.text.slice(0, literal.getStart()), /\*\/\s*\|\s*$/, `index.d.ts does not say what ${literal.getText()} means`);
  }
  const told = all(read('core/docs/errors.md'), /^\| `(EL_\w+)`/gm).filter((name) => name !== 'EL_OK');
  assert.notEqual(told.length, 0, 'core/docs/errors.md has no table of error codes, with rows that begin "| `EL_..."');
  assert.deepEqual(here, told, 'index.d.ts and the table of error codes in core/docs/errors.md');
});
