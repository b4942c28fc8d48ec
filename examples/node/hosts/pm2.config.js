// PM2 runs two candidates, of which one leads, here and on each further host. At the top of the repository, with pm2
// installed:
//
//     make node
//     ETCD=http://127.0.0.1:2379 pm2-runtime start examples/node/hosts/pm2.config.js
//
// PM2 sends SIGINT, for which campaign.js gives its place up, and SIGKILL after kill_timeout.
'use strict';

const path = require('node:path');

const { ETCD, TTL = '30' } = process.env;

module.exports = {
  apps: [
    {
      name: 'candidate',
      script: '/bin/sh',
      args: ['-c', `exec node campaign.js ${ETCD} /pm2 "$(uname -n)-$$" ${TTL}`],
      interpreter: 'none',
      cwd: path.join(__dirname, '..'),
      exec_mode: 'fork',
      instances: 2,
      // Longer than the work takes to end.
      kill_timeout: 10000,
    },
  ],
};
