// Package consumer is a group of the consumer protocol (KIP-848): members tell by
// heartbeats what they subscribe to and what they hold, the group decides who is
// to have which partitions, and leads every member there on its own, without
// ever stopping the others.
//
// State is one group as a value with pure steps: a request, the topics and the
// time go in, the state changes, and an answer comes out. It has no clock, no
// lock and no I/O. A step that returns an error has changed nothing.
//
// Three epochs order it all. The group's epoch goes up when members, their
// subscriptions or their topics change. The assignment's epoch is that of the
// group for which the target, what each member is to hold, was computed last. A
// member's epoch is that of the assignment which it has reached: it first gives
// up what it is not to have, then its epoch goes up, then it gets what others
// have given up. A partition is never given to a member while another holds it.
//
// Members of the classic protocol can be in such a group beside the others,
// while a fleet is upgraded or downgraded: they join and sync, and the group
// assigns for them (classic.go).
package consumer
