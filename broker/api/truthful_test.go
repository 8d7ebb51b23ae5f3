package api_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/internal/topic"
)

// What is not built says so, and nothing that is sent to it is kept in silence.

func TestAccessControlIsAnsweredSecurityDisabled(t *testing.T) {
	s := serve(t, api.Config{})
	c := s.raw(t)
	disabled := kerr.SecurityDisabled.Code
	for version := int16(1); version <= 3; version++ {
		req := sample(29, "t", topic.ID{})
		req.SetVersion(version)
		described := c.ask(req).(*kmsg.DescribeACLsResponse)
		require.Equal(t, disabled, described.ErrorCode)

		req = sample(30, "t", topic.ID{})
		req.SetVersion(version)
		created := c.ask(req).(*kmsg.CreateACLsResponse)
		require.Len(t, created.Results, 1)
		require.Equal(t, disabled, created.Results[0].ErrorCode)
		require.NotEmpty(t, *created.Results[0].ErrorMessage)

		req = sample(31, "t", topic.ID{})
		req.SetVersion(version)
		deleted := c.ask(req).(*kmsg.DeleteACLsResponse)
		require.Len(t, deleted.Results, 1)
		require.Equal(t, disabled, deleted.Results[0].ErrorCode)
	}
	altered := c.ask(sample(51, "t", topic.ID{})).(*kmsg.AlterUserSCRAMCredentialsResponse)
	require.Len(t, altered.Results, 1, "a user who is named twice is answered once")
	require.Equal(t, disabled, altered.Results[0].ErrorCode)
	described := c.ask(sample(50, "t", topic.ID{})).(*kmsg.DescribeUserSCRAMCredentialsResponse)
	require.Zero(t, described.ErrorCode)
	require.Equal(t, kerr.ResourceNotFound.Code, described.Results[0].ErrorCode, "no user has any, which is no failure")
}

// kafka-configs --describe --entity-type users asks for all credentials after
// it has shown the quotas, and an error there would be its exit status.
func TestThereAreNoSCRAMCredentialsAtAll(t *testing.T) {
	s := serve(t, api.Config{})
	req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	resp := s.raw(t).ask(req).(*kmsg.DescribeUserSCRAMCredentialsResponse)
	require.Zero(t, resp.ErrorCode)
	require.Empty(t, resp.Results)
}

func TestAClientThatWantsSASLIsToldAtOnce(t *testing.T) {
	s := serve(t, api.Config{})
	c := s.raw(t)
	for version := int16(0); version <= 1; version++ {
		req := sample(17, "t", topic.ID{})
		req.SetVersion(version)
		resp := c.ask(req).(*kmsg.SASLHandshakeResponse)
		require.Equal(t, kerr.IllegalSaslState.Code, resp.ErrorCode)
		require.Empty(t, resp.SupportedMechanisms)
	}
	for version := int16(0); version <= 2; version++ {
		req := sample(36, "t", topic.ID{})
		req.SetVersion(version)
		resp := c.ask(req).(*kmsg.SASLAuthenticateResponse)
		require.Equal(t, kerr.IllegalSaslState.Code, resp.ErrorCode)
	}

	client := s.client(t, kgo.SASL(plain.Auth{User: "alice", Pass: "secret"}.AsMechanism()))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := client.Ping(ctx)
	require.Error(t, err)
	require.NoError(t, ctx.Err(), "the client must not wait for something that never comes")
}

// Clients send their own metrics unless they are told not to.
func TestFranzGoWithTelemetryIsNotHeldUp(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.DefaultProduceTopic("t"))
	require.NoError(t, err)
	require.NoError(t, c.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr())
	begun := time.Now()
	c.Close()
	require.Less(t, time.Since(begun), 5*time.Second)
}

func TestDelegationTokensAreDisabled(t *testing.T) {
	s := serve(t, api.Config{})
	c := s.raw(t)
	for key := int16(38); key <= 41; key++ {
		for version := advertised[key][0]; version <= advertised[key][1]; version++ {
			req := sample(key, "t", topic.ID{})
			req.SetVersion(version)
			code := int16(-1)
			switch resp := c.ask(req).(type) {
			case *kmsg.CreateDelegationTokenResponse:
				code = resp.ErrorCode
			case *kmsg.RenewDelegationTokenResponse:
				code = resp.ErrorCode
			case *kmsg.ExpireDelegationTokenResponse:
				code = resp.ErrorCode
			case *kmsg.DescribeDelegationTokenResponse:
				code = resp.ErrorCode
			}
			require.Equal(t, kerr.DelegationTokenAuthDisabled.Code, code, "key %d version %d", key, version)
		}
	}
}

func TestThereAreNoTransactions(t *testing.T) {
	s := serve(t, api.Config{})
	adm := kadm.NewClient(s.client(t))
	ctx := context.Background()
	listed, err := adm.ListTransactions(ctx, nil, nil)
	require.NoError(t, err)
	require.Empty(t, listed)

	c := s.raw(t)
	described := c.ask(sample(65, "t", topic.ID{})).(*kmsg.DescribeTransactionsResponse)
	require.Len(t, described.TransactionStates, 1)
	require.Equal(t, "tx", described.TransactionStates[0].TransactionalID)
	require.Equal(t, kerr.TransactionalIDNotFound.Code, described.TransactionStates[0].ErrorCode)
	unknown := c.ask(sample(66, "t", topic.ID{})).(*kmsg.ListTransactionsResponse)
	require.Zero(t, unknown.ErrorCode)
	require.Equal(t, []string{"ongoing"}, unknown.UnknownStateFilters, "states are spelled as Kafka spells them")

	// Nor can one be begun.
	init := kmsg.NewPtrInitProducerIDRequest()
	id := "tx"
	init.TransactionalID, init.TransactionTimeoutMillis = &id, 1000
	init.ProducerID, init.ProducerEpoch = -1, -1
	require.Equal(t, kerr.TransactionalIDAuthorizationFailed.Code, c.ask(init).(*kmsg.InitProducerIDResponse).ErrorCode)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorType, find.CoordinatorKeys = 4, 1, []string{id}
	require.Equal(t, kerr.TransactionalIDAuthorizationFailed.Code, c.ask(find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode,
		"librdkafka asks again after any other")
}

func TestThereIsNoOtherLogDirToMoveTo(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 2, nil)
	for version := int16(1); version <= 2; version++ {
		req := sample(34, "t", topic.ID{})
		req.SetVersion(version)
		topics := s.raw(t).ask(req).(*kmsg.AlterReplicaLogDirsResponse).Topics
		require.Len(t, topics, 2)
		require.Equal(t, kerr.LogDirNotFound.Code, topics[0].Partitions[0].ErrorCode)
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, topics[0].Partitions[1].ErrorCode)
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, topics[1].Partitions[0].ErrorCode)

		shown := ask[*kmsg.DescribeLogDirsResponse](t, s, 1, sample(35, "t", topic.ID{}))
		stay := req.(*kmsg.AlterReplicaLogDirsRequest)
		stay.Dirs[0].Dir = shown.Dirs[0].Dir
		topics = s.raw(t).ask(stay).(*kmsg.AlterReplicaLogDirsResponse).Topics
		require.Zero(t, topics[0].Partitions[0].ErrorCode, "it is there already")
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, topics[0].Partitions[1].ErrorCode)
	}
}

func TestTelemetryGivesAnIDAndAsksForNothing(t *testing.T) {
	s := serve(t, api.Config{})
	c := s.raw(t)
	first := c.ask(kmsg.NewPtrGetTelemetrySubscriptionsRequest()).(*kmsg.GetTelemetrySubscriptionsResponse)
	require.Zero(t, first.ErrorCode)
	require.NotZero(t, first.ClientInstanceID)
	require.Empty(t, first.RequestedMetrics)
	require.Positive(t, first.PushIntervalMillis)
	again := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	again.ClientInstanceID = first.ClientInstanceID
	second := c.ask(again).(*kmsg.GetTelemetrySubscriptionsResponse)
	require.Equal(t, first.ClientInstanceID, second.ClientInstanceID, "a client keeps its id")
	require.Equal(t, first.SubscriptionID, second.SubscriptionID)

	push := func(change func(*kmsg.PushTelemetryRequest)) int16 {
		req := kmsg.NewPtrPushTelemetryRequest()
		req.ClientInstanceID, req.SubscriptionID = first.ClientInstanceID, first.SubscriptionID
		req.Metrics = []byte{}
		change(req)
		return c.ask(req).(*kmsg.PushTelemetryResponse).ErrorCode
	}
	require.Zero(t, push(func(r *kmsg.PushTelemetryRequest) { r.Terminating = true }))
	require.Equal(t, kerr.InvalidRequest.Code, push(func(r *kmsg.PushTelemetryRequest) { r.Metrics = []byte("x") }))
	require.Equal(t, kerr.InvalidRequest.Code, push(func(r *kmsg.PushTelemetryRequest) { r.ClientInstanceID = [16]byte{} }))
	require.Equal(t, kerr.UnknownSubscriptionID.Code, push(func(r *kmsg.PushTelemetryRequest) { r.SubscriptionID++ }))
	require.Equal(t, kerr.UnsupportedCompressionType.Code, push(func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 5 }))
	require.Equal(t, kerr.TelemetryTooLarge.Code, push(func(r *kmsg.PushTelemetryRequest) { r.Metrics = make([]byte, 1<<20+1) }))
}
