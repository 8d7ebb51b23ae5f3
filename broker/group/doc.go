// Package group coordinates consumer groups of the classic protocol: who is a
// member, when assignments change hands, and what a group has committed.
//
// State is one group as a value with pure steps: an event and the time go in,
// the state changes, and answers to parked requests come out. It has no clock,
// no lock and no I/O. Coordinator runs many of them with timers, and writes
// offsets through to the store before it answers.
//
// Membership lives in memory: after a restart or a move of the coordinator,
// members are unknown, join again and go on from their committed offsets.
package group
