"""PyInstaller finds no library that is loaded with ctypes by a name made at run time: this one goes along."""

from PyInstaller.utils.hooks import collect_dynamic_libs  # type: ignore[import-untyped, import-not-found, unused-ignore]

binaries = collect_dynamic_libs("etcd_leader", search_patterns=["libetcd_leader.so*"])
