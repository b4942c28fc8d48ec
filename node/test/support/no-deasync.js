'use strict';

// To be loaded before a program that uses node-etcd: its native module for *Sync calls is not compiled here.

const Module = require('node:module');

const load = Module._load;
Module._load = function loadAllBut(request, ...rest) {
  return request === 'deasync' ? {} : load.call(this, request, ...rest);
};
