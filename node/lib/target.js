'use strict';

// The platform that a binary is for, as its file is named: etcd-leader.linux-x64-gnu.node.

/** The C library: a binary for one does not load with the other. */
function libc() {
  if (process.platform !== 'linux') return '';
  const { report } = process;
  if (!report) return 'gnu';
  // Else it asks for the name of the peer of every open socket, and waits for the answers.
  const before = report.excludeNetwork;
  report.excludeNetwork = true;
  const { glibcVersionRuntime } = report.getReport().header;
  report.excludeNetwork = before;
  return glibcVersionRuntime ? 'gnu' : 'musl';
}

function parts() {
  return [process.platform, process.arch, libc()].filter(Boolean);
}

const fileName = () => `etcd-leader.${parts().join('-')}.node`;

/** For people. */
function words() {
  const [platform, arch, library] = parts();
  const libraries = { gnu: ' with glibc', musl: ' with musl or another libc' };
  return `${platform} ${arch}${libraries[library] ?? ''}`;
}

module.exports = { fileName, words };
