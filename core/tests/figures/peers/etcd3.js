// npm etcd3: see README.md. Its observer tells who leads, but not who led before it began; so this program asks for that.
'use strict';

const { Etcd3 } = require('etcd3');
const lines = require('./lines');

let client;

lines((key, name, hear) => {
  client ??= new Etcd3({ hosts: process.argv[2] });
  const election = client.election(key, 10);
  const campaign = election.campaign(name);
  let leads = false;
  const fail = (error) => { throw error; };
  campaign.on('elected', () => {
    leads = true;
    hear('elected');
  });
  campaign.on('error', fail);
  const observer = election.observe();
  observer.then((watch) => {
    let isKnown = false;
    const heard = (leader) => {
      if (!leader) return;
      isKnown = true;
      if (leader !== name) hear('leader', leader);
    };
    const ask = () => election.leader().then((leader) => {
      if (!isKnown) heard(leader);
      if (!isKnown) setTimeout(ask, 100);
    }, fail);
    watch.on('change', heard);
    watch.on('error', fail);
    ask();
  }, fail);
  return {
    isLeader: () => leads,
    stop: () => {
      campaign.resign().catch(fail);
      observer.then((watch) => watch.cancel());
    },
  };
});
