package group

import "errors"

// Errors of State and Coordinator. Package api gives each its Kafka code.
var (
	ErrNotCoordinator    = errors.New("another broker coordinates this group")
	ErrClosed            = errors.New("coordinator is stopping")
	ErrInvalidGroupID    = errors.New("invalid group id")
	ErrUnknownMember     = errors.New("not a member of the group")
	ErrMemberIDRequired  = errors.New("join again with the member id that was given")
	ErrFencedInstance    = errors.New("another member has this instance id")
	ErrIllegalGeneration = errors.New("not the group's generation")
	ErrRebalancing       = errors.New("group is rebalancing")
	ErrProtocol          = errors.New("no protocol that all members have")
	ErrSessionTimeout    = errors.New("session timeout out of bounds")
	ErrGroupFull         = errors.New("group has its maximum of members")
	ErrGroupUnknown      = errors.New("unknown group")
	ErrLoading           = errors.New("group is being read")
	ErrNotStored         = errors.New("group's state is not stored yet")
	ErrOtherKind         = errors.New("group speaks another protocol")
	ErrNotEmpty          = errors.New("group has members")
)

// errForgotten: the group was idle. It is to be read again.
var errForgotten = errors.New("group was forgotten")
