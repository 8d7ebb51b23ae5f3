package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

func removeMembers(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(2, 2)
	if err != nil {
		return "", err
	}
	stays, err := x.join(topic, topic, kgo.InstanceID("stays"))
	if err != nil {
		return "", err
	}
	gone, err := x.join(topic, topic, kgo.InstanceID("gone"), kgo.SessionTimeout(45*time.Second))
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 1, stays, gone); err != nil {
		return "", err
	}
	if err := gone.leave(); err != nil { // a static member does not tell the broker
		return "", err
	}
	answer, err := x.adm.LeaveGroup(ctx, kadm.LeaveGroup(topic).InstanceIDs("gone", "unknown"))
	if err != nil {
		return "", err
	}
	if err := answer["gone"].Err; err != nil {
		return "", err
	}
	if err := answer["unknown"].Err; !errors.Is(err, kerr.UnknownMemberID) {
		return "", fmt.Errorf("unknown member: %v, want UNKNOWN_MEMBER_ID", err)
	}
	if err := shared(ctx, 2, stays); err != nil {
		return "", fmt.Errorf("after the removal: %w", err)
	}
	return "by instance id, long before its session ends", stays.leave()
}

func listGroups(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(1, 1)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	defer m.leave()
	if err := shared(ctx, 1, m); err != nil {
		return "", err
	}
	empty := topic + "-empty"
	if err := x.commit(empty, topic, 1); err != nil {
		return "", err
	}
	stable, err := x.adm.ListGroups(ctx, "Stable")
	if err != nil {
		return "", err
	}
	if g, ok := stable[topic]; !ok || g.State != "Stable" || g.ProtocolType != "consumer" {
		return "", fmt.Errorf("Stable groups: %+v", stable)
	}
	if _, ok := stable[empty]; ok {
		return "", fmt.Errorf("an empty group is listed as stable")
	}
	all, err := x.adm.ListGroups(ctx)
	if err != nil {
		return "", err
	}
	if g, ok := all[empty]; !ok || g.State != "Empty" {
		return "", fmt.Errorf("the group with commits only: %+v, want Empty", g)
	}
	classic, err := x.adm.ListGroupsByType(ctx, []string{"classic"})
	if err != nil {
		return "", err
	}
	if g, ok := classic[topic]; !ok {
		return "", fmt.Errorf("classic groups: %+v", g)
	}
	return "by state and type", nil
}

// commit commits for a group without members.
func (x *t) commit(group, topic string, offset int64) error {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: offset, LeaderEpoch: -1, Metadata: "by hand"})
	return x.adm.CommitAllOffsets(x, group, offsets)
}

func describeGroups(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(2, 2)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	defer m.leave()
	if err := shared(ctx, 2, m); err != nil {
		return "", err
	}
	var g kadm.DescribedGroup
	if err := driver.Wait(ctx, func() error {
		described, err := x.adm.DescribeGroups(ctx, topic)
		if err != nil {
			return err
		}
		if g = described[topic]; g.State != "Stable" {
			return fmt.Errorf("state is %s", g.State)
		}
		return g.Err
	}); err != nil {
		return "", err
	}
	if len(g.Members) != 1 || g.Protocol != "cooperative-sticky" || g.ProtocolType != "consumer" {
		return "", fmt.Errorf("%d members, protocol %s/%s", len(g.Members), g.ProtocolType, g.Protocol)
	}
	one := g.Members[0]
	id, _ := m.cl.GroupMetadata()
	assigned, ok := one.Assigned.AsConsumer()
	if one.MemberID != id || one.ClientID != "compat-franz-go" || one.ClientHost == "" || !ok || len(assigned.Topics) != 1 || len(assigned.Topics[0].Partitions) != 2 {
		return "", fmt.Errorf("member %s client %s host %q assigned %+v", one.MemberID, one.ClientID, one.ClientHost, assigned)
	}
	unknown, err := x.adm.DescribeGroups(ctx, e.Unique())
	if err != nil {
		return "", err
	}
	for _, u := range unknown {
		if !errors.Is(u.Err, kerr.GroupIDNotFound) {
			return "", fmt.Errorf("unknown group: state %s, error %v, want GROUP_ID_NOT_FOUND", u.State, u.Err)
		}
	}
	return "members, client, assignment; unknown group not found", nil
}

func deleteGroups(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(1, 5)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 1, m); err != nil {
		return "", err
	}
	if answer, err := x.adm.DeleteGroup(ctx, topic); !errors.Is(errors.Join(err, answer.Err), kerr.NonEmptyGroup) {
		return "", fmt.Errorf("with a member: %v %v, want NON_EMPTY_GROUP", err, answer.Err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	if answer, err := x.adm.DeleteGroup(ctx, topic); err != nil || answer.Err != nil {
		return "", fmt.Errorf("empty: %v %v", err, answer.Err)
	}
	if answer, err := x.adm.DeleteGroup(ctx, topic); !errors.Is(errors.Join(err, answer.Err), kerr.GroupIDNotFound) {
		return "", fmt.Errorf("deleted already: %v %v, want GROUP_ID_NOT_FOUND", err, answer.Err)
	}
	committed, err := x.adm.FetchOffsets(ctx, topic)
	if err != nil || len(committed) != 0 {
		return "", fmt.Errorf("offsets are left: %v %v", committed, err)
	}
	return "refused with members, then gone with its offsets", nil
}

func deleteOffsets(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(1, 5)
	if err != nil {
		return "", err
	}
	keeps, err := x.topic(1)
	if err != nil {
		return "", err
	}
	group := topic
	for _, name := range []string{topic, keeps} {
		if err := x.commit(group, name, 3); err != nil {
			return "", err
		}
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	deleted, err := x.adm.DeleteOffsets(ctx, group, set)
	if err != nil {
		return "", err
	}
	if err := deleted.Error(); err != nil {
		return "", err
	}
	left, err := x.adm.FetchOffsets(ctx, group)
	if err != nil {
		return "", err
	}
	if _, ok := left.Lookup(topic, 0); ok {
		return "", fmt.Errorf("the offset is still there")
	}
	if o, ok := left.Lookup(keeps, 0); !ok || o.At != 3 || o.Metadata != "by hand" {
		return "", fmt.Errorf("the other topic's offset is %+v", o)
	}
	subscribed := topic + "-subscribed"
	m, err := x.join(subscribed, topic)
	if err != nil {
		return "", err
	}
	defer m.leave()
	if err := shared(ctx, 1, m); err != nil {
		return "", err
	}
	deleted, err = x.adm.DeleteOffsets(ctx, subscribed, set)
	if err == nil {
		err = deleted.Error()
	}
	if !errors.Is(err, kerr.GroupSubscribedToTopic) {
		return "", fmt.Errorf("of a subscribed topic: %v, want GROUP_SUBSCRIBED_TO_TOPIC", err)
	}
	return "one topic's, refused while it is subscribed", nil
}

func resetOffsets(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 20)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := driver.Wait(ctx, func() error {
		if m.count() < 20 {
			return fmt.Errorf("%d of 20 records", m.count())
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := x.commit(topic, topic, 5); !errors.Is(err, kerr.UnknownMemberID) {
		return "", fmt.Errorf("while a member is there: %v, want UNKNOWN_MEMBER_ID", err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	if err := x.commit(topic, topic, 15); err != nil {
		return "", err
	}
	again, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := driver.Wait(ctx, func() error {
		if again.count() < 5 {
			return fmt.Errorf("%d of 5 records", again.count())
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := again.leave(); err != nil {
		return "", err
	}
	return "refused with members, then read again from 15", driver.Same(sent[15:], again.read)
}
