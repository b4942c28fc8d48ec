'use strict';

// Elections in which some members are ours and some are of the package of 2015, by way of the same clients.

const assert = require('node:assert/strict');
const { it } = require('node:test');
const { ALL } = require('./support/clients');
const { Cluster } = require('./support/etcd');
const { Fleet } = require('./support/fleet');
const { heard, waitFor } = require('./support/wait');
const original = require('original');

const TTL_S = 5;
/** How soon everybody is to know of a new leader: the one behind it is told with the next refresh. That is before the ttl is over. */
const NEWS_MS = (TTL_S * 1000) / 2 + 2000;

for (const makes of [['ours', 'theirs', 'ours'], ['theirs', 'ours', 'theirs']]) {
  for (const version of ALL.filter(({ version: name }) => ['4.0.2', '7.0.0'].includes(name))) {
    it(`${makes.join(', ')} with node-etcd ${version.version}: in order, one at a time, and known to all`, async (t) => {
      const cluster = await Cluster.start();
      t.after(() => cluster.end());
      const fleet = new Fleet(t);
      const line = [];
      for (const [at, make] of makes.entries()) {
        const etcd = version.client(cluster.url);
        const name = `${at}-${make}`;
        const member = make === 'ours' ? fleet.candidate(etcd, '/mixed', name, TTL_S) : original(etcd, '/mixed', name, TTL_S);
        member.elections = 0;
        member.on('elected', () => {
          member.elections += 1;
          const leading = line.filter((other) => other.isLeader());
          assert.deepEqual(leading, [member], 'two lead');
        });
        member.leaders = [];
        member.on('leader', (leader) => member.leaders.push(leader));
        line.push(member);
        member.start();
        await waitFor(`the entry of ${name}`, async () => (await cluster.entries('/mixed', 'v2')).includes(name));
      }
      t.after(() => line.forEach((member) => member.stop()));

      await waitFor('the first to lead', () => line[0].isLeader());
      await waitFor('the others to know', () => line.slice(1).every((member) => member.leaders.at(-1) === `0-${makes[0]}`));
      for (const at of [0, 1]) {
        const elected = heard(line[at + 1], 'elected', NEWS_MS);
        line[at].stop();
        await elected;
        const leader = `${at + 1}-${makes[at + 1]}`;
        await waitFor(`all to know that ${leader} leads`, () => line.slice(at + 2).every((member) => member.leaders.at(-1) === leader), NEWS_MS);
      }
      assert.deepEqual(line.map((member) => member.elections), [1, 1, 1]);
      line[2].stop();
      await waitFor('an empty election', async () => (await cluster.entries('/mixed', 'v2')).length === 0);
    });
  }
}
