package api

import (
	"context"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// errorCode is one row of the table below.
type errorCode struct {
	err  error
	code *kerr.Error
}

// codes is the one table from our errors to Kafka's. The first that matches
// counts. What matches none becomes UNKNOWN_SERVER_ERROR and is logged: clients
// give up on it, so it must be a bug.
func codes() []errorCode {
	return []errorCode{
		{core.ErrNotOwner, kerr.NotLeaderForPartition},
		{core.ErrFencedEpoch, kerr.FencedLeaderEpoch},
		{core.ErrUnknownEpoch, kerr.UnknownLeaderEpoch},
		{core.ErrClosed, kerr.NotLeaderForPartition},
		{core.ErrTimeout, kerr.RequestTimedOut},
		{errFarLost, kerr.RequestTimedOut},
		{core.ErrOverBudget, kerr.RequestTimedOut},
		{core.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
		{core.ErrDuplicateSequence, kerr.DuplicateSequenceNumber},
		{core.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
		{core.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
		{core.ErrSalvageLater, kerr.ThrottlingQuotaExceeded},
		{core.ErrSalvageStale, kerr.ConcurrentTransactions},
		{core.ErrUnknownProducer, kerr.UnknownProducerID},
		{core.ErrTransactional, kerr.InvalidTxnState},
		{core.ErrTooLarge, kerr.MessageTooLarge},
		{core.ErrMagic, kerr.InvalidRecord},
		{core.ErrInvalidTimestamp, kerr.InvalidTimestamp},
		{core.ErrInvalidRecord, kerr.InvalidRecord},
		{core.ErrCorruptBatch, kerr.CorruptMessage},

		{topic.ErrInvalidName, kerr.InvalidTopicException},
		{metastore.ErrTopicExists, kerr.TopicAlreadyExists},
		{metastore.ErrTopicUnknown, kerr.UnknownTopicOrPartition},
		{metastore.ErrConflict, kerr.RequestTimedOut},
		{errCollides, kerr.InvalidTopicException},
		{errPartitions, kerr.InvalidPartitions},
		{errReplicas, kerr.InvalidReplicationFactor},
		{errAssignment, kerr.InvalidReplicaAssignment},
		{errConfig, kerr.InvalidConfig},
		{errRequest, kerr.InvalidRequest},
		{errTransactional, kerr.TransactionalIDAuthorizationFailed},
		{errLogDir, kerr.LogDirNotFound},
		{errNoAuthorizer, kerr.SecurityDisabled},
		{errNoAuthentication, kerr.SecurityDisabled},

		{group.ErrNotCoordinator, kerr.NotCoordinator},
		{metastore.ErrSlotLost, kerr.NotCoordinator},
		{group.ErrClosed, kerr.CoordinatorNotAvailable},
		{group.ErrLoading, kerr.CoordinatorLoadInProgress},
		{group.ErrUnknownMember, kerr.UnknownMemberID},
		{group.ErrMemberIDRequired, kerr.MemberIDRequired},
		{group.ErrFencedInstance, kerr.FencedInstanceID},
		{group.ErrIllegalGeneration, kerr.IllegalGeneration},
		{group.ErrRebalancing, kerr.RebalanceInProgress},
		{group.ErrProtocol, kerr.InconsistentGroupProtocol},
		{group.ErrSessionTimeout, kerr.InvalidSessionTimeout},
		{group.ErrInvalidGroupID, kerr.InvalidGroupID},
		{group.ErrGroupFull, kerr.GroupMaxSizeReached},
		{group.ErrGroupUnknown, kerr.GroupIDNotFound},
		{group.ErrNotStored, kerr.CoordinatorNotAvailable},
		{group.ErrMetadataTooLarge, kerr.OffsetMetadataTooLarge},
		{group.ErrCommitTooLarge, kerr.InvalidCommitOffsetSize},
		{group.ErrSubscribed, kerr.GroupSubscribedToTopic},
		{group.ErrNotEmpty, kerr.NonEmptyGroup},
		{consumer.ErrInvalid, kerr.InvalidRequest},
		{consumer.ErrFencedEpoch, kerr.FencedMemberEpoch},
		{consumer.ErrStaleEpoch, kerr.StaleMemberEpoch},
		{consumer.ErrUnreleasedInstance, kerr.UnreleasedInstanceID},
		{consumer.ErrAssignor, kerr.UnsupportedAssignor},
		{consumer.ErrRegex, kerr.InvalidRegularExpression},

		// Damage does not go away by asking again; a store that is away does.
		{format.ErrCorrupt, kerr.CorruptMessage},
		{format.ErrVersion, kerr.KafkaStorageError},
		{core.ErrStorage, kerr.KafkaStorageError},
		{kv.ErrUnknownOutcome, kerr.RequestTimedOut},
		{kv.ErrUnavailable, kerr.CoordinatorNotAvailable},
		{context.DeadlineExceeded, kerr.RequestTimedOut},
		{context.Canceled, kerr.RequestTimedOut},
	}
}

// Refusals of this package.
var (
	errCollides   = errors.New("topic name collides")
	errPartitions = errors.New("invalid number of partitions")
	errReplicas   = errors.New("invalid replication factor")
	errAssignment = errors.New("invalid replica assignment")
	errConfig     = errors.New("invalid config")
	errRequest    = errors.New("invalid request")

	// Clients ask again after most codes; this one they take for the end.
	errTransactional = errors.New("no client may use a transactional id: transactions are not served yet")

	errNoAuthorizer     = errors.New("no authorizer is configured")
	errNoAuthentication = errors.New("clients are not authenticated: there are no credentials")
)

// kafkaError returns Kafka's error for err; nil for nil.
func (h *Handler) kafkaError(err error) *kerr.Error {
	if err == nil {
		return nil
	}
	var known *kerr.Error
	if errors.As(err, &known) {
		return known
	}
	var ofTopic *topicconfig.Error
	var dynamic *dynamicconfig.Error
	if errors.As(err, &ofTopic) || errors.As(err, &dynamic) {
		return kerr.InvalidConfig
	}
	for _, row := range h.codes {
		if errors.Is(err, row.err) {
			return row.code
		}
	}
	h.log.Error("a request failed for a reason that has no Kafka code", "error", err)
	return kerr.UnknownServerError
}

// code returns Kafka's number for err; 0 for nil.
func (h *Handler) code(err error) int16 {
	if err == nil {
		return 0
	}
	return h.kafkaError(err).Code
}

// messageBytesMax bounds the texts of answers. They quote what was asked, and a
// string of the protocol has two bytes for its length.
const messageBytesMax = 2000

// message is the text that goes with a code; nil for nil.
func message(err error) *string {
	if err == nil {
		return nil
	}
	text := err.Error()
	if len(text) > messageBytesMax {
		text = strings.ToValidUTF8(text[:messageBytesMax], "") + "…"
	}
	return &text
}
