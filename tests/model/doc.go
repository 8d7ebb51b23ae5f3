// Package model is the cluster's protocol as small nondeterministic systems that
// are searched whole: every interleaving of brokers, compactors, crashes, lapsed
// leases, late, lost and repeated messages, within bounds.
//
// It shows two things. As designed, nothing acknowledged is lost, no offset is
// given twice, nothing is doubled. And each condition of the design is needed:
// switch one off, and the search finds the way to a flaw, printed a step a line.
//
// Four systems share one search (check.go): the log of a partition with its
// owners (log.go), the files of a write-ahead log (wal.go), coordinators of
// groups (coordinator.go), compaction with its objects (compaction.go). The
// conditions are named in conditions.go, and the code that keeps them carries
// the same names.
package model
