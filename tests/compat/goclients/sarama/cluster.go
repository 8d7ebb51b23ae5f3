package main

import (
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

var describeCluster = with(func(x *t) (string, error) {
	brokers, controller, err := x.adm.DescribeCluster()
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(brokers, func(b *sarama.Broker) bool { return b.ID() == controller && b.Addr() == x.Bootstrap }) {
		return "", fmt.Errorf("controller %d at %s is not one of %d brokers", controller, x.Bootstrap, len(brokers))
	}
	return fmt.Sprintf("%d broker, the controller is one of them", len(brokers)), nil
})

var logDirs = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	brokers, _, err := x.adm.DescribeCluster()
	if err != nil {
		return "", err
	}
	dirs, err := x.adm.DescribeLogDirs([]int32{brokers[0].ID()})
	if err != nil {
		return "", err
	}
	for _, d := range dirs[brokers[0].ID()] {
		for _, of := range d.Topics {
			if of.Topic == topic && len(of.Partitions) == 1 && of.Partitions[0].Size > 10_000 && d.TotalBytes > 0 && d.UsableBytes > 0 {
				return fmt.Sprintf("%d bytes", of.Partitions[0].Size), nil
			}
		}
	}
	return "", fmt.Errorf("%+v", dirs)
})

var electLeaders = with(func(x *t) (string, error) {
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	elected, err := x.adm.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: {0}})
	if err != nil {
		return "", err
	}
	if r := elected[topic][0]; r == nil || r.ErrorCode != sarama.ErrElectionNotNeeded {
		return "", fmt.Errorf("%+v, want ELECTION_NOT_NEEDED", r)
	}
	return "not needed", nil
})

var reassign = with(func(x *t) (string, error) {
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	under, err := x.adm.ListPartitionReassignments(topic, []int32{0})
	if err != nil || len(under[topic]) != 0 {
		return "", fmt.Errorf("%+v %v", under, err)
	}
	brokers, _, err := x.adm.DescribeCluster()
	if err != nil {
		return "", err
	}
	if err := x.adm.AlterPartitionReassignments(topic, [][]int32{{brokers[0].ID()}}); err != nil {
		return "", fmt.Errorf("to where it is: %w", err)
	}
	if err := x.adm.AlterPartitionReassignments(topic, [][]int32{{brokers[0].ID() + 1000}}); err == nil {
		return "", fmt.Errorf("to a broker that is not there: no error")
	}
	return "none under way; to where it is taken, to nowhere refused", nil
})

var acls = with(func(x *t) (string, error) {
	answer, err := x.adm.ListAcls(sarama.AclFilter{Version: 1, ResourceType: sarama.AclResourceAny, ResourcePatternTypeFilter: sarama.AclPatternAny, Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny})
	if err == nil {
		return "", fmt.Errorf("%+v without an error, want SECURITY_DISABLED", answer)
	}
	return err.Error(), nil
})
