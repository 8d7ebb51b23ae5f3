package api_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/quota"
)

// A quota's account holds a tenth of a second here, so that tests need not fill
// ten seconds of it first.
func serveQuotas(t testing.TB) *server {
	return serve(t, api.Config{Quota: quota.Config{Burst: 100 * time.Millisecond}})
}

// quota sets a quota of the client id "raw", which raw connections have.
func (s *server) quota(t testing.TB, key string, value float64) {
	t.Helper()
	entity := []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id", Name: text("raw")}}
	if key == quota.Connections {
		entity = []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "ip", Name: text("127.0.0.1")}}
	}
	require.Zero(t, s.alterQuota(t, entity, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: value}))
}

func (s *server) alterQuota(t testing.TB, entity []kmsg.AlterClientQuotasRequestEntryEntity, ops ...kmsg.AlterClientQuotasRequestEntryOp) int16 {
	t.Helper()
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: entity, Ops: ops}}
	entry := ask[*kmsg.AlterClientQuotasResponse](t, s, 1, req).Entries[0]
	require.Equal(t, entry.ErrorCode != 0, entry.ErrorMessage != nil)
	require.Len(t, entry.Entity, len(entity))
	return entry.ErrorCode
}

// metric is the sum of a metric's series with that label value.
func (s *server) metric(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == label {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// answeredAfter asks something and returns how long it took.
func (c *raw) answeredAfter() time.Duration {
	c.t.Helper()
	begun := time.Now()
	c.ask(kmsg.NewPtrApiVersionsRequest())
	return time.Since(begun)
}

func TestAProducerOverItsQuotaIsAnsweredAtOnceAndThenNotRead(t *testing.T) { // KIP-219
	s := serveQuotas(t)
	s.topic(t, "t", 1, nil)
	s.quota(t, quota.Produce, 100_000)
	batch := oneBatch(strings.Repeat("x", 60_000)) // 10,000 are free, 50,000 cost half a second
	for version := int16(6); version <= 12; version++ {
		if version > 6 && version < 12 {
			continue
		}
		c := s.raw(t)
		begun := time.Now()
		resp := c.ask(produce(version, 1, "t", batch)).(*kmsg.ProduceResponse)
		told := time.Duration(resp.ThrottleMillis) * time.Millisecond
		require.InDelta(t, 550, resp.ThrottleMillis, 110, "version %d", version)
		require.Zero(t, produced(t, resp).ErrorCode, "the records are there all the same")
		require.Less(t, time.Since(begun), told, "the answer does not wait")
		c.answeredAfter()
		require.GreaterOrEqual(t, time.Since(begun), told-5*time.Millisecond, "the connection is not read for that time")
		require.Less(t, s.raw(t).answeredAfter(), 5*time.Second)
	}
	require.Equal(t, 2.0, s.metric(t, "chronik_kafka_throttled_requests_total", "Produce"))
	require.InDelta(t, 1.1, s.metric(t, "chronik_kafka_throttled_seconds_total", "Produce"), 0.2)
}

func TestOldClientsWaitForTheirAnswerInstead(t *testing.T) { // before KIP-219
	s := serveQuotas(t)
	s.topic(t, "t", 1, nil)
	s.quota(t, quota.Produce, 100_000)
	c := s.raw(t)
	begun := time.Now()
	resp := c.ask(produce(5, 1, "t", oneBatch(strings.Repeat("x", 40_000)))).(*kmsg.ProduceResponse)
	require.InDelta(t, 300, resp.ThrottleMillis, 40)
	require.GreaterOrEqual(t, time.Since(begun), 250*time.Millisecond)
	require.Less(t, c.answeredAfter(), 200*time.Millisecond)
}

func TestAProducerWithoutAnswersIsHeldToo(t *testing.T) {
	s := serveQuotas(t)
	s.topic(t, "t", 1, nil)
	s.quota(t, quota.Produce, 100_000)
	for _, version := range []int16{3, 12} {
		c := s.raw(t)
		begun := time.Now()
		c.send(produce(version, 0, "t", oneBatch(strings.Repeat("x", 40_000))))
		c.answeredAfter()
		require.GreaterOrEqual(t, time.Since(begun), 250*time.Millisecond, "version %d", version)
	}
}

func TestAConsumerOverItsQuotaGetsNothingForAWhile(t *testing.T) {
	s := serveQuotas(t)
	s.topic(t, "t", 1, nil)
	writer := s.raw(t)
	for range 10 {
		require.Zero(t, produced(t, writer.ask(produce(9, 1, "t", oneBatch(strings.Repeat("x", 30_000))))).ErrorCode)
	}
	s.quota(t, quota.Fetch, 100_000)
	for _, version := range []int16{4, 7, 8, 12} {
		waitForQuota(t, s)
		first, second := s.raw(t), s.raw(t)
		begun := time.Now()
		resp := first.ask(fetch(version, "t", 0, time.Minute)).(*kmsg.FetchResponse)
		got := len(resp.Topics[0].Partitions[0].RecordBatches)
		require.Greater(t, got, 30_000)
		require.Less(t, got, 60_000, "one batch at least, and no more than the quota leaves")
		require.InDelta(t, 250, resp.ThrottleMillis, 110, "version %d", version)
		if version < 8 {
			require.GreaterOrEqual(t, time.Since(begun), 150*time.Millisecond, "held back")
			continue
		}
		// Another connection of the same client shares the quota.
		empty := second.ask(fetch(version, "t", 0, time.Minute)).(*kmsg.FetchResponse)
		require.Zero(t, empty.ErrorCode)
		require.Empty(t, empty.Topics)
		require.Positive(t, empty.ThrottleMillis)
		begun = time.Now()
		resp = second.ask(fetch(version, "t", 0, time.Minute)).(*kmsg.FetchResponse)
		require.GreaterOrEqual(t, time.Since(begun), time.Duration(empty.ThrottleMillis-5)*time.Millisecond, "it is not read before")
		require.NotEmpty(t, resp.Topics, "and then it gets its records")
	}
	require.GreaterOrEqual(t, s.metric(t, "chronik_kafka_throttled_requests_total", "Fetch"), 6.0)
}

// waitForQuota waits until nothing is owed.
func waitForQuota(t *testing.T, s *server) {
	t.Helper()
	require.Eventually(t, func() bool {
		probe := fetch(12, "t", 10, 0)
		probe.MinBytes = 0
		return s.raw(t).ask(probe).(*kmsg.FetchResponse).ThrottleMillis == 0
	}, 10*time.Second, 50*time.Millisecond)
}

func TestAThrottledFetchSessionGoesOn(t *testing.T) {
	s := serveQuotas(t)
	s.topic(t, "t", 1, nil)
	require.Zero(t, produced(t, s.raw(t).ask(produce(9, 1, "t", oneBatch(strings.Repeat("x", 30_000))))).ErrorCode)
	c := s.raw(t)
	req := fetch(12, "t", 1, 0)
	req.SessionEpoch = 0
	opened := c.ask(req).(*kmsg.FetchResponse)
	require.NotZero(t, opened.SessionID)
	s.quota(t, quota.Fetch, 100_000)
	require.Positive(t, s.raw(t).ask(fetch(12, "t", 0, 0)).(*kmsg.FetchResponse).ThrottleMillis)

	req = fetch(12, "t", 0, 0)
	req.SessionID, req.SessionEpoch = opened.SessionID, 1
	throttled := c.ask(req).(*kmsg.FetchResponse)
	require.Zero(t, throttled.ErrorCode)
	require.Positive(t, throttled.ThrottleMillis)
	require.Equal(t, opened.SessionID, throttled.SessionID)
	require.Empty(t, throttled.Topics)
	req.Topics, req.SessionEpoch = []kmsg.FetchRequestTopic{}, 2
	resp := c.ask(req).(*kmsg.FetchResponse)
	require.Zero(t, resp.ErrorCode)
	require.NotEmpty(t, resp.Topics, "the session kept what the throttled request changed")
}

func TestTimeOfTheBrokerIsAQuotaOfEveryAPI(t *testing.T) {
	s := serveQuotas(t)
	s.topic(t, "t", 1, nil)
	s.quota(t, quota.Request, 0.001) // a microsecond in a tenth of a second is free
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 9
	for _, req := range []kmsg.Request{metadata, produce(9, 1, "t", oneBatch("v")), fetch(12, "t", 0, 0)} {
		c := s.raw(t)
		begun := time.Now()
		resp := c.ask(req)
		millis, _ := resp.(kmsg.ThrottleResponse).Throttle()
		require.Positive(t, millis, "%T", req)
		require.LessOrEqual(t, millis, int32(1000), "a second at most")
		c.answeredAfter()
		require.GreaterOrEqual(t, time.Since(begun), time.Duration(millis-5)*time.Millisecond, "%T", req)
	}
	metadata.Version = 5 // does not expect to be answered at once
	begun := time.Now()
	resp := s.raw(t).ask(metadata).(*kmsg.MetadataResponse)
	require.GreaterOrEqual(t, time.Since(begun), time.Duration(resp.ThrottleMillis-5)*time.Millisecond)
}

func TestTopicsAreCreatedAndDeletedAtTheRateOfTheQuota(t *testing.T) { // KIP-599
	s := serveQuotas(t)
	s.quota(t, quota.Mutations, 2) // a fifth of one at once
	create := func(version int16, name string, partitions int32) (int16, int32) {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}}
		resp := ask[*kmsg.CreateTopicsResponse](t, s, version, req)
		return resp.Topics[0].ErrorCode, resp.ThrottleMillis
	}
	code, millis := create(7, "a", 4) // overdraws
	require.Zero(t, code)
	require.InDelta(t, 1900, millis, 100)
	code, millis = create(7, "b", 1)
	require.Equal(t, kerr.ThrottlingQuotaExceeded.Code, code)
	require.Positive(t, millis)
	_, ok := s.Topic("b")
	require.False(t, ok)

	remove := kmsg.NewPtrDeleteTopicsRequest()
	remove.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: text("a")}}
	require.Equal(t, kerr.ThrottlingQuotaExceeded.Code, ask[*kmsg.DeleteTopicsResponse](t, s, 6, remove).Topics[0].ErrorCode)
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "a", Count: 7}}
	require.Equal(t, kerr.ThrottlingQuotaExceeded.Code, ask[*kmsg.CreatePartitionsResponse](t, s, 3, grow).Topics[0].ErrorCode)
	grow.ValidateOnly = true
	require.Zero(t, ask[*kmsg.CreatePartitionsResponse](t, s, 3, grow).Topics[0].ErrorCode, "looking is free")

	code, millis = create(3, "b", 1) // does not know the error
	require.Zero(t, code)
	require.Positive(t, millis)
	require.Eventually(t, func() bool {
		return ask[*kmsg.DeleteTopicsResponse](t, s, 6, remove).Topics[0].ErrorCode == 0
	}, 10*time.Second, 50*time.Millisecond, "the client tries again, as it is told")
}

func TestConnectionsOfAnAddressAreHeldToItsQuota(t *testing.T) {
	s := serveQuotas(t)
	s.quota(t, quota.Connections, 20) // two at once
	s.raw(t).answeredAfter()
	refused := 0
	for range 10 {
		c := s.raw(t)
		c.send(kmsg.NewPtrApiVersionsRequest())
		if _, err := c.r.Peek(1); err != nil {
			refused++
		}
	}
	require.Positive(t, refused)
	require.Equal(t, float64(refused), s.metric(t, "chronik_kafka_connections_refused_total", "connection_quota"))
}

func TestOtherClientsAreNotThrottled(t *testing.T) {
	s := serveQuotas(t)
	s.topic(t, "t", 1, nil)
	s.quota(t, quota.Produce, 1)
	c := s.client(t, kgo.ClientID("other"), kgo.DefaultProduceTopic("t"))
	begun := time.Now()
	for range 10 {
		require.NoError(t, c.ProduceSync(t.Context(), kgo.StringRecord(strings.Repeat("x", 10_000))).FirstErr())
	}
	require.Less(t, time.Since(begun), 10*time.Second)
	require.Zero(t, s.metric(t, "chronik_kafka_throttled_requests_total", "Produce"))
}

// A real client that keeps to what it is told gets the rate and no more.
func TestFranzGoProducesAtTheRateOfItsQuota(t *testing.T) {
	s := serveQuotas(t)
	s.topic(t, "t", 1, nil)
	const rate = 1 << 20
	entity := []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: text("ANONYMOUS")}}
	require.Zero(t, s.alterQuota(t, entity, kmsg.AlterClientQuotasRequestEntryOp{Key: quota.Produce, Value: rate}))
	c := s.client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	begun := time.Now()
	for range 20 {
		require.NoError(t, c.ProduceSync(t.Context(), kgo.StringRecord(strings.Repeat("x", 100<<10))).FirstErr())
	}
	require.GreaterOrEqual(t, time.Since(begun), 1600*time.Millisecond, "two seconds' worth, less the burst and the last")
}

func TestQuotasAreSetShownAndRemoved(t *testing.T) {
	s := serve(t, api.Config{})
	adm := kadm.NewClient(s.client(t))
	ctx := t.Context()
	component := func(kind string, name *string) kadm.ClientQuotaEntityComponent {
		return kadm.ClientQuotaEntityComponent{Type: kind, Name: name}
	}
	entities := []kadm.ClientQuotaEntity{
		{component("client-id", nil)},
		{component("client-id", text("c"))},
		{component("user", text("alice"))},
		{component("user", text("alice")), component("client-id", text("c"))},
		{component("user", nil), component("client-id", nil)},
		{component("ip", text("10.0.0.1"))},
	}
	var alter []kadm.AlterClientQuotaEntry
	for i, e := range entities {
		ops := []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: float64(i + 1)}, {Key: "request_percentage", Value: 0.5}}
		if e[0].Type == "ip" {
			ops = []kadm.AlterClientQuotaOp{{Key: "connection_creation_rate", Value: 7}}
		}
		alter = append(alter, kadm.AlterClientQuotaEntry{Entity: e, Ops: ops})
	}
	validated, err := adm.ValidateAlterClientQuotas(ctx, alter)
	require.NoError(t, err)
	for _, a := range validated {
		require.NoError(t, a.Err)
	}
	all, err := adm.DescribeClientQuotas(ctx, false, nil)
	require.NoError(t, err)
	require.Empty(t, all, "validating sets nothing")

	altered, err := adm.AlterClientQuotas(ctx, alter)
	require.NoError(t, err)
	require.Len(t, altered, len(entities))
	for _, a := range altered {
		require.NoError(t, a.Err)
	}
	shown := func(strict bool, components ...kadm.DescribeClientQuotaComponent) int {
		t.Helper()
		found, err := adm.DescribeClientQuotas(ctx, strict, components)
		require.NoError(t, err)
		return len(found)
	}
	exact := func(kind, name string) kadm.DescribeClientQuotaComponent {
		return kadm.DescribeClientQuotaComponent{Type: kind, MatchType: kmsg.QuotasMatchTypeExact, MatchName: &name}
	}
	of := func(kind string, match kmsg.QuotasMatchType) kadm.DescribeClientQuotaComponent {
		return kadm.DescribeClientQuotaComponent{Type: kind, MatchType: match}
	}
	require.Equal(t, 6, shown(false))
	require.Equal(t, 0, shown(true), "strictly no type is an entity without a type")
	require.Equal(t, 4, shown(false, of("client-id", kmsg.QuotasMatchTypeAny)))
	require.Equal(t, 2, shown(true, of("client-id", kmsg.QuotasMatchTypeAny)))
	require.Equal(t, 2, shown(false, exact("client-id", "c")))
	require.Equal(t, 1, shown(true, exact("client-id", "c")))
	require.Equal(t, 2, shown(false, of("client-id", kmsg.QuotasMatchTypeDefault)))
	require.Equal(t, 1, shown(true, exact("user", "alice"), exact("client-id", "c")))
	require.Equal(t, 1, shown(true, of("user", kmsg.QuotasMatchTypeDefault), of("client-id", kmsg.QuotasMatchTypeAny)))
	require.Equal(t, 1, shown(false, of("ip", kmsg.QuotasMatchTypeAny)))
	require.Equal(t, 0, shown(false, exact("user", "bob")))

	one, err := adm.DescribeClientQuotas(ctx, true, []kadm.DescribeClientQuotaComponent{exact("user", "alice")})
	require.NoError(t, err)
	require.Equal(t, kadm.DescribedClientQuotas{{
		Entity: entities[2],
		Values: kadm.ClientQuotaValues{{Key: "producer_byte_rate", Value: 3}, {Key: "request_percentage", Value: 0.5}},
	}}, one)

	for i := range alter {
		for j := range alter[i].Ops {
			alter[i].Ops[j].Remove = true
		}
	}
	_, err = adm.AlterClientQuotas(ctx, alter)
	require.NoError(t, err)
	require.Equal(t, 0, shown(false), "an entity without quotas is gone")
}

func TestQuotasThatMakeNoSenseAreRefused(t *testing.T) {
	s := serve(t, api.Config{})
	type part = kmsg.AlterClientQuotasRequestEntryEntity
	type op = kmsg.AlterClientQuotasRequestEntryOp
	client, ip := []part{{Type: "client-id", Name: text("c")}}, []part{{Type: "ip", Name: text("::1")}}
	ok := op{Key: "producer_byte_rate", Value: 1}
	for name, c := range map[string]struct {
		entity []part
		ops    []op
	}{
		"no entity":                 {nil, []op{ok}},
		"unknown type":              {[]part{{Type: "group", Name: text("g")}}, []op{ok}},
		"empty name":                {[]part{{Type: "user", Name: text("")}}, []op{ok}},
		"a type twice":              {[]part{{Type: "user"}, {Type: "user", Name: text("u")}}, []op{ok}},
		"ip and user":               {[]part{{Type: "ip"}, {Type: "user"}}, []op{{Key: "connection_creation_rate", Value: 1}}},
		"no address":                {[]part{{Type: "ip", Name: text("localhost")}}, []op{{Key: "connection_creation_rate", Value: 1}}},
		"unknown key":               {client, []op{{Key: "producer_bytes", Value: 1}}},
		"a mutation of an ip":       {ip, []op{{Key: "controller_mutation_rate", Value: 1}}},
		"a client's key of an ip":   {ip, []op{ok}},
		"an ip's key of a client":   {client, []op{{Key: "connection_creation_rate", Value: 1}}},
		"nothing":                   {client, []op{{Key: "producer_byte_rate", Value: 0}}},
		"less than nothing":         {client, []op{{Key: "request_percentage", Value: -1}}},
		"no number":                 {client, []op{{Key: "request_percentage", Value: math.NaN()}}},
		"infinity":                  {client, []op{{Key: "request_percentage", Value: math.Inf(1)}}},
		"half a byte":               {client, []op{{Key: "consumer_byte_rate", Value: 0.5}}},
		"half a connection":         {ip, []op{{Key: "connection_creation_rate", Value: 0.5}}},
		"a key twice":               {client, []op{ok, {Key: "producer_byte_rate", Remove: true}}},
		"one good and one bad":      {client, []op{ok, {Key: "producer_bytes", Value: 1}}},
		"removal of an unknown key": {client, []op{{Key: "producer_bytes", Remove: true}}},
	} {
		require.Equal(t, kerr.InvalidRequest.Code, s.alterQuota(t, c.entity, c.ops...), name)
	}
	all := ask[*kmsg.DescribeClientQuotasResponse](t, s, 1, kmsg.NewPtrDescribeClientQuotasRequest())
	require.Empty(t, all.Entries, "nothing of a refused entry is kept")
	require.NotNil(t, all.Entries)
	require.Zero(t, s.alterQuota(t, ip, op{Key: "connection_creation_rate", Remove: true}), "removing what is not there is no error")
	// An address is found however it is written.
	require.Zero(t, s.alterQuota(t, []part{{Type: "ip", Name: text("0:0:0:0:0:0:0:1")}}, op{Key: "connection_creation_rate", Value: 1}))
	filter := kmsg.NewPtrDescribeClientQuotasRequest()
	filter.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "ip", MatchType: kmsg.QuotasMatchTypeExact, Match: text("0:0::1")}}
	require.Len(t, ask[*kmsg.DescribeClientQuotasResponse](t, s, 1, filter).Entries, 1)
}

func TestQuotaFiltersThatMakeNoSenseAreRefused(t *testing.T) {
	s := serve(t, api.Config{})
	type component = kmsg.DescribeClientQuotasRequestComponent
	for name, c := range map[string]struct {
		components []component
		want       *kerr.Error
	}{
		"no type":             {[]component{{}}, kerr.InvalidRequest},
		"unknown type":        {[]component{{EntityType: "group", MatchType: 2}}, kerr.UnsupportedVersion},
		"a type twice":        {[]component{{EntityType: "user", MatchType: 2}, {EntityType: "user", MatchType: 1}}, kerr.InvalidRequest},
		"exactly nothing":     {[]component{{EntityType: "user", MatchType: 0}}, kerr.InvalidRequest},
		"a default by a name": {[]component{{EntityType: "user", MatchType: 1, Match: text("u")}}, kerr.InvalidRequest},
		"any of a name":       {[]component{{EntityType: "user", MatchType: 2, Match: text("u")}}, kerr.InvalidRequest},
		"a way unknown":       {[]component{{EntityType: "user", MatchType: 3}}, kerr.InvalidRequest},
		"ip and user":         {[]component{{EntityType: "user", MatchType: 2}, {EntityType: "ip", MatchType: 2}}, kerr.InvalidRequest},
	} {
		for version := int16(0); version <= 1; version++ {
			req := kmsg.NewPtrDescribeClientQuotasRequest()
			req.Components = c.components
			resp := ask[*kmsg.DescribeClientQuotasResponse](t, s, version, req)
			require.Equal(t, c.want.Code, resp.ErrorCode, name)
			require.NotNil(t, resp.ErrorMessage)
			require.Nil(t, resp.Entries)
		}
	}
}
