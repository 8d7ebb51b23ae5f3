package consumer

import "errors"

// Errors of State. Package api gives each its Kafka code.
var (
	ErrInvalid            = errors.New("invalid heartbeat")
	ErrUnknownMember      = errors.New("not a member of the group")
	ErrFencedEpoch        = errors.New("not the member's epoch: give everything up and join again")
	ErrStaleEpoch         = errors.New("the member has another epoch by now")
	ErrUnreleasedInstance = errors.New("another member has this instance id and has not left")
	ErrFencedInstance     = errors.New("another member has this instance id")
	ErrAssignor           = errors.New("no such assignor")
	ErrRegex              = errors.New("invalid regular expression")
	ErrFull               = errors.New("group has its maximum of members")

	// Told to members of the classic protocol.
	ErrMemberIDRequired  = errors.New("join again with the member id that was given")
	ErrIllegalGeneration = errors.New("not the group's generation")
	ErrRebalancing       = errors.New("group is rebalancing")
	ErrProtocol          = errors.New("no protocol that all members have")

	// ErrNotConsumers: a classic group cannot become one of this package.
	ErrNotConsumers = errors.New("members do not speak the embedded protocol of consumers")
)
