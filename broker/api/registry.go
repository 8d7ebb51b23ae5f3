package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// route is one row of the protocol table: an API key, the versions that are
// served, and how. Each NN_name.go has its own.
type route struct {
	key      int16
	name     string
	min, max int16
	// large requests may have as many bytes as Config.RequestBytesMax says.
	large bool
	// busy: answering is work of the broker from beginning to end, and all of it
	// counts for quotas. Others wait, for other clients, the log or a store, and
	// what counts of them is reading the request and writing the answer.
	busy bool
	note string // for docs/protocol.md

	start func(ctx context.Context, h *Handler, r *wire.Request) (wire.Work, error)
}

// routes is the protocol table, by API key.
func routes() []*route {
	return []*route{
		produceRoute(),
		fetchRoute(),
		listOffsetsRoute(),
		metadataRoute(),
		offsetCommitRoute(),
		offsetFetchRoute(),
		findCoordinatorRoute(),
		joinGroupRoute(),
		heartbeatRoute(),
		leaveGroupRoute(),
		syncGroupRoute(),
		describeGroupsRoute(),
		listGroupsRoute(),
		saslHandshakeRoute(),
		apiVersionsRoute(),
		createTopicsRoute(),
		deleteTopicsRoute(),
		deleteRecordsRoute(),
		initProducerIDRoute(),
		offsetForLeaderEpochRoute(),
		describeACLsRoute(),
		createACLsRoute(),
		deleteACLsRoute(),
		describeConfigsRoute(),
		alterConfigsRoute(),
		alterReplicaLogDirsRoute(),
		describeLogDirsRoute(),
		saslAuthenticateRoute(),
		createPartitionsRoute(),
		createDelegationTokenRoute(),
		renewDelegationTokenRoute(),
		expireDelegationTokenRoute(),
		describeDelegationTokenRoute(),
		deleteGroupsRoute(),
		electLeadersRoute(),
		incrementalAlterConfigsRoute(),
		offsetDeleteRoute(),
		alterPartitionReassignmentsRoute(),
		listPartitionReassignmentsRoute(),
		describeClientQuotasRoute(),
		alterClientQuotasRoute(),
		describeUserSCRAMCredentialsRoute(),
		alterUserSCRAMCredentialsRoute(),
		describeQuorumRoute(),
		updateFeaturesRoute(),
		describeClusterRoute(),
		describeProducersRoute(),
		describeTransactionsRoute(),
		listTransactionsRoute(),
		consumerGroupHeartbeatRoute(),
		consumerGroupDescribeRoute(),
		getTelemetrySubscriptionsRoute(),
		pushTelemetryRoute(),
		listConfigResourcesRoute(),
		describeTopicPartitionsRoute(),
	}
}

// flexibleFrom returns the first flexible version of an API's requests.
func flexibleFrom(key int16) int16 {
	req := kmsg.RequestForKey(key)
	for v := int16(0); v <= req.MaxVersion(); v++ {
		if req.SetVersion(v); req.IsFlexible() {
			return v
		}
	}
	return req.MaxVersion() + 1
}
