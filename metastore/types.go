package metastore

import (
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
)

// BrokerID is Kafka's node id: stable over restarts, unique in a cluster.
type BrokerID int32

// Session is one life of a broker: the mod_revision of its key in the metadata
// store. It is the fencing token of everything the broker writes. 0 is none.
type Session int64

// Epoch is a leader epoch: one ownership of a partition. The first is 0.
type Epoch int32

// Broker is the value of brokers/<id>, put once per session.
type Broker struct {
	ID          BrokerID   `json:"id"`
	Incarnation string     `json:"incarnation"`        // a new one for each registration, for logs
	Identity    string     `json:"identity,omitempty"` // of its data folder: the same after a restart, another on another disk
	Listeners   []Listener `json:"listeners"`
	Rack        string     `json:"rack,omitempty"`
	Version     string     `json:"version"`
	StartedAt   time.Time  `json:"started_at"`

	Session Session `json:"-"` // from the key's mod_revision
}

// InternalListener is the name of the listener by which the processes of a cluster
// reach a broker: what one asks there is answered for that broker alone, and no
// client's limits hold.
const InternalListener = "INTERNAL"

// Listener is one advertised address of a broker.
type Listener struct {
	Name string `json:"name"` // PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL, INTERNAL
	Host string `json:"host"`
	Port int32  `json:"port"`
}

// Member is the value of compactors/<id> and queries/<id>, leased.
type Member struct {
	ID        string    `json:"id"`
	Address   string    `json:"address,omitempty"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
}

// Topic is the value of topics/<name>.
type Topic struct {
	Name       string            `json:"name"`
	ID         topic.ID          `json:"id"`
	Partitions int32             `json:"partitions"`
	Replicas   int16             `json:"replicas"`             // as asked for; durability comes from the bucket
	Config     map[string]string `json:"config,omitempty"`     // only what was set, canonical keys
	Durability int64             `json:"durability,omitempty"` // counts the changes of that setting; see PartitionView.AckedInBucket
	CreatedAt  time.Time         `json:"created_at"`

	ModRevision int64 `json:"-"`
}

// EpochStart is the first offset of a leader epoch. The end of an epoch is the
// smallest start of any later one.
type EpochStart struct {
	Epoch Epoch `json:"epoch"`
	First int64 `json:"first"`
}

// Owner is the value of owners/<topic-id>/<partition>.
type Owner struct {
	Broker  BrokerID     `json:"broker"`  // -1: released
	Session Session      `json:"session"` // of the broker that owns it; 0: released
	Epoch   Epoch        `json:"epoch"`   // of the current or last ownership
	Starts  []EpochStart `json:"starts"`  // of all epochs, rising
	// Durability is the topic's as the ownership began under durability=object; -1
	// if records may be in it that were acknowledged under another.
	Durability int64 `json:"durability,omitempty"`

	ModRevision int64 `json:"-"`
}

// NoBroker is the Broker of an Owner that has been released.
const NoBroker BrokerID = -1

// SharedNode is the node that clients see when brokers are behind one address. No
// broker has that id.
const SharedNode BrokerID = 1_000_000_000

// Segment is the value of segments/<ulid> and its parts: what one flush committed.
type Segment struct {
	ID       string // ULID
	Object   string
	Size     int64
	Broker   BrokerID
	Session  Session
	Sequence int64 // of the broker's commits in this session, from 1
	Ranges   []SegmentRange
}

// SegmentRange is the part of a segment that belongs to one partition.
type SegmentRange struct {
	Partition    topic.Partition
	Epoch        Epoch
	First, Next  int64 // offsets [First, Next)
	Position     int64 // bytes from the start of the object
	Length       int64 // bytes
	MaxTimestamp int64 // ms since the epoch; -1 when no record has one
}

// Marks are a partition's progress: everything below a mark has been rewritten
// into files of that kind. All are offsets and start at the log start.
type Marks struct {
	Log      int64 `json:"log"`
	Columnar int64 `json:"columnar"`
	Text     int64 `json:"text"`
	Vector   int64 `json:"vector"`
}

// ManifestRef is the value of manifests/<topic-id>/<partition>: where the
// partition's manifest lies, and the few numbers that readers need at once.
type ManifestRef struct {
	Object   string `json:"object,omitempty"` // empty: no file yet
	Position int64  `json:"position"`         // of the partition's section in the object
	Length   int64  `json:"length"`
	Version  int64  `json:"version"` // counts the swaps of this partition, from 1
	LogStart int64  `json:"log_start"`
	Marks    Marks  `json:"marks"`

	ModRevision int64 `json:"-"` // 0: the key does not exist yet
}

// Deletion is the value of deletions/<object>, or of deletions/<prefix>/ for all
// objects of a topic; NotBefore is when that was deleted then.
type Deletion struct {
	Object    string    `json:"object"`
	NotBefore time.Time `json:"not_before"`

	ModRevision int64 `json:"-"`
}
