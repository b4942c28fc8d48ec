'use strict';

// lead(): the work of one term, and when the place goes.

const assert = require('node:assert/strict');
const { describe, it, before, after } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { once } = require('node:events');
const etcdLeader = require('..');
const Lead = require('../lib/lead');
const { Cluster } = require('./support/etcd');
const { Fleet, names } = require('./support/fleet');
const { heard, waitFor } = require('./support/wait');

const aborted = async (signal) => {
  if (!signal.aborted) await once(signal, 'abort');
};

for (const api of ['v2', 'v3']) {
  describe(`lead() on ${api}`, { concurrency: true }, () => {
    let cluster;
    let at;
    before(async () => {
      cluster = await Cluster.start();
      at = { endpoints: cluster.urls, api };
    });
    after(() => cluster.end());

    it('starts, runs the work while it leads, gives what it gave, and gives the place up', async (t) => {
      const fleet = new Fleet(t);
      const one = fleet.candidate(at, '/work', 'one', 5);
      let term;
      const given = await one.lead(async (given) => {
        term = given;
        assert.equal(one.isLeader(), true);
        assert.equal(one.token(), given.token);
        return 'done';
      });
      assert.equal(given, 'done');
      assert.equal(typeof term.token, 'number');
      assert.equal(one.isRunning(), false);
      assert.deepEqual(await cluster.entries('/work', api), []);
      assert.deepEqual(names(one), ['elected', 'unelected']);
      // Again, and with a function that is not async.
      assert.equal(await one.lead(({ token }) => token > term.token), true);
    });

    it('lets the successor lead only after the promise has settled', async (t) => {
      const fleet = new Fleet(t);
      const pace = { ttl: 10, renewMs: 500, stepDownMs: 1000 };
      const one = fleet.candidate(at, '/slow', 'one', pace);
      const two = fleet.candidate(at, '/slow', 'two', pace);
      let ended;
      const work = one.lead(async ({ signal }) => {
        two.start();
        await heard(two, 'leader');
        one.stop();
        assert.ok(signal.aborted);
        assert.equal(signal.reason.code, 'EL_STOPPED');
        // Cleaning up takes longer than the margin, and than a renewal.
        await sleep(1500);
        assert.deepEqual(names(two), ['leader']);
        ended = performance.now();
        return 'clean';
      });
      const elected = heard(two, 'elected');
      assert.equal(await work, 'clean');
      await elected;
      const { 3: when } = two.log.find(([event]) => event === 'elected');
      assert.ok(when >= ended, `the successor led ${ended - when} ms before the work had ended`);
    });

    it('lets the successor wait also if the work has stopped the election at once', async (t) => {
      const fleet = new Fleet(t);
      const one = fleet.candidate(at, '/at-once', 'one', 5);
      const two = fleet.candidate(at, '/at-once', 'two', 5);
      const work = one.lead(async () => {
        one.stop();
        two.start();
        assert.equal(await heard(two, 'leader'), 'one');
        await sleep(100);
        assert.deepEqual(names(two), ['leader']);
        return 'clean';
      });
      const elected = heard(two, 'elected');
      assert.equal(await work, 'clean');
      await elected;
    });

    it('waits for the work no longer than stopTimeoutMs', async (t) => {
      const fleet = new Fleet(t);
      const one = fleet.candidate(at, '/hangs', 'one', { ttl: 5, stopTimeoutMs: 300 });
      const two = fleet.candidate(at, '/hangs', 'two', 5);
      const result = one.lead(async () => {
        two.start();
        await heard(two, 'leader');
        const elected = heard(two, 'elected');
        one.stop();
        await elected;
      });
      await assert.rejects(result, { code: 'EL_OVERRUN', message: /stopTimeoutMs/ });
    });

    it('aborts the signal when the lead is lost, and rejects with the reason when the work has ended', async (t) => {
      const one = new Fleet(t).candidate(at, '/loss', 'one', 2);
      let ended = false;
      const result = one.lead(async ({ signal }) => {
        const [node] = await cluster.nodes('/loss', api);
        await cluster.remove(node.key, api);
        await aborted(signal);
        assert.equal(one.isLeader(), false);
        assert.equal(signal.reason.code, 'EL_KEY_LOST');
        await sleep(20);
        ended = true;
      });
      await assert.rejects(result, { name: 'EtcdError', code: 'EL_KEY_LOST' });
      assert.ok(ended);
      assert.equal(one.isRunning(), false);
      // One term is all there was: it is not in line for another.
      assert.deepEqual(await cluster.entries('/loss', api), []);
    });

    it('rejects with what the work threw, at once or later, and gives the place up', async (t) => {
      const one = new Fleet(t).candidate(at, '/throws', 'one', 5);
      const mishap = new Error('a mishap');
      await assert.rejects(one.lead(() => { throw mishap; }), mishap);
      await assert.rejects(one.lead(async () => { await sleep(1); throw mishap; }), mishap);
      assert.deepEqual(await cluster.entries('/throws', api), []);
      // What is thrown because of the loss is that reason.
      const lost = one.lead(async ({ signal }) => {
        const [node] = await cluster.nodes('/throws', api);
        await cluster.remove(node.key, api);
        await aborted(signal);
        signal.throwIfAborted();
      });
      await assert.rejects(lost, { code: 'EL_KEY_LOST' });
    });

    it('can be aborted while it waits and while it leads', async (t) => {
      const fleet = new Fleet(t);
      const one = fleet.candidate(at, '/aborted', 'one', 5).start();
      await heard(one, 'elected');
      const waiting = new AbortController();
      const two = fleet.candidate(at, '/aborted', 'two', 5);
      const reason = new Error('no longer wanted');
      const refused = assert.rejects(two.lead(() => assert.fail('it does not lead'), { signal: waiting.signal }), reason);
      await heard(two, 'leader');
      waiting.abort(reason);
      await refused;
      assert.deepEqual(await cluster.entries('/aborted', api), ['one']);

      const leading = new AbortController();
      const graceful = one.lead(
        async ({ signal }) => {
          leading.abort(reason);
          assert.equal(signal.reason, reason);
          return 'ended in order';
        },
        { signal: leading.signal },
      );
      assert.equal(await graceful, 'ended in order');
      await assert.rejects(one.lead(() => {}, { signal: leading.signal }), reason);
      assert.equal(one.isRunning(), false);
    });

    it('is told of a stop from elsewhere, and of a second call', async (t) => {
      const fleet = new Fleet(t);
      const one = fleet.candidate(at, '/calls', 'one', 5).start();
      await heard(one, 'elected');
      const two = fleet.candidate(at, '/calls', 'two', 5);
      const first = two.lead(() => assert.fail('it does not lead'));
      await assert.rejects(two.lead(() => {}), { code: 'EL_BUSY' });
      await heard(two, 'leader');
      two.stop();
      await assert.rejects(first, { name: 'EtcdError', code: 'EL_STOPPED' });
      await assert.rejects(two.lead('work'), { name: 'TypeError', code: 'EL_INVALID', message: /"work"/ });
    });

    it('takes the lead of an election that leads already', async (t) => {
      const one = new Fleet(t).candidate(at, '/already', 'one', 5).start();
      const token = await heard(one, 'elected');
      assert.equal(await one.lead((term) => term.token), token);
      assert.deepEqual(names(one), ['elected', 'unelected']);
    });

    it('does not begin the work of a term that a listener has ended', async (t) => {
      const one = new Fleet(t).candidate(at, '/ended', 'one', 5);
      one.on('elected', () => one.stop());
      await assert.rejects(one.lead(() => assert.fail('it does not lead')), { code: 'EL_STOPPED' });
    });
  });
}

/** A run as lead() sees it: whether it was stopped, and `token`, with which it leads at this moment. */
function aRun() {
  const run = { isStopped: false, leads: undefined, looked: () => {}, token: () => run.leads, look: () => run.looked() };
  return Object.assign(run, { beginWork() {}, endWork() {}, outcome: new Promise(() => {}) });
}

it('begins the work once the clock is sure again of a term that was told', async () => {
  const run = aRun();
  let begun = 0;
  const lead = new Lead(run, () => (begun += 1), { stop: () => (run.isStopped = true) });
  lead.elected(7);
  await sleep(10);
  assert.equal(begun, 0);
  run.leads = 7;
  await waitFor('the work', () => begun === 1);
});

it('does not count a term that was over before the work began', async () => {
  const run = aRun();
  const tokens = [];
  const lead = new Lead(run, ({ token }) => tokens.push(token), { stop: () => (run.isStopped = true) });
  run.looked = () => lead.unelected(new Error('lost unheard'));
  lead.elected(7);
  await sleep(100);
  assert.deepEqual([tokens, run.isStopped], [[], false]);
  run.leads = 8;
  lead.elected(8);
  await waitFor('the work', () => tokens.length === 1);
  assert.deepEqual(tokens, [8]);
});

it('takes the signal of a polyfill', async (t) => {
  const cluster = await Cluster.start();
  t.after(() => cluster.end());
  const one = new Fleet(t).candidate(cluster.url, '/polyfill', 'one', 5);
  const signal = Object.assign(new EventTarget(), { aborted: false });
  assert.equal(await one.lead(() => 'led', { signal }), 'led');
  signal.aborted = true;
  await assert.rejects(one.lead(() => {}, { signal }), { name: 'AbortError' });
});

it('rejects with the error that ends the election, and emits it only for those who listen', async (t) => {
  const cluster = await Cluster.start({ flags: ['--enable-v2=false'] });
  t.after(() => cluster.end());
  const at = { endpoints: cluster.urls, api: 'v2' };
  const silent = etcdLeader(at, '/fatal', 'one', 2);
  await assert.rejects(silent.lead(() => {}), { code: 'EL_UNSUPPORTED' });
  const loud = new Fleet(t).candidate(at, '/fatal', 'one', 2);
  await assert.rejects(loud.lead(() => {}), { code: 'EL_UNSUPPORTED' });
  assert.deepEqual(names(loud), ['error']);
});

it('rejects with the reason if the entry is lost while the work ends after a stop', async (t) => {
  const cluster = await Cluster.start();
  t.after(() => cluster.end());
  const fleet = new Fleet(t);
  const one = fleet.candidate(cluster.url, '/ends', 'one', 5);
  const two = fleet.candidate(cluster.url, '/ends', 'two', 5);
  const result = one.lead(async () => {
    two.start();
    await heard(two, 'leader');
    const elected = heard(two, 'elected');
    one.stop();
    const [node] = await cluster.nodes('/ends', 'v3');
    await cluster.remove(node.key, 'v3');
    await elected;
    // Its own watch says so as well, and a renewal at the latest.
    await sleep(3000);
  });
  await assert.rejects(result, { code: 'EL_KEY_LOST' });
  assert.equal((await one.stopped()).reason.code, 'EL_KEY_LOST');
});

it('does not take for timely what ended after the place was given up and before etcd said so', async (t) => {
  const cluster = await Cluster.start();
  t.after(() => cluster.end());
  const one = new Fleet(t).candidate(cluster.url, '/late', 'one', { ttl: 60, stopTimeoutMs: 500 });
  const late = one.lead(async () => {
    await null;
    cluster.freeze();
    one.stop();
    // The place is given up after 500 ms, and etcd's word waited for as long again.
    await sleep(750);
  });
  await assert.rejects(late, { code: 'EL_OVERRUN', message: /stopTimeoutMs/ });
});

it('ends the work when etcd is gone, by our own clock', async (t) => {
  const cluster = await Cluster.start();
  t.after(() => cluster.end());
  const one = new Fleet(t).candidate(cluster.url, '/gone', 'one', { ttl: 2, stopTimeoutMs: 500 });
  const result = one.lead(async ({ signal }) => {
    const begun = performance.now();
    await cluster.kill();
    await aborted(signal);
    assert.ok(performance.now() - begun < 2000 * 1.5, 'before the lease has run out');
  });
  await assert.rejects(result, { code: 'EL_DEADLINE' });
  await waitFor('the end', async () => !one.isRunning());
});
