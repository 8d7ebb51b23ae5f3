package metastore

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/topic"
)

// The directories of the key space, below the cluster's root. This file is the
// only one that knows how a key is spelled.
const (
	dirBrokers    = "brokers/"
	dirCommits    = "commits/"
	dirTopics     = "topics/"
	dirTopicIDs   = "topic-ids/"
	dirOwners     = "owners/"
	dirSegments   = "segments/"
	dirManifests  = "manifests/"
	dirCompactors = "compactors/"
	dirQueries    = "queries/"
	dirDeletions  = "deletions/"
	dirConfig     = "config/"
	dirQuotas     = "quotas/"
	dirDraining   = "draining/"
	dirSlots      = "slots/"
	dirIceberg    = "iceberg/"
	dirDamaged    = "damaged/"
	dirVectors    = "vectors/"

	nameProducerIDs    = "producer-ids"
	nameTopicDeletions = "topic-deletions"
	nameBucket         = "bucket"
)

// The directories below the groups' root, which no catalog watches: groups that
// commit often would cost every node of the cluster, and concern one.
const (
	dirOffsets     = "offsets/"
	dirGroups      = "states/"
	dirGroupChunks = "chunks/"
)

// keys spells the keys of one cluster. Its value is the root, with the last slash.
type keys string

func keysOf(cluster string) (keys, error) {
	if cluster == "" || strings.ContainsAny(cluster, "/\x00") {
		return "", fmt.Errorf("cluster name %q: want a name without slashes", cluster)
	}
	return keys("/chronik/" + cluster + "/"), nil
}

func (k keys) under(dir string) string { return string(k) + dir }

// underGroups is a directory below the groups' root.
func (k keys) underGroups(dir string) string {
	return "/chronik-groups/" + strings.TrimPrefix(string(k), "/chronik/") + dir
}

func (k keys) broker(id BrokerID) string     { return k.under(dirBrokers) + id.String() }
func (k keys) commit(id BrokerID) string     { return k.under(dirCommits) + id.String() }
func (k keys) draining(id BrokerID) string   { return k.under(dirDraining) + id.String() }
func (k keys) topic(name string) string      { return k.under(dirTopics) + name }
func (k keys) topicID(id topic.ID) string    { return k.under(dirTopicIDs) + id.String() }
func (k keys) compactor(id string) string    { return k.under(dirCompactors) + id }
func (k keys) query(id string) string        { return k.under(dirQueries) + id }
func (k keys) lock(name string) string       { return k.under(name) }
func (k keys) deletion(object string) string { return k.under(dirDeletions) + object }
func (k keys) damage(object string) string   { return k.under(dirDamaged) + object }
func (k keys) slot(n int) string             { return k.under(dirSlots) + strconv.Itoa(n) }
func (k keys) iceberg(id topic.ID) string    { return k.under(dirIceberg) + id.String() }
func (k keys) vectors(id topic.ID) string    { return k.under(dirVectors) + id.String() }
func (k keys) producerIDs() string           { return k.under(nameProducerIDs) }
func (k keys) topicDeletions() string        { return k.under(nameTopicDeletions) }
func (k keys) bucket() string                { return k.under(nameBucket) }

func (k keys) owner(p topic.Partition) string    { return k.under(dirOwners) + p.String() }
func (k keys) manifest(p topic.Partition) string { return k.under(dirManifests) + p.String() }

// config is the key of a resource's configuration. Group ids are free text and
// are escaped.
func (k keys) config(r ConfigResource) string {
	name := url.PathEscape(r.Name)
	if r.Kind == ConfigBrokers && name == "" {
		name = nameAllBrokers
	}
	return k.under(dirConfig) + string(r.Kind) + "/" + name
}

// nameAllBrokers stands where another key has the id of one.
const nameAllBrokers = "default"

// parseConfig takes "<kind>/<name>" apart. Kinds of a later version are not known.
func parseConfig(rest string) (r ConfigResource, known bool, err error) {
	kind, escaped, _ := strings.Cut(rest, "/")
	r.Kind = ConfigKind(kind)
	switch r.Kind {
	case ConfigBrokers:
		if escaped == nameAllBrokers {
			return r, true, nil
		}
		id, err := parseBrokerID(escaped)
		r.Name = id.String()
		return r, true, err
	case ConfigGroups:
		if r.Name, err = url.PathUnescape(escaped); err != nil {
			err = fmt.Errorf("config key %q: %w", rest, err)
		}
		return r, true, err
	}
	return r, false, nil
}

// quota is the key of an entity's quotas.
func (k keys) quota(e QuotaEntity) string { return k.under(dirQuotas) + quotaName(e) }

// The parts of an entity, in the order in which its key names them.
const (
	quotaUser   = "user"
	quotaClient = "client-id"
	quotaIP     = "ip"
)

// quotaDefault stands for the default; escaping takes it from every name.
const quotaDefault = "*"

// quotaName is "user/<name>/client-id/<name>" with the parts that are given.
// Names are free text and are escaped.
func quotaName(e QuotaEntity) string {
	var parts []string
	for _, p := range []struct {
		kind string
		part QuotaPart
	}{{quotaUser, e.User}, {quotaClient, e.ClientID}, {quotaIP, e.IP}} {
		switch {
		case !p.part.Given:
		case p.part.Name == "":
			parts = append(parts, p.kind, quotaDefault)
		default:
			parts = append(parts, p.kind, url.PathEscape(p.part.Name))
		}
	}
	return strings.Join(parts, "/")
}

func parseQuota(rest string) (e QuotaEntity, err error) {
	parts := strings.Split(rest, "/")
	for i := 0; i+1 < len(parts); i += 2 {
		part := QuotaPart{Given: true}
		if parts[i+1] != quotaDefault {
			if part.Name, err = url.PathUnescape(parts[i+1]); err != nil {
				return e, fmt.Errorf("quota key %q: %w", rest, err)
			}
		}
		switch parts[i] {
		case quotaUser:
			e.User = part
		case quotaClient:
			e.ClientID = part
		case quotaIP:
			e.IP = part
		}
	}
	if quotaName(e) != rest || rest == "" {
		return e, fmt.Errorf("quota key %q: want user, client-id or ip, each with a name", rest)
	}
	return e, nil
}

// segment is the key of a segment's part; the first has no suffix.
func (k keys) segment(id string, part int) string {
	if part == 0 {
		return k.under(dirSegments) + id
	}
	return k.under(dirSegments) + id + "." + strconv.Itoa(part)
}

// ofSlot is the part of a groups' directory that belongs to a slot.
func (k keys) ofSlot(dir string, slot int) string {
	return k.underGroups(dir) + strconv.Itoa(slot) + "/"
}

// offsetsOf is the directory of a group's committed offsets. Group ids are free
// text and are escaped, so that no slash of theirs makes two groups meet.
func (k keys) offsetsOf(group string) string {
	return k.ofSlot(dirOffsets, SlotOf(group)) + url.PathEscape(group) + "/"
}

func (k keys) offsets(group string, b offsetBlock) string {
	return fmt.Sprintf("%s%s/%d", k.offsetsOf(group), b.Topic, b.Index)
}

// group is the key of a group's state, and groupChunks the directory of its rows.
func (k keys) group(group string) string {
	return k.ofSlot(dirGroups, SlotOf(group)) + url.PathEscape(group)
}

func (k keys) groupChunks(group string) string {
	return k.ofSlot(dirGroupChunks, SlotOf(group)) + url.PathEscape(group) + "/"
}

func (k keys) groupChunk(group string, copyNumber int64, chunk int) string {
	return fmt.Sprintf("%s%d/%d", k.groupChunks(group), copyNumber, chunk)
}

// split takes a key apart into its directory, with the slash, and the rest.
// A key directly under the root has the directory "".
func (k keys) split(key string) (dir, rest string) {
	rest = strings.TrimPrefix(key, string(k))
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[:i+1], rest[i+1:]
	}
	return "", rest
}

// String is the broker's id in keys, logs and metrics.
func (id BrokerID) String() string { return strconv.FormatInt(int64(id), 10) }

func parseBrokerID(s string) (BrokerID, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("broker id %q: want a number", s)
	}
	return BrokerID(n), nil
}

// parsePartition reads "<topic id>/<index>".
func parsePartition(s string) (topic.Partition, error) {
	id, index, found := strings.Cut(s, "/")
	if !found {
		return topic.Partition{}, fmt.Errorf("partition %q: want <topic id>/<index>", s)
	}
	t, err := topic.ParseID(id)
	if err != nil {
		return topic.Partition{}, err
	}
	n, err := strconv.ParseInt(index, 10, 32)
	if err != nil || n < 0 {
		return topic.Partition{}, fmt.Errorf("partition %q: want <topic id>/<index>", s)
	}
	return topic.Partition{Topic: t, Index: int32(n)}, nil
}

// segmentID is the segment that a part's key, without its directory, belongs to.
func segmentID(rest string) string {
	id, _, _ := strings.Cut(rest, ".")
	return id
}

// parseOffsets takes the key of a block of offsets apart.
func (k keys) parseOffsets(key string) (group string, b offsetBlock, err error) {
	parts := strings.Split(strings.TrimPrefix(key, k.underGroups(dirOffsets)), "/")
	if len(parts) != 4 {
		return "", b, fmt.Errorf("offsets key %q: want <slot>/<group>/<topic id>/<block>", key)
	}
	if group, err = url.PathUnescape(parts[1]); err != nil {
		return "", b, fmt.Errorf("offsets key %q: %w", key, err)
	}
	if b.Topic, err = topic.ParseID(parts[2]); err != nil {
		return "", b, fmt.Errorf("offsets key %q: %w", key, err)
	}
	n, err := strconv.ParseInt(parts[3], 10, 32)
	if err != nil || n < 0 {
		return "", b, fmt.Errorf("offsets key %q: block %q is no number", key, parts[3])
	}
	b.Index = int32(n)
	return group, b, nil
}
