'use strict';

// Candidates of a test: what each hears, in order, and what is so while it hears it.

const etcdLeader = require('../..');

const EVENTS = ['elected', 'unelected', 'leader', 'leaderless', 'retrying', 'error'];

/** Elections that are stopped when the test has ended. */
class Fleet {
  constructor(t) {
    this.all = [];
    t.after(async () => {
      for (const election of this.all) election.stop();
      await Promise.allSettled(this.all.map((election) => election.stopped()));
    });
  }

  /** A candidate that is not started yet; its `log` holds [event, argument, isLeader(), at]. */
  candidate(etcd, key, name, options) {
    const election = etcdLeader(etcd, key, name, options);
    election.log = [];
    for (const event of EVENTS) {
      election.on(event, (argument) => election.log.push([event, argument, election.isLeader(), performance.now()]));
    }
    this.all.push(election);
    return election;
  }
}

/** The names of the events that were heard, without what is retried. */
const names = (election) => election.log.map(([event]) => event).filter((event) => event !== 'retrying');

module.exports = { Fleet, names };
