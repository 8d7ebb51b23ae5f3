package group

import (
	"errors"

	"github.com/chronik-stream/chronik/broker/group/consumer"
)

// Errors of State and Coordinator; those that both protocols share are package
// consumer's, which has more for its own. Package api gives each its Kafka code.
var (
	ErrNotCoordinator    = errors.New("another broker coordinates this group")
	ErrClosed            = errors.New("coordinator is stopping")
	ErrInvalidGroupID    = errors.New("invalid group id")
	ErrUnknownMember     = consumer.ErrUnknownMember
	ErrMemberIDRequired  = consumer.ErrMemberIDRequired
	ErrFencedInstance    = consumer.ErrFencedInstance
	ErrIllegalGeneration = consumer.ErrIllegalGeneration
	ErrRebalancing       = consumer.ErrRebalancing
	ErrProtocol          = consumer.ErrProtocol
	ErrSessionTimeout    = errors.New("session timeout out of bounds")
	ErrGroupFull         = consumer.ErrFull
	ErrGroupUnknown      = errors.New("unknown group")
	ErrLoading           = errors.New("group is being read")
	ErrNotStored         = errors.New("group's state is not stored yet")
	ErrMetadataTooLarge  = errors.New("metadata of an offset is too large")
	ErrCommitTooLarge    = errors.New("offsets of neighbouring partitions have too much metadata")
	ErrSubscribed        = errors.New("a member of the group reads the topic")
	ErrNotEmpty          = errors.New("group has members")
)

// errForgotten: the group was idle. It is to be read again.
var errForgotten = errors.New("group was forgotten")
