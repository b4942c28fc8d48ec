'use strict';

// Programs in processes of their own: what they say, line by line, and how they end.

const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');
const { waitFor } = require('./wait');

const ROOT = path.join(__dirname, '../..');

/** A child; it is killed when we end. */
class Child {
  constructor(command, args, { env = {}, cwd } = {}) {
    this.lines = [];
    this.errors = '';
    this.begun = performance.now();
    this.process = spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args], {
      cwd,
      env: { ...process.env, NODE_PATH: '', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    readline.createInterface({ input: this.process.stdout }).on('line', (line) => {
      this.lines.push({ at: performance.now(), line });
    });
    this.process.stderr.on('data', (data) => {
      this.errors += data;
    });
    // Only when its output was read to the end.
    this.ended = new Promise((resolve) => {
      this.process.on('close', (code, signal) => resolve({ code, signal, at: performance.now() }));
    });
  }

  /** The first line that matches, when it has been said: { at, line }. */
  async says(pattern, patienceMs) {
    let isOver = false;
    this.ended.then(() => {
      isOver = true;
    });
    return waitFor(
      `${pattern} of a child`,
      () => {
        const found = this.lines.find(({ line }) => (pattern instanceof RegExp ? pattern.test(line) : line === pattern));
        if (!found && isOver) throw new Error(`the child ended before it said ${pattern}:\n${this.said().join('\n')}\n${this.errors}`);
        return found;
      },
      patienceMs,
    );
  }

  said() {
    return this.lines.map(({ line }) => line);
  }

  tell(line) {
    this.process.stdin.write(`${line}\n`);
  }

  kill(signal = 'SIGKILL') {
    this.process.kill(signal);
  }
}

/** Runs a piece of JavaScript with `etcdLeader` and `say(...words)` at hand. */
function program(code, { env, execArgv = [] } = {}) {
  const whole = `const etcdLeader = require(${JSON.stringify(ROOT)});
const say = (...words) => require('fs').writeSync(1, words.join(' ') + '\\n');
${code}`;
  return new Child(process.execPath, [...execArgv, '-e', whole], { env });
}

module.exports = { Child, program, ROOT };
