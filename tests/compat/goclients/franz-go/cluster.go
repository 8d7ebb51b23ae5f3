package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

func describeCluster(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	answer, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, x.cl)
	if err != nil {
		return "", err
	}
	if answer.ErrorCode != 0 || answer.ClusterID == "" || len(answer.Brokers) == 0 {
		return "", fmt.Errorf("%+v", answer)
	}
	if !slices.ContainsFunc(answer.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == answer.ControllerID }) {
		return "", fmt.Errorf("controller %d is not one of the brokers", answer.ControllerID)
	}
	versions, err := x.adm.ApiVersions(ctx)
	if err != nil {
		return "", err
	}
	for _, v := range versions {
		if v.Err != nil {
			return "", v.Err
		}
	}
	return fmt.Sprintf("%d broker, the controller is one of them", len(answer.Brokers)), nil
}

func logDirs(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	var sent []driver.Record
	for range 100 {
		sent = append(sent, driver.Record{Value: []byte(strings.Repeat("incompressible?", 10))})
	}
	plain, err := open(ctx, e, kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return "", err
	}
	defer plain.cl.Close()
	if err := produce(ctx, plain.cl, topic, sent); err != nil {
		return "", err
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	dirs, err := x.adm.DescribeAllLogDirs(ctx, set)
	if err != nil {
		return "", err
	}
	var size int64
	for _, ofBroker := range dirs {
		if err := ofBroker.Error(); err != nil {
			return "", err
		}
		if p, ok := ofBroker.LookupPartition(topic, 0); ok {
			size += p.Size
		}
	}
	if size < 15_000 || size > 60_000 {
		return "", fmt.Errorf("%d bytes, want some more than 15000", size)
	}
	return fmt.Sprintf("15000 bytes of values take %d", size), nil
}

func producers(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	for range 3 {
		if err := produce(ctx, x.cl, topic, driver.Numbered(2)); err != nil {
			return "", err
		}
	}
	id, epoch, err := x.cl.ProducerID(ctx)
	if err != nil {
		return "", err
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	described, err := x.adm.DescribeProducers(ctx, set)
	if err != nil {
		return "", err
	}
	p := described[topic].Partitions[0]
	if p.Err != nil || len(p.ActiveProducers) != 1 {
		return "", fmt.Errorf("%+v", p)
	}
	one := p.ActiveProducers[id]
	if one.ProducerID != id || one.ProducerEpoch != epoch || one.LastSequence != 5 || one.CurrentTxnStartOffset != -1 {
		return "", fmt.Errorf("%+v, want producer %d epoch %d sequence 5", one, id, epoch)
	}
	return "id, epoch, last sequence", nil
}

func electLeaders(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(2)
	if err != nil {
		return "", err
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0, 1)
	elected, err := x.adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
	if err != nil {
		return "", err
	}
	for p := range int32(2) {
		if r := elected[topic][p]; !errors.Is(r.Err, kerr.ElectionNotNeeded) {
			return "", fmt.Errorf("partition %d: %v, want ELECTION_NOT_NEEDED", p, r.Err)
		}
	}
	return "not needed", nil
}

func reassign(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	under, err := x.adm.ListPartitionReassignments(ctx, set)
	if err != nil || len(under) != 0 {
		return "", fmt.Errorf("%+v %v", under, err)
	}
	var cancel kadm.AlterPartitionAssignmentsReq
	cancel.CancelAssign(topic, 0)
	answer, err := x.adm.AlterPartitionAssignments(ctx, cancel)
	if err == nil {
		err = answer.Error()
	}
	if !errors.Is(err, kerr.NoReassignmentInProgress) {
		return "", fmt.Errorf("cancel: %v, want NO_REASSIGNMENT_IN_PROGRESS", err)
	}
	return "none under way", nil
}

func features(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "compat", "1"
	answer, err := req.RequestWith(ctx, x.cl)
	if err != nil {
		return "", err
	}
	finalized := map[string]int16{}
	for _, f := range answer.FinalizedFeatures {
		finalized[f.Name] = f.MaxVersionLevel
	}
	if finalized["group.version"] != 1 {
		return "", fmt.Errorf("finalized features %v, want group.version 1", finalized)
	}
	if _, ok := finalized["transaction.version"]; ok {
		return "", fmt.Errorf("finalized features %v, and there are no transactions", finalized)
	}
	return fmt.Sprint(finalized), nil
}

func acls(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	described, err := x.adm.DescribeACLs(ctx, kadm.NewACLs().AnyResource().Allow().AllowHosts().Deny().DenyHosts().Operations())
	for _, d := range described {
		err = errors.Join(err, d.Err)
	}
	if !errors.Is(err, kerr.SecurityDisabled) {
		return "", fmt.Errorf("describe: %v, want SECURITY_DISABLED", err)
	}
	return "SECURITY_DISABLED", nil
}
