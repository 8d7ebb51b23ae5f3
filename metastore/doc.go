// Package metastore is Chronik's metadata: topics, brokers and their sessions,
// who owns which partition, what has been committed, where the files lie.
//
// A Store keeps a Catalog, a complete picture in memory that follows the
// metadata store revision by revision, and offers the writes, each of which is
// one compare-and-swap transaction or a bounded number of them. Every write
// returns after the catalog of its own Store shows it, or after ctx ended.
//
// What holds the log together is fencing, and it rests on these rules:
//
//   - A broker's session is the mod_revision of its key. Commit, Take and
//     Release compare it, so nothing of a former life is ever applied.
//   - Commits of a session apply in order of their sequence, each at most once,
//     however late, repeated or reordered their transactions arrive.
//   - Take and Release compare the owner's mod_revision. A taker derives "the
//     owner is gone" and the next offset from one PartitionView, which is not
//     older than its own session.
//   - Whoever is in doubt whether a write was applied repeats the same
//     transaction until it or its twin is seen applied or can no longer be.
//     Looking alone proves only success: a lost write may still arrive.
//
// The package does not decide policy: who should own a partition, when to
// flush, what to compact. Nothing here reads or writes the object store.
package metastore
