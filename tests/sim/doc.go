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
// next; virtual time passes only there. So a run depends on its seed, and a seed
// that fails can be run again and looked at:
//
//	go test ./tests/sim -run TestTheClusterKeepsItsPromises -sim.seed=42 -sim.trace
//	go test ./tests/sim -run TestTheClusterKeepsItsPromises -sim.for=2h -timeout=0
//
// Go itself decides some things by chance, as which of several ready channels a
// select takes, and so does the Kafka client of the query nodes. So hardly ever, and more often on a busy machine, two runs of a
// seed differ; then it helps to run the seed a few times.
//
// What it cannot show: a real kernel, a real etcd, a real network, and anything
// that takes real time. That is for tests/crash.
package sim
