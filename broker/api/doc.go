// Package api gives Kafka requests their meaning: one file per API key,
// NN_name.go, with its versions and behaviour on top.
//
// It parses requests, checks them against topics and their configuration, calls
// the broker behind Deps, and writes answers. It keeps no data and knows nothing
// of disks, buckets or sessions. Produce and Fetch, the hot two, are parsed or
// written by hand so that records are never copied here; all others use kmsg.
//
// What is advertised is the table in registry.go and nothing else: a version is
// in it only when all of it is served. docs/protocol.md is made from the table.
package api
