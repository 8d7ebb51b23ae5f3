package objstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/internal/topic"
)

// The layout of a cluster's part of the bucket, below Config.Prefix:
//
//	cluster.json (identity.go)
//	segments/<ulid>-<broker>-<session>.segment
//	segments/<ulid>-merged.segment
//	topics/<topic id>/<partition>/log/<ulid>.log
//	topics/<topic id>/<partition>/parquet/<ulid>.parquet
//	topics/<topic id>/<partition>/arrow/<ulid>.arrow
//	topics/<topic id>/<partition>/split/<ulid>.split
//	topics/<topic id>/<partition>/shard/<ulid>.shard
//	topics/<topic id>/<partition>/page/<ulid>.page
//	topics/<topic id>/<partition>/damaged/<first>-<next>-<ulid>.bytes
//	topics/<topic id>/iceberg/<ulid>.metadata.json
//	topics/<topic id>/iceberg/<ulid>.list.avro
//	topics/<topic id>/iceberg/<ulid>.manifest.avro
//	topics/<topic id>/iceberg/<ulid>-<masked>-<cut>.deletes.parquet
//	manifests/<ulid>.manifest
//
// A ULID names one attempt, so no name is ever used twice, and its time says
// how old an object is that no metadata names. This file is the only place that
// builds or reads such names.
const (
	SegmentPrefix  = "segments/"
	TopicPrefix    = "topics/"
	ManifestPrefix = "manifests/"
)

// Kind is what an object holds, as its name says.
type Kind string

// The kinds of objects. Each is also the extension of their names.
const (
	KindSegment  Kind = "segment"
	KindLog      Kind = "log"
	KindParquet  Kind = "parquet"
	KindArrow    Kind = "arrow"
	KindSplit    Kind = "split"
	KindShard    Kind = "shard"
	KindPage     Kind = "page" // of a manifest
	KindManifest Kind = "manifest"

	KindIcebergMetadata Kind = "metadata.json"
	KindIcebergList     Kind = "list.avro"
	KindIcebergManifest Kind = "manifest.avro"
	KindIcebergDeletes  Kind = "deletes.parquet"
)

// icebergFolder is where a topic's Iceberg metadata lies.
const icebergFolder = "iceberg/"

// merged stands where another segment's name has broker and session.
const merged = "merged"

// ErrName means: no object can have that name.
var ErrName = errors.New("invalid object name")

// NameBytesMax is the longest name that S3 takes.
const NameBytesMax = 1024

// Name is the meaning of an object's name. Fields that its kind does not have
// are zero.
type Name struct {
	Kind      Kind
	ID        ulid.ULID
	Broker    int32           // KindSegment
	Session   int64           // KindSegment: in which the offsets were given
	Merged    bool            // KindSegment: a compactor made it of several; it has no broker and no session
	Partition topic.Partition // KindLog, KindParquet, KindArrow, KindSplit, KindShard, KindPage
	Topic     topic.ID        // of Iceberg's
	Masked    int64           // KindIcebergDeletes: rows that masks take out of the data file
	Cut       int64           // KindIcebergDeletes: the log start, where that lies in the data file
}

// SegmentName names a segment of a broker's session.
func SegmentName(broker int32, session int64, id ulid.ULID) string {
	return Name{Kind: KindSegment, ID: id, Broker: broker, Session: session}.String()
}

// MergedSegmentName names a segment that a compactor made of others.
func MergedSegmentName(id ulid.ULID) string {
	return Name{Kind: KindSegment, ID: id, Merged: true}.String()
}

// LogFileName names a log file of a partition.
func LogFileName(p topic.Partition, id ulid.ULID) string {
	return Name{Kind: KindLog, ID: id, Partition: p}.String()
}

// ParquetName names a Parquet file of a partition.
func ParquetName(p topic.Partition, id ulid.ULID) string {
	return Name{Kind: KindParquet, ID: id, Partition: p}.String()
}

// ArrowName names an Arrow IPC file of a partition.
func ArrowName(p topic.Partition, id ulid.ULID) string {
	return Name{Kind: KindArrow, ID: id, Partition: p}.String()
}

// SplitName names a split, a full-text index, of a partition.
func SplitName(p topic.Partition, id ulid.ULID) string {
	return Name{Kind: KindSplit, ID: id, Partition: p}.String()
}

// ShardName names a shard, an index of embeddings, of a partition.
func ShardName(p topic.Partition, id ulid.ULID) string {
	return Name{Kind: KindShard, ID: id, Partition: p}.String()
}

// PageName names a page of a partition's manifest.
func PageName(p topic.Partition, id ulid.ULID) string {
	return Name{Kind: KindPage, ID: id, Partition: p}.String()
}

// DamagedName names the damaged bytes of offsets that are lost. ParseName does
// not know it: no sweep takes such an object, it goes with its topic.
func DamagedName(p topic.Partition, first, next int64, id ulid.ULID) string {
	return fmt.Sprintf("%sdamaged/%d-%d-%s.bytes", PartitionPrefix(p), first, next, id)
}

// IcebergName names an object of a topic's Iceberg metadata.
func IcebergName(id topic.ID, kind Kind, object ulid.ULID) string {
	return Name{Kind: kind, ID: object, Topic: id}.String()
}

// IcebergDeletesName names a file of the rows of a data file that are no more.
func IcebergDeletesName(id topic.ID, object ulid.ULID, masked, cut int64) string {
	return Name{Kind: KindIcebergDeletes, ID: object, Topic: id, Masked: masked, Cut: cut}.String()
}

// ManifestName names a manifest object, which may hold many partitions.
func ManifestName(id ulid.ULID) string {
	return Name{Kind: KindManifest, ID: id}.String()
}

// PartitionPrefix begins the names of all objects of one partition alone.
func PartitionPrefix(p topic.Partition) string {
	return fmt.Sprintf("%s%s/%d/", TopicPrefix, p.Topic, p.Index)
}

// PrefixOfTopic begins the names of all objects of one topic alone.
func PrefixOfTopic(id topic.ID) string { return TopicPrefix + id.String() + "/" }

// ParseTopicPrefix is the inverse of PrefixOfTopic. Errors: ErrName.
func ParseTopicPrefix(prefix string) (topic.ID, error) {
	id, err := topic.ParseID(strings.TrimSuffix(strings.TrimPrefix(prefix, TopicPrefix), "/"))
	if err == nil && PrefixOfTopic(id) != prefix {
		err = errors.New("not in its canonical form")
	}
	if err != nil {
		return id, fmt.Errorf("%w: prefix %q: %w", ErrName, prefix, err)
	}
	return id, nil
}

// OfIceberg reports that the object belongs to the Iceberg table of n.Topic.
func (n Name) OfIceberg() bool { return !n.Topic.IsZero() }

// OfPartition reports that the object belongs to one partition alone.
func (n Name) OfPartition() bool { return !n.Partition.Topic.IsZero() }

// String builds the object's name; ParseName is its inverse.
func (n Name) String() string {
	switch n.Kind {
	case KindSegment:
		if n.Merged {
			return fmt.Sprintf("%s%s-%s.%s", SegmentPrefix, n.ID, merged, n.Kind)
		}
		return fmt.Sprintf("%s%s-%d-%d.%s", SegmentPrefix, n.ID, n.Broker, n.Session, n.Kind)
	case KindManifest:
		return fmt.Sprintf("%s%s.%s", ManifestPrefix, n.ID, n.Kind)
	case KindIcebergMetadata, KindIcebergList, KindIcebergManifest:
		return fmt.Sprintf("%s%s%s.%s", PrefixOfTopic(n.Topic), icebergFolder, n.ID, n.Kind)
	case KindIcebergDeletes:
		return fmt.Sprintf("%s%s%s-%d-%d.%s", PrefixOfTopic(n.Topic), icebergFolder, n.ID, n.Masked, n.Cut, n.Kind)
	default:
		return fmt.Sprintf("%s%s/%s.%s", PartitionPrefix(n.Partition), n.Kind, n.ID, n.Kind)
	}
}

// Created is when the attempt that wrote the object began, to the millisecond,
// by the writer's clock.
func (n Name) Created() time.Time { return ulid.Time(n.ID.Time()) }

// ParseName reads a name that one of the functions above built. Anything else
// is ErrName: a sweep must leave alone what it does not know.
func ParseName(name string) (Name, error) {
	n, err := parseName(name)
	if err == nil && n.String() != name {
		err = errors.New("not in its canonical form")
	}
	if err != nil {
		return Name{}, fmt.Errorf("%w: %q: %w", ErrName, name, err)
	}
	return n, nil
}

func parseName(name string) (n Name, err error) {
	directory, file := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		directory, file = name[:i+1], name[i+1:]
	}
	stem, extension, _ := strings.Cut(file, ".")
	n.Kind = Kind(extension)
	id, rest, _ := strings.Cut(stem, "-")
	if n.ID, err = ulid.ParseStrict(id); err != nil {
		return n, err
	}
	switch n.Kind {
	case KindSegment:
		if rest == merged {
			n.Merged = true
			return n, nil
		}
		// A broker's id may be negative in no cluster, so "-" only separates.
		broker, session, _ := strings.Cut(rest, "-")
		b, errB := strconv.ParseInt(broker, 10, 32)
		s, errS := strconv.ParseInt(session, 10, 64)
		n.Broker, n.Session = int32(b), s
		return n, errors.Join(errB, errS)
	case KindManifest:
		return n, nil
	case KindIcebergMetadata, KindIcebergList, KindIcebergManifest, KindIcebergDeletes:
		if n.Topic, err = ParseTopicPrefix(strings.TrimSuffix(directory, icebergFolder)); err != nil || n.Kind != KindIcebergDeletes {
			return n, err
		}
		masked, cut, _ := strings.Cut(rest, "-")
		m, errM := strconv.ParseInt(masked, 10, 64)
		c, errC := strconv.ParseInt(cut, 10, 64)
		n.Masked, n.Cut = m, c
		return n, errors.Join(errM, errC)
	case KindLog, KindParquet, KindArrow, KindSplit, KindShard, KindPage:
		n.Partition, err = parsePartition(directory)
		return n, err
	default:
		return n, fmt.Errorf("unknown kind %q", extension)
	}
}

// parsePartition reads "topics/<id>/<index>/…".
func parsePartition(directory string) (topic.Partition, error) {
	id, rest, _ := strings.Cut(strings.TrimPrefix(directory, TopicPrefix), "/")
	index, _, _ := strings.Cut(rest, "/")
	t, err := topic.ParseID(id)
	if err != nil {
		return topic.Partition{}, err
	}
	i, err := strconv.ParseInt(index, 10, 32)
	return topic.Partition{Topic: t, Index: int32(i)}, err
}

// ValidateName says whether every Bucket can hold an object of that name: a
// relative path of non-empty parts, none of them "." or "..", without control
// characters and backslashes.
func ValidateName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrName)
	case len(name) > NameBytesMax:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrName, len(name), NameBytesMax)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %q is not UTF-8", ErrName, name)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == '\\' {
			return fmt.Errorf("%w: %q holds %q", ErrName, name, r)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%w: %q has a part %q", ErrName, name, part)
		}
	}
	return nil
}
