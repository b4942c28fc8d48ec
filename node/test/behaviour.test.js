'use strict';

// What the package of 2015 did, and what users of it may rely on, on a real etcd and both of its APIs.

const assert = require('node:assert/strict');
const { describe, it, before, after } = require('node:test');
const etcdLeader = require('..');
const { Cluster } = require('./support/etcd');
const { Fleet, names } = require('./support/fleet');
const { heard, waitFor } = require('./support/wait');

const { EtcdError } = etcdLeader;

/** Where no lease is to run out: a machine that stalls for seconds costs nobody the lead. */
const TTL_S = 10;

for (const api of ['v2', 'v3']) {
  describe(`on ${api}`, { concurrency: true }, () => {
    let cluster;
    let at;
    before(async () => {
      cluster = await Cluster.start();
      at = { endpoints: cluster.urls, api };
    });
    after(() => cluster.end());

    for (const ttl of [1, 10]) {
      it(`is elected, with ttl ${ttl}`, async (t) => {
        const one = new Fleet(t).candidate(at, `/acquire${ttl}`, 'one', ttl);
        assert.equal(one.isRunning(), false);
        assert.equal(one.start(), one);
        assert.equal(one.isRunning(), true);
        const token = await heard(one, 'elected');
        assert.ok(Number.isSafeInteger(token) && token > 0, `${token}`);
        assert.equal(one.token(), token);
        assert.equal(one.isLeader(), true);
        assert.equal(one.currentLeader(), 'one');
        assert.ok(one.timeLeft() > 0 && one.timeLeft() <= ttl * 1000, `${one.timeLeft()}`);
        assert.deepEqual([one.settings().ttl, one.settings().renewMs], [ttl, ttl * 500]);
        // etcd grants two seconds at least.
        assert.equal(one.settings().grantedTtl, api === 'v3' ? Math.max(ttl, 2) : ttl);
        assert.deepEqual(await cluster.entries(`/acquire${ttl}`, api), ['one']);
      });
    }

    // A crash would cost the ttl, and a busy machine costs a second at times.
    for (const ttl of [10, 60]) {
      it(`fails over on stop, and takes its key along, with ttl ${ttl}`, async (t) => {
        const fleet = new Fleet(t);
        const key = `/over${ttl}`;
        const one = fleet.candidate(at, key, 'one', ttl).start();
        await heard(one, 'elected');
        const two = fleet.candidate(at, key, 'two', ttl).start();
        assert.equal(await heard(two, 'leader'), 'one');
        const elected = heard(two, 'elected');
        const stopped = performance.now();
        assert.equal(one.stop(), one);
        assert.ok((await elected) > one.log[0][1], 'tokens grow');
        assert.ok(performance.now() - stopped < (ttl * 1000) / 2);
        assert.deepEqual(await one.stopped(), { released: true });
        assert.deepEqual(await cluster.entries(key, api), ['two']);
        assert.deepEqual(names(one), ['elected', 'unelected']);
        assert.deepEqual(names(two), ['leader', 'elected']);
      });
    }

    it('lets only the first of three lead, and tells the others who it is', async (t) => {
      const fleet = new Fleet(t);
      const one = fleet.candidate(at, '/three', 'one', TTL_S).start();
      await heard(one, 'elected');
      const two = fleet.candidate(at, '/three', 'two', TTL_S).start();
      await heard(two, 'leader');
      const three = fleet.candidate(at, '/three', 'three', TTL_S).start();
      await heard(three, 'leader');
      assert.deepEqual([one, two, three].map((each) => each.isLeader()), [true, false, false]);
      assert.deepEqual([one, two, three].map((each) => each.currentLeader()), ['one', 'one', 'one']);
      assert.deepEqual(await cluster.entries('/three', api), ['one', 'two', 'three']);
      // The third hears of it, though it watches the second only.
      const [news, elected] = [heard(three, 'leader'), heard(two, 'elected')];
      one.stop();
      assert.equal(await news, 'two');
      await elected;
      assert.equal(three.currentLeader(), 'two');
      assert.deepEqual(names(three), ['leader', 'leader']);
      assert.deepEqual(names(two), ['leader', 'elected']);
    });

    it('elects nobody who left the line meanwhile, and nobody twice', async (t) => {
      const fleet = new Fleet(t);
      const line = [];
      for (const name of ['one', 'two', 'three']) {
        line.push(fleet.candidate(at, '/line', name, TTL_S).start());
        await waitFor(`the entry of ${name}`, async () => (await cluster.entries('/line', api)).includes(name));
      }
      const [one, two, three] = line;
      two.stop();
      await two.stopped();
      const elected = heard(three, 'elected');
      one.stop();
      await elected;
      assert.deepEqual(names(two).filter((event) => event === 'elected'), []);
      assert.deepEqual(line.map((each) => names(each).filter((event) => event === 'elected').length), [1, 0, 1]);
    });

    it('makes one member of start, stop and start in one turn', async (t) => {
      const one = new Fleet(t).candidate(at, '/turn', 'one', 5);
      one.start().stop();
      assert.equal(one.isRunning(), false);
      const { released, reason } = await one.stopped();
      assert.deepEqual([released, reason.code], [true, 'EL_STOPPED']);
      one.start().stop().start();
      assert.equal(one.start(), one);
      await heard(one, 'elected');
      assert.deepEqual(await cluster.entries('/turn', api), ['one']);
      // The place of before goes before another is taken.
      one.stop().start().stop().start();
      await heard(one, 'elected');
      assert.deepEqual(await cluster.entries('/turn', api), ['one']);
      assert.deepEqual(names(one), ['elected', 'unelected', 'elected']);
      // The end of a start that was taken back is the end of what was before it.
      one.stop().start().stop();
      assert.deepEqual(await one.stopped(), { released: true });
      assert.deepEqual(await cluster.entries('/turn', api), []);
    });

    it('gives each run an outcome of its own', async (t) => {
      const one = new Fleet(t).candidate(at, '/outcome', 'one', 5).start();
      await heard(one, 'elected');
      assert.deepEqual(await one.stop().stopped(), { released: true });
      const { released, reason } = await one.start().stop().stopped();
      assert.deepEqual([released, reason?.code], [true, 'EL_STOPPED']);
    });

    it('says the truth inside each listener', async (t) => {
      const one = new Fleet(t).candidate(at, '/inside', 'one', 5);
      const seen = [];
      const look = () => [one.isRunning(), one.isLeader(), one.currentLeader(), one.token() > 0];
      one.on('elected', () => seen.push(look()));
      one.on('unelected', (why) => seen.push([why.code, why instanceof EtcdError, ...look()]));
      one.start();
      await heard(one, 'elected');
      one.stop();
      // It was emitted inside stop().
      assert.deepEqual(seen, [
        [true, true, 'one', true],
        ['EL_STOPPED', true, false, false, undefined, false],
      ]);
      await one.stopped();
    });

    it('keeps its place until the listeners of unelected have returned', async (t) => {
      const fleet = new Fleet(t);
      const one = fleet.candidate(at, '/kept', 'one', 2).start();
      await heard(one, 'elected');
      const two = fleet.candidate(at, '/kept', 'two', 2).start();
      await heard(two, 'leader');
      let returned;
      one.on('unelected', () => {
        // Longer than a take-over needs, and than a renewal may be late.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);
        returned = performance.now();
      });
      const elected = heard(two, 'elected');
      one.stop();
      await elected;
      assert.ok(two.log.at(-1)[3] >= returned);
      assert.deepEqual(await one.stopped(), { released: true });
    });

    it('tells every listener unelected after elected, if one of them stops it', async (t) => {
      const one = new Fleet(t).candidate(at, '/within', 'one', 5);
      const heardBySecond = [];
      one.prependListener('elected', () => one.stop());
      one.on('elected', () => heardBySecond.push('elected', one.isLeader()));
      one.on('unelected', () => heardBySecond.push('unelected'));
      one.start();
      await heard(one, 'unelected');
      assert.deepEqual(heardBySecond, ['elected', false, 'unelected']);
      assert.deepEqual(await one.stopped(), { released: true });
    });

    it('joins again by itself when its key is deleted', async (t) => {
      const one = new Fleet(t).candidate(at, '/deleted', 'one', TTL_S).start();
      const first = await heard(one, 'elected');
      const [node] = await cluster.nodes('/deleted', api);
      // The two may come in one turn.
      const [lost, again] = [heard(one, 'unelected'), heard(one, 'elected')];
      await cluster.remove(node.key, api);
      assert.equal((await lost).code, 'EL_KEY_LOST');
      assert.ok((await again) > first);
      assert.equal(names(one).filter((event) => event === 'error').length, 0);
      const [event, , wasLeader] = one.log.find(([name]) => name === 'unelected');
      assert.deepEqual([event, wasLeader], ['unelected', false]);
    });
  });

  describe(`when etcd is in trouble, on ${api}`, () => {
    it('retries for ever, says so, and joins when it is back', async (t) => {
      const cluster = await Cluster.start();
      t.after(() => cluster.end());
      const fleet = new Fleet(t);
      await cluster.kill();
      const one = fleet.candidate({ endpoints: cluster.urls, api }, '/late', 'one', 2).start();
      const trouble = await heard(one, 'retrying');
      assert.ok(trouble instanceof EtcdError);
      assert.equal(trouble.code, 'EL_UNREACHABLE');
      assert.equal(trouble.endpoint, cluster.url);
      assert.match(trouble.message, /refused/);
      // It may have joined before the restart is seen here.
      const elected = heard(one, 'elected');
      await cluster.restart();
      const first = await elected;
      const lost = heard(one, 'unelected');
      await cluster.kill();
      assert.equal((await lost).code, 'EL_DEADLINE');
      const again = heard(one, 'elected');
      await cluster.restart();
      // With the same token if its entry is still there, and so nobody led meanwhile.
      assert.ok((await again) >= first);
      assert.ok(!names(one).includes('error'));
    });

    it('gives a stop up after stopTimeoutMs, and says that the key may be left', async (t) => {
      const cluster = await Cluster.start();
      t.after(() => cluster.end());
      const one = new Fleet(t).candidate({ endpoints: cluster.urls, api }, '/stuck', 'one', { ttl: 5, stopTimeoutMs: 700 });
      one.start();
      await heard(one, 'elected');
      await cluster.kill();
      const begun = performance.now();
      one.stop();
      assert.deepEqual(await one.stopped(), { released: false });
      const took = performance.now() - begun;
      assert.ok(took > 600 && took < 3000, `${took} ms`);
    });
  });
}

it('emits error once, when it has stopped, and begins afresh in the listener', async (t) => {
  const cluster = await Cluster.start({ flags: ['--enable-v2=false'] });
  t.after(() => cluster.end());
  const one = new Fleet(t).candidate({ endpoints: cluster.urls, api: 'v2' }, '/fatal', 'one', 2);
  const inside = [];
  one.once('error', () => {
    inside.push(one.isRunning());
    one.start();
    inside.push(one.isRunning());
  });
  one.start();
  const error = await heard(one, 'error');
  assert.equal(error.code, 'EL_UNSUPPORTED');
  assert.match(error.message, /--enable-v2/);
  await heard(one, 'error');
  assert.deepEqual(inside, [false, true]);
  assert.equal(one.isRunning(), false);
  await assert.rejects(one.stopped(), { code: 'EL_UNSUPPORTED' });
  assert.deepEqual(names(one), ['error', 'error']);
});

it('says that nobody is known to lead', async (t) => {
  const cluster = await Cluster.start();
  t.after(() => cluster.end());
  const fleet = new Fleet(t);
  const one = fleet.candidate(cluster.url, '/nobody', 'one', 2).start();
  await heard(one, 'elected');
  const two = fleet.candidate(cluster.url, '/nobody', 'two', 2).start();
  assert.equal(await heard(two, 'leader'), 'one');
  await cluster.kill();
  await heard(two, 'leaderless');
  assert.equal(two.currentLeader(), undefined);
});

it('stops when its signal is aborted, and does not start after that', async (t) => {
  const cluster = await Cluster.start();
  t.after(() => cluster.end());
  const controller = new AbortController();
  const one = new Fleet(t).candidate(cluster.url, '/signal', 'one', { ttl: 2, signal: controller.signal }).start();
  await heard(one, 'elected');
  controller.abort();
  assert.deepEqual(names(one), ['elected', 'unelected']);
  assert.equal(one.start().isRunning(), false);
  assert.deepEqual(await one.stopped(), { released: true });
});

it('is there with new and without, and knows its own', () => {
  const one = new etcdLeader('http://127.0.0.1:1', '/k', 'n');
  assert.ok(one instanceof etcdLeader);
  assert.ok(etcdLeader('http://127.0.0.1:1', '/k', 'n') instanceof etcdLeader);
  assert.equal(one.stop(), one);
  assert.deepEqual([one.isRunning(), one.isLeader(), one.token(), one.currentLeader(), one.timeLeft()], [false, false, undefined, undefined, 0]);
});

it('can be extended', () => {
  class Job extends etcdLeader {
    isMine() {
      return this.isLeader();
    }
  }
  const job = new Job('http://127.0.0.1:1', '/k', 'n');
  assert.ok(job instanceof Job && job instanceof etcdLeader);
  assert.equal(job.isMine(), false);
});

it('waits for its place to go at the end of await using', { skip: Symbol.asyncDispose ? false : 'this Node.js has no Symbol.asyncDispose' }, async (t) => {
  const cluster = await Cluster.start();
  t.after(() => cluster.end());
  const one = new Fleet(t).candidate(cluster.url, '/using', 'one', 5).start();
  await heard(one, 'elected');
  await one[Symbol.asyncDispose]();
  assert.deepEqual(await cluster.entries('/using', 'v3'), []);
});
