package model

// Condition is a rule that the protocol rests on. The code that keeps it carries
// its name in brackets, as "[release-after-flush]".
type Condition string

// The conditions. Each is switched off in a test, and the model has to find a flaw.
const (
	// Committing.
	SessionCompare Condition = "session-compare" // a commit holds only under the session that gave its offsets
	CommitSequence Condition = "commit-sequence" // a session's commits apply once and in order

	// Ownership.
	ReleaseAfterFlush     Condition = "release-after-flush"     // an owner releases when all its commits are known to be applied
	OwnerCompare          Condition = "owner-compare"           // take and release replace the ownership that was seen
	DoubtedReleaseRetakes Condition = "doubted-release-retakes" // who does not know whether it released takes again, with a new epoch
	NewSessionEmpty       Condition = "new-session-empty"       // a session starts with no ownership and no segment to send
	OneRevision           Condition = "one-revision"            // "its session is gone" and the next offset are read together
	TopicExists           Condition = "topic-exists"            // a deleted topic gets no keys again

	// The write-ahead log, and what is left in it after a takeover.
	WALGeneration     Condition = "wal-generation"     // recovery reads frames of one generation of a file
	RecoverySync      Condition = "recovery-sync"      // what recovery keeps is on the disk before it counts
	EpochCommitted    Condition = "epoch-committed"    // a frame is in the log if it lies below the start of every later epoch
	SalvageAsNew      Condition = "salvage-as-new"     // what was overtaken is appended again
	SalvageIdempotent Condition = "salvage-idempotent" // and only once

	// Coordinators.
	SlotCompare Condition = "slot-compare" // a coordinator writes only while the slot is its own
	KeyCompare  Condition = "key-compare"  // and replaces the value that it has seen

	// Compaction.
	ManifestCompare Condition = "manifest-compare" // a pass replaces the manifest that it has read
	OwnNames        Condition = "own-names"        // an attempt uses names that no other attempt has or will have
	AttemptsEnd     Condition = "attempts-end"     // an attempt gives up before its objects count as orphans
)

// Conditions are all of them.
var Conditions = []Condition{
	SessionCompare, CommitSequence,
	ReleaseAfterFlush, OwnerCompare, DoubtedReleaseRetakes, NewSessionEmpty, OneRevision, TopicExists,
	WALGeneration, RecoverySync, EpochCommitted, SalvageAsNew, SalvageIdempotent,
	SlotCompare, KeyCompare,
	ManifestCompare, OwnNames, AttemptsEnd,
}

// design is the set of conditions that hold: all but one at most.
type design struct{ without Condition }

func (d design) holds(c Condition) bool { return d.without != c }
