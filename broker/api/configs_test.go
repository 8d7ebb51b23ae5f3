package api_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// described is one resource's configuration by key.
func described(t testing.TB, s *server, kind kmsg.ConfigResourceType, name string, keys ...string) (map[string]kmsg.DescribeConfigsResponseResourceConfig, int16) {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: keys}}
	resource := ask[*kmsg.DescribeConfigsResponse](t, s, 4, req).Resources[0]
	configs := make(map[string]kmsg.DescribeConfigsResponseResourceConfig)
	for _, c := range resource.Configs {
		require.NotContains(t, configs, c.Name)
		configs[c.Name] = c
		require.NotNil(t, c.Value, c.Name)
		require.Positive(t, c.Source, c.Name)
		require.NotZero(t, c.ConfigType, c.Name)
		require.NotEmpty(t, *c.Documentation, c.Name)
		require.NotEmpty(t, c.ConfigSynonyms, c.Name)
		require.Equal(t, c.Source, c.ConfigSynonyms[0].Source, "%s: the first synonym is the one in force", c.Name)
		require.Equal(t, c.Value, c.ConfigSynonyms[0].Value, c.Name)
	}
	return configs, resource.ErrorCode
}

// set sets one key, or deletes it for an empty value.
func set(t testing.TB, s *server, kind kmsg.ConfigResourceType, name, key, value string) int16 {
	t.Helper()
	change := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Value: &value}
	if value == "" {
		change.Op, change.Value = kmsg.IncrementalAlterConfigOpDelete, nil
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
		ResourceType: kind, ResourceName: name, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{change},
	}}
	resp := ask[*kmsg.IncrementalAlterConfigsResponse](t, s, 1, req).Resources[0]
	if resp.ErrorCode != 0 {
		require.NotEmpty(t, *resp.ErrorMessage)
	}
	return resp.ErrorCode
}

const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker
)

func TestDescribeConfigsTellsWhereAValueComesFrom(t *testing.T) { // kafka-ui, AKHQ and Terraform compare by it
	s := serve(t, api.Config{TopicDefaults: topicconfig.Defaults{"max.message.bytes": "3000"}})
	s.topic(t, "t", 1, map[string]string{"max.message.bytes": "1000"})
	const dynamicTopic, dynamicBroker, dynamicDefault, static, ofDefault = 1, 2, 3, 4, 5
	require.Zero(t, set(t, s, ofBroker, "", "message.max.bytes", "2500"))
	require.Zero(t, set(t, s, ofBroker, "7", "message.max.bytes", "2000"))

	configs, code := described(t, s, ofTopic, "t", make([]string, 0)...)
	require.Zero(t, code)
	require.Len(t, configs, len(topicconfig.Keys()), "no names ask for all")
	configs, _ = described(t, s, ofTopic, "t")
	require.Len(t, configs, len(topicconfig.Keys()), "null names ask for all")
	var chain []string
	for _, synonym := range configs["max.message.bytes"].ConfigSynonyms {
		chain = append(chain, synonym.Name+"="+*synonym.Value+" "+synonym.Source.String())
	}
	require.Equal(t, []string{
		"max.message.bytes=1000 DYNAMIC_TOPIC_CONFIG", "message.max.bytes=2000 DYNAMIC_BROKER_CONFIG",
		"message.max.bytes=2500 DYNAMIC_DEFAULT_BROKER_CONFIG", "message.max.bytes=3000 STATIC_BROKER_CONFIG",
		"message.max.bytes=1048588 DEFAULT_CONFIG",
	}, chain)
	require.False(t, configs["max.message.bytes"].ReadOnly)
	require.EqualValues(t, ofDefault, configs["retention.ms"].Source)

	for _, step := range []struct {
		undo   func() int16
		value  string
		source int8
	}{
		{func() int16 { return set(t, s, ofTopic, "t", "max.message.bytes", "") }, "2000", dynamicBroker},
		{func() int16 { return set(t, s, ofBroker, "7", "message.max.bytes", "") }, "2500", dynamicDefault},
		{func() int16 { return set(t, s, ofBroker, "", "message.max.bytes", "") }, "3000", static},
	} {
		require.Zero(t, step.undo())
		configs, _ = described(t, s, ofTopic, "t", "max.message.bytes")
		require.Len(t, configs, 1)
		require.Equal(t, step.value, *configs["max.message.bytes"].Value)
		require.EqualValues(t, step.source, configs["max.message.bytes"].Source)
	}
}

func TestDescribeConfigsFailsByResource(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range []string{"missing", "t", "", "a b"} {
		req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: ofTopic, ResourceName: name, ConfigNames: []string{"retention.ms", "no.such.key"}})
	}
	for _, name := range []string{"8", "x"} {
		req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: ofBroker, ResourceName: name})
	}
	req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: 99})
	resp := ask[*kmsg.DescribeConfigsResponse](t, s, 4, req)
	invalid := kerr.InvalidTopicException.Code
	for i, code := range []int16{kerr.UnknownTopicOrPartition.Code, 0, invalid, invalid, kerr.InvalidRequest.Code, kerr.InvalidRequest.Code, kerr.InvalidRequest.Code} {
		require.Equal(t, code, resp.Resources[i].ErrorCode, "%+v", req.Resources[i])
	}
	require.Len(t, resp.Resources[1].Configs, 1, "an unknown name is left out")
	require.Nil(t, resp.Resources[1].Configs[0].Documentation, "documentation was not asked for")
	require.Empty(t, resp.Resources[1].Configs[0].ConfigSynonyms)
}

func TestABrokerShowsAllAndAllBrokersWhatIsSet(t *testing.T) {
	s := serve(t, api.Config{Static: []api.StaticConfig{
		{Name: "socket.request.max.bytes", Value: "100", Type: topicconfig.Int, Given: true, Doc: "In the file."},
		{Name: "num.partitions", Value: "4", Type: topicconfig.Int, Given: true, Doc: "In the file."},
		{Name: "auto.create.topics.enable", Value: "true", Type: topicconfig.Boolean, Doc: "In the file."},
	}})
	configs, code := described(t, s, ofBroker, "7")
	require.Zero(t, code)
	for name, want := range map[string]struct {
		value    string
		readOnly bool
		source   int8
	}{
		"broker.id":                 {"7", true, 4},
		"socket.request.max.bytes":  {"100", true, 4},
		"log.retention.ms":          {"604800000", false, 5},
		"num.partitions":            {"4", false, 4},
		"auto.create.topics.enable": {"true", false, 5},
		"min.insync.replicas":       {"1", true, 5}, // without effect here
	} {
		require.Equal(t, want.value, *configs[name].Value, name)
		require.Equal(t, want.readOnly, configs[name].ReadOnly, name)
		require.EqualValues(t, want.source, configs[name].Source, name)
	}
	configs, code = described(t, s, ofBroker, "")
	require.Zero(t, code)
	require.Empty(t, configs)
	require.Zero(t, set(t, s, ofBroker, "", "log.retention.ms", "5000"))
	configs, _ = described(t, s, ofBroker, "")
	require.Len(t, configs, 1)
	require.Equal(t, "5000", *configs["log.retention.ms"].Value)
	require.EqualValues(t, 3, configs["log.retention.ms"].Source)
}

func TestBrokerConfigsThatNobodyWouldActOnAreRefused(t *testing.T) {
	s := serve(t, api.Config{PartitionsMax: 100, Static: []api.StaticConfig{{Name: "listeners", Value: "x", Type: topicconfig.List, Doc: "In the file."}}})
	for _, test := range []struct {
		broker, key, value string
		code               *kerr.Error
	}{
		{"", "no.such.key", "1", kerr.InvalidConfig},
		{"7", "no.such.key", "", kerr.InvalidConfig},
		{"", "retention.ms", "1", kerr.InvalidConfig}, // a topic's name
		{"", "log.retention.ms", "soon", kerr.InvalidConfig},
		{"", "num.partitions", "101", kerr.InvalidConfig},
		{"", "min.insync.replicas", "2", kerr.InvalidRequest}, // without effect
		{"7", "listeners", "y", kerr.InvalidRequest},          // while it runs
		{"7", "log.retention.ms", "1", kerr.InvalidRequest},   // for all brokers or none
		{"8", "message.max.bytes", "1", kerr.InvalidRequest},  // no such broker
		{"x", "message.max.bytes", "1", kerr.InvalidRequest},
	} {
		require.Equal(t, test.code.Code, set(t, s, ofBroker, test.broker, test.key, test.value), "%+v", test)
	}
	configs, _ := described(t, s, ofBroker, "")
	require.Empty(t, configs)
}

func TestRemovingABrokerConfigThatCannotBeSetIsDone(t *testing.T) { // kafka-reassign-partitions --verify removes throttles
	s := serve(t, api.Config{Static: []api.StaticConfig{{Name: "listeners", Value: "x", Type: topicconfig.List, Doc: "In the file."}}})
	for _, key := range []string{"leader.replication.throttled.rate", "log.retention.ms", "min.insync.replicas", "listeners"} {
		require.Zero(t, set(t, s, ofBroker, "7", key, ""), key)
	}
	require.Equal(t, kerr.InvalidRequest.Code, set(t, s, ofBroker, "7", "leader.replication.throttled.rate", "1000"))
}

func TestBrokerConfigsActAtOnce(t *testing.T) {
	s := serve(t, api.Config{AutoCreateTopics: true})
	s.topic(t, "t", 1, nil)
	meta := func(name string) kmsg.MetadataResponseTopic {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics, req.AllowAutoTopicCreation = []kmsg.MetadataRequestTopic{{Topic: &name}}, true
		return ask[*kmsg.MetadataResponse](t, s, 12, req).Topics[0]
	}
	require.Zero(t, set(t, s, ofBroker, "", "num.partitions", "3"))
	require.Len(t, meta("three").Partitions, 3)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "created", NumPartitions: -1, ReplicationFactor: -1}}
	require.Zero(t, set(t, s, ofBroker, "", "default.replication.factor", "2"))
	created := ask[*kmsg.CreateTopicsResponse](t, s, 7, create).Topics[0]
	require.EqualValues(t, 3, created.NumPartitions)
	require.EqualValues(t, 2, created.ReplicationFactor)

	require.Zero(t, set(t, s, ofBroker, "7", "auto.create.topics.enable", "false"))
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, meta("not").ErrorCode)

	produce := func() int16 {
		made, _ := s.Topic("t")
		return ask[*kmsg.ProduceResponse](t, s, 9, sample(0, "t", made.ID)).Topics[0].Partitions[0].ErrorCode
	}
	require.Zero(t, produce())
	require.Zero(t, set(t, s, ofBroker, "7", "message.max.bytes", "10"))
	require.Equal(t, kerr.MessageTooLarge.Code, produce(), "a limit of topics that do not say")
	require.Zero(t, set(t, s, ofTopic, "t", "max.message.bytes", "100000"))
	require.Zero(t, produce(), "this one does")
}

func TestAlterConfigsReplacesABrokersSetToo(t *testing.T) {
	s := serve(t, api.Config{})
	require.Zero(t, set(t, s, ofBroker, "", "log.retention.ms", "5000"))
	alter := func(validateOnly bool) int16 {
		req := kmsg.NewPtrAlterConfigsRequest()
		req.ValidateOnly = validateOnly
		req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: ofBroker, Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "message.max.bytes", Value: text("7")}}}}
		return ask[*kmsg.AlterConfigsResponse](t, s, 2, req).Resources[0].ErrorCode
	}
	require.Zero(t, alter(true))
	configs, _ := described(t, s, ofBroker, "")
	require.Contains(t, configs, "log.retention.ms", "validate_only changes nothing")
	require.Zero(t, alter(false))
	configs, _ = described(t, s, ofBroker, "")
	require.Len(t, configs, 1)
	require.Equal(t, "7", *configs["message.max.bytes"].Value)
}

func TestAppendingToABrokersListBeginsWithWhatHolds(t *testing.T) {
	s := serve(t, api.Config{TopicDefaults: topicconfig.Defaults{"cleanup.policy": "compact"}})
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: ofBroker, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{
		{Name: "log.cleanup.policy", Op: kmsg.IncrementalAlterConfigOpAppend, Value: text("delete")},
	}}}
	require.Zero(t, ask[*kmsg.IncrementalAlterConfigsResponse](t, s, 1, req).Resources[0].ErrorCode)
	configs, _ := described(t, s, ofBroker, "")
	require.Equal(t, "compact,delete", *configs["log.cleanup.policy"].Value)
}

func TestTheLogLevelIsAlteredAtOnceAndNotByTheLegacyWay(t *testing.T) {
	s := serve(t, api.Config{})
	const ofLogger = kmsg.ConfigResourceTypeBrokerLogger
	configs, code := described(t, s, ofLogger, "7")
	require.Zero(t, code)
	require.Equal(t, "INFO", *configs["root"].Value)
	require.EqualValues(t, 6, configs["root"].Source)

	require.Zero(t, set(t, s, ofLogger, "7", "root", "DEBUG"))
	require.Equal(t, slog.LevelDebug, s.level.Level(), "it really switches")
	configs, _ = described(t, s, ofLogger, "7")
	require.Equal(t, "DEBUG", *configs["root"].Value)

	for _, test := range []struct {
		broker, key, value string
		code               *kerr.Error
	}{
		{"8", "root", "INFO", kerr.InvalidRequest},
		{"7", "kafka.server", "INFO", kerr.InvalidConfig},
		{"7", "root", "LOUD", kerr.InvalidConfig},
		{"7", "root", "", kerr.InvalidRequest}, // it always has one
	} {
		require.Equal(t, test.code.Code, set(t, s, ofLogger, test.broker, test.key, test.value), "%+v", test)
	}
	legacy := kmsg.NewPtrAlterConfigsRequest()
	legacy.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: ofLogger, ResourceName: "7", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "root", Value: text("ERROR")}}}}
	require.Equal(t, kerr.InvalidRequest.Code, ask[*kmsg.AlterConfigsResponse](t, s, 2, legacy).Resources[0].ErrorCode)
	require.Equal(t, slog.LevelDebug, s.level.Level())
}

func TestAGroupsTimesAreSetOnItAndShown(t *testing.T) {
	s := serve(t, api.Config{Static: []api.StaticConfig{{Name: "group.consumer.session.timeout.ms", Value: "30000", Type: topicconfig.Int, Given: true, Doc: "In the file."}}})
	const ofGroup = kmsg.ConfigResourceTypeGroupConfig
	configs, code := described(t, s, ofGroup, "g")
	require.Zero(t, code)
	require.Len(t, configs, 2)
	require.Equal(t, "30000", *configs["consumer.session.timeout.ms"].Value)
	require.EqualValues(t, 4, configs["consumer.session.timeout.ms"].Source)

	require.Zero(t, set(t, s, ofGroup, "g", "consumer.session.timeout.ms", "20000"))
	configs, _ = described(t, s, ofGroup, "g")
	require.Equal(t, "20000", *configs["consumer.session.timeout.ms"].Value)
	require.EqualValues(t, 8, configs["consumer.session.timeout.ms"].Source)
	require.Len(t, configs["consumer.session.timeout.ms"].ConfigSynonyms, 3)
	list := kmsg.NewPtrListConfigResourcesRequest()
	list.ResourceTypes = []int8{int8(ofGroup)}
	require.Equal(t, "g", ask[*kmsg.ListConfigResourcesResponse](t, s, 1, list).ConfigResources[0].Name)

	for _, test := range []struct {
		group, key, value string
		code              *kerr.Error
	}{
		{"", "consumer.session.timeout.ms", "20000", kerr.InvalidRequest},
		{"g", "consumer.session.timeout.ms", "1", kerr.InvalidConfig},
		{"g", "consumer.heartbeat.interval.ms", "25000", kerr.InvalidConfig}, // not before the session ends
		{"g", "share.session.timeout.ms", "20000", kerr.InvalidConfig},
	} {
		require.Equal(t, test.code.Code, set(t, s, ofGroup, test.group, test.key, test.value), "%+v", test)
	}
	require.Zero(t, set(t, s, ofGroup, "g", "consumer.session.timeout.ms", ""))
	require.Empty(t, ask[*kmsg.ListConfigResourcesResponse](t, s, 1, list).ConfigResources)
}
