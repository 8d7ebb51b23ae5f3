package dynamicconfig

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topicconfig"
)

func TestEveryKeyIsNamedOnceDescribedAndItsDefaultAllowed(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys() {
		require.False(t, seen[k.Name], k.Name)
		seen[k.Name] = true
		require.NotEmpty(t, k.Doc, k.Name)
		require.NotZero(t, k.Type, k.Name)
		canonical, refused := k.check(k.Default)
		require.Empty(t, refused, k.Name)
		require.Equal(t, k.Default, canonical, k.Name)
		require.False(t, k.PerBroker && !k.Alterable && k.Topic == "", k.Name)
	}
}

func TestWhatIsNotActedOnCannotBeAltered(t *testing.T) {
	for _, k := range Keys() {
		topic, ok := topicconfig.Lookup(k.Topic)
		if !ok {
			continue
		}
		require.Equal(t, topic.Effect == topicconfig.Active, k.Alterable, k.Name)
		require.Equal(t, k.Name, topic.Broker)
	}
	_, err := Validate(map[string]string{"min.insync.replicas": "2"})
	require.Error(t, err)
}

func TestValidateNamesKeyValueAndWhatIsAllowed(t *testing.T) {
	for _, test := range []struct{ key, value, want string }{
		{"log.retention.ms", "soon", `broker config log.retention.ms: value "soon" is not allowed: it must be an integer`},
		{"auto.create.topics.enable", "yes", "exactly true or false"},
		{"num.partitions", "0", "from 1 to"},
		{"default.replication.factor", "40000", "from 1 to 32767"},
		{"log.retention.msec", "1", `"log.retention.msec" is unknown; did you mean "log.retention.ms"?`},
		{"retention.ms", "1", "unknown"}, // a topic's name for it
	} {
		_, err := Validate(map[string]string{test.key: test.value})
		var refused *Error
		require.True(t, errors.As(err, &refused), "%s=%s: %v", test.key, test.value, err)
		require.Contains(t, err.Error(), test.want)
	}
	set, err := Validate(map[string]string{"log.retention.ms": " 5 ", "log.cleanup.policy": "compact, delete"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"log.retention.ms": "5", "log.cleanup.policy": "compact,delete"}, set)
}

func TestTopicDefaultsLeaveOutWhatCannotBeRead(t *testing.T) {
	require.Equal(t, topicconfig.Defaults{"retention.ms": "5"}, TopicDefaults(map[string]string{
		"log.retention.ms": "5", "message.max.bytes": "many", "num.partitions": "3", "no.such.key": "1", "min.insync.replicas": "2",
	}))
}

func TestTheStrongestSetDecides(t *testing.T) {
	value, ok := Value("num.partitions", nil, map[string]string{"num.partitions": "x"}, map[string]string{"num.partitions": "3"}, map[string]string{"num.partitions": "4"})
	require.True(t, ok)
	require.Equal(t, "3", value)
	_, ok = Value("num.partitions")
	require.False(t, ok)
}

func FuzzValidateIsStable(f *testing.F) {
	f.Add("log.retention.ms", "5")
	f.Add("compression.type", "zstd")
	f.Add("log.cleanup.policy", "delete, compact")
	f.Fuzz(func(t *testing.T, key, value string) {
		TopicDefaults(map[string]string{key: value})
		set, err := Validate(map[string]string{key: value})
		if err != nil {
			if !strings.Contains(err.Error(), "broker config") {
				t.Fatal(err)
			}
			return
		}
		again, err := Validate(set)
		require.NoError(t, err)
		require.Equal(t, set, again)
	})
}

func TestGroupKeysAreCheckedAloneAndTogether(t *testing.T) {
	for _, test := range []struct {
		set, others map[string]string
		want        string
	}{
		{map[string]string{"consumer.session.timeout": "1"}, nil, `did you mean "consumer.session.timeout.ms"?`},
		{map[string]string{GroupSession: "999"}, nil, "from 1000 to"},
		{map[string]string{GroupHeartbeat: "99"}, nil, "from 100 to"},
		{map[string]string{GroupHeartbeat: "x"}, nil, "an integer"},
		{map[string]string{GroupHeartbeat: "45000"}, nil, "less than consumer.session.timeout.ms, which is 45000"},
		{map[string]string{GroupSession: "5000"}, nil, "less than"},
		{map[string]string{GroupSession: "20000"}, map[string]string{GroupHeartbeat: "20000"}, "less than"},
	} {
		_, err := ValidateGroup(test.set, test.others)
		var refused *Error
		require.ErrorAs(t, err, &refused, "%v", test.set)
		require.Contains(t, err.Error(), test.want)
	}
	set, err := ValidateGroup(map[string]string{GroupSession: " 6000 ", GroupHeartbeat: "200"}, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]string{GroupSession: "6000", GroupHeartbeat: "200"}, set)
	set, err = ValidateGroup(nil, map[string]string{GroupHeartbeat: "90000"})
	require.NoError(t, err, "nothing set is no fault of the group")
	require.Empty(t, set)
	for _, k := range GroupKeys() {
		require.NotEmpty(t, k.Doc)
		ms, set := GroupValue(k.Name)
		require.False(t, set)
		require.Positive(t, ms)
	}
}
