package dynamicconfig

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/suggest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// GroupKey is one configuration key of a group.
type GroupKey struct {
	Name    string
	Type    topicconfig.Type
	Default string // when no broker's setting says
	Broker  string // the broker's setting that holds for groups which do not say
	Doc     string
}

// The keys of groups. Both are times of the consumer protocol (KIP-848).
const (
	GroupSession   = "consumer.session.timeout.ms"
	GroupHeartbeat = "consumer.heartbeat.interval.ms"
)

// GroupKeys returns the keys of groups, sorted by name.
func GroupKeys() []GroupKey {
	return []GroupKey{
		{Name: GroupHeartbeat, Type: topicconfig.Int, Default: "5000", Broker: "group.consumer.heartbeat.interval.ms",
			Doc: "How long members of the consumer protocol wait between heartbeats. Allowed: at least 100 ms, and less than " + GroupSession + "."},
		{Name: GroupSession, Type: topicconfig.Int, Default: "45000", Broker: "group.consumer.session.timeout.ms",
			Doc: "How long a member of the consumer protocol may be silent. Allowed: at least 1000 ms."},
	}
}

// LookupGroup finds a key of groups.
func LookupGroup(name string) (GroupKey, error) {
	keys := GroupKeys()
	i := slices.IndexFunc(keys, func(k GroupKey) bool { return k.Name == name })
	if i < 0 {
		return GroupKey{}, &Error{"group", name, fmt.Sprintf("%q is unknown%s", name, suggest.Hint(name, []string{GroupHeartbeat, GroupSession}))}
	}
	return keys[i], nil
}

// ValidateGroup checks what is set on a group, over what holds for groups that
// do not say, and returns the set as it is to be stored.
func ValidateGroup(set, others map[string]string) (map[string]string, error) {
	canonical := make(map[string]string, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if _, err := LookupGroup(name); err != nil {
			return nil, err
		}
		least := int64(100)
		if name == GroupSession {
			least = 1000
		}
		ms, err := strconv.ParseInt(strings.TrimSpace(set[name]), 10, 32)
		if err != nil || ms < least {
			return nil, &Error{"group", name, fmt.Sprintf("%s: value %q is not allowed: it must be an integer from %d to %d", name, set[name], least, math.MaxInt32)}
		}
		canonical[name] = strconv.FormatInt(ms, 10)
	}
	heartbeat, _ := GroupValue(GroupHeartbeat, canonical, others)
	session, _ := GroupValue(GroupSession, canonical, others)
	if len(canonical) > 0 && heartbeat >= session {
		return nil, &Error{"group", GroupHeartbeat, fmt.Sprintf("%s: value \"%d\" is not allowed: it must be less than %s, which is %d", GroupHeartbeat, heartbeat, GroupSession, session)}
	}
	return canonical, nil
}

// GroupValue is what a key has in the first of the sets that give it a value
// which can be read, else its default; set says whether one did.
func GroupValue(name string, sets ...map[string]string) (ms int64, set bool) {
	for _, s := range sets {
		if ms, err := strconv.ParseInt(s[name], 10, 32); err == nil && ms > 0 {
			return ms, true
		}
	}
	for _, k := range GroupKeys() {
		if k.Name == name {
			ms, _ = strconv.ParseInt(k.Default, 10, 32)
		}
	}
	return ms, false
}
