// Package harness runs a whole cluster as real processes on this machine: etcd,
// MinIO, brokers, compactors, query nodes and HAProxy, on free ports and in a
// folder of their own. It starts, stops, kills, freezes and cuts them off; what
// happens then is the caller's to judge.
//
// Every process can be started again on its data and its ports. The connections
// of a Chronik process to etcd, to the bucket and to other brokers can be made to
// go through a proxy each (Options.Proxied), which cuts and delays them.
package harness
