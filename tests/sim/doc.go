// Package sim runs a whole cluster in one process, over virtual time and seams
// that fail: brokers, compactors, query nodes and clients, each with a metadata
// store, a bucket, a disk and a network that delay, lose, cut, tear and lie at the
// seed's word. Some plans have topics that live: whose records clients delete or
// go with time or by size, that are compacted by key, tombstones and all, or that
// are deleted and made again under the same name. Query nodes are asked in SQL for whole topics all the while; their engine
// takes time of the machine, and none of the world's. Topics that have a full-text
// index, or a vector index, are searched as well; the provider that embeds their records
// is slow, away, or lies, and the index is altered and made anew meanwhile. Members of both protocols, and
// of both in one group, join, leave, hang and vanish. What the clients were told
// is held against the promises by tests/history.
//
// Every call of a seam parks at one scheduler. When nothing in the process can go
// on by itself (synctest.Wait), the scheduler sorts what has come, draws for each
// call how long it takes and what goes wrong, and lets the one go that is due
// next; virtual time passes only there. So a run depends on its seed, and on what Go
// itself decides by chance, as which of several ready channels a select takes.
//
// An exact build takes that from Go as well (see tests/sim/exact): it comes out of a
// second number, the chance. A play of seed and chance is the same each time, call
// by call, on a busy machine and with a trace as without; TestASeedReplays holds it
// to that. Seeds that are played with chance 1 are the rule:
//
//	make sim                          # new seeds for a minute
//	make sim SEED=42 CHANCE=1 TRACE=1 # one of them again, exactly, with the logs of all
//	make sim SEED=42 SIM=10m          # one seed, with chance 1, 2, 3 ... until it fails
//
// It compiles all of Go and of the product once, some minutes. What every change is
// tested with is the ordinary build, which needs none of that:
//
//	go test ./tests/sim -run TestTheClusterKeepsItsPromises -sim.seed=42 -sim.trace
//	go test ./tests/sim -run TestTheClusterKeepsItsPromises -sim.for=2h -timeout=0
//
// There two runs of a seed are alike at first, and part sooner or later. A seed that
// fails there may fail with chance 1 or not; the third line above finds one with
// which it does.
//
// The same binary gives the same play: after a change of the product, another one.
//
// What it cannot show: a real kernel, a real etcd, a real network, and anything
// that takes real time. That is for tests/crash.
package sim
