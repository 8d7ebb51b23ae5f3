// Package group coordinates consumer groups of both protocols: who is a member,
// when assignments change hands, and what a group has committed. A group with
// members can change from one protocol to the other and back (migrate.go).
//
// A group's state (State is that of the classic protocol, consumer.State that of
// the consumer protocol, KIP-848) is a value with pure steps: an event and the
// time go in, the state changes, and answers come out. It has no clock, no lock
// and no I/O. Coordinator runs many of them with timers, and writes their durable
// part and the offsets through to the store: what an answer tells of is stored
// before it is given.
//
// Groups are shared out over slots, and those over the brokers. The memory of a
// slot's groups belongs to one ownership of it. The next one, here or on another
// broker, reads what is stored, and the groups go on where they were: members
// whose next heartbeat comes within their session timeout notice nothing.
package group
