package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newGroup(e env) *cobra.Command {
	var b bootstrap
	c := group("group", "Look at consumer groups, and move them to other offsets",
		`Look at consumer groups: who is in them, how far they are and how far behind.
Move a group to other offsets while none of its members runs.`,
		newGroupList(&b), newGroupDescribe(&b), newGroupResetOffsets(&b), newGroupDeleteOffsets(&b), newGroupDelete(&b))
	c.Example = `  chronik group list
  chronik group describe billing                                           # offsets and lag, and who reads what
  chronik group reset-offsets billing --topic orders --to -2h              # shows what would change
  chronik group reset-offsets billing --topic orders --to -2h --execute    # does it`
	b.add(c, e)
	return c
}

// listedGroup is a row of `group list`.
type listedGroup struct {
	Group       string `json:"group"`
	Type        string `json:"type"`
	State       string `json:"state"`
	Protocol    string `json:"protocol"` // "consumer", "connect", …
	Coordinator int32  `json:"coordinator"`
}

func newGroupList(b *bootstrap) *cobra.Command {
	var output string
	var states, types []string
	c := &cobra.Command{
		Use:   "list",
		Short: "List consumer groups",
		Example: `  chronik group list
  chronik group list --state stable,empty --type consumer
  chronik group list -o json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			request, err := listGroupsRequest(states, types)
			if err != nil {
				return err
			}
			return b.connected(c.Context(), func(ctx context.Context, client *kgo.Client) error {
				groups, err := listGroups(ctx, client, request)
				if err != nil {
					return fmt.Errorf("list groups: %w", err)
				}
				if output == "json" {
					return writeJSON(c.OutOrStdout(), groups)
				}
				t := newTable("group", "type", "state", "protocol", ">coordinator")
				for _, g := range groups {
					t.add(g.Group, g.Type, g.State, g.Protocol, g.Coordinator)
				}
				return t.writeAs(c.OutOrStdout(), output)
			})
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil, "only groups in these states: stable, empty, preparing-rebalance, completing-rebalance, assigning, reconciling, dead")
	c.Flags().StringSliceVar(&types, "type", nil, "only groups of these types: classic, consumer")
	addOutput(c, &output, "table", "json", "csv")
	return c
}

// stateNames are Kafka's names of the states, which brokers compare exactly.
var stateNames = []string{"Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Dead"}

// kafkaState finds the state that somebody means.
func kafkaState(given string) (string, error) {
	plain := strings.ToLower(strings.ReplaceAll(given, "-", ""))
	for _, name := range stateNames {
		if strings.ToLower(name) == plain {
			return name, nil
		}
	}
	return "", usagef("--state %s: it is one of %s", given, strings.Join(stateNames, ", "))
}

func listGroupsRequest(states, types []string) (*kmsg.ListGroupsRequest, error) {
	request := kmsg.NewPtrListGroupsRequest()
	for _, given := range states {
		name, err := kafkaState(given)
		if err != nil {
			return nil, err
		}
		request.StatesFilter = append(request.StatesFilter, name)
	}
	for _, given := range types {
		if name := strings.ToLower(given); name != "classic" && name != "consumer" {
			return nil, usagef("--type %s: it is classic or consumer", given)
		}
		request.TypesFilter = append(request.TypesFilter, strings.ToLower(given))
	}
	return request, nil
}

func listGroups(ctx context.Context, client *kgo.Client, request *kmsg.ListGroupsRequest) ([]listedGroup, error) {
	groups := []listedGroup{}
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			return nil, fmt.Errorf("broker %d: %w", shard.Meta.NodeID, shard.Err)
		}
		answer := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
			return nil, fmt.Errorf("broker %d: %w", shard.Meta.NodeID, err)
		}
		for _, g := range answer.Groups {
			groups = append(groups, listedGroup{g.Group, strings.ToLower(g.GroupType), g.GroupState, g.ProtocolType, shard.Meta.NodeID})
		}
	}
	slices.SortFunc(groups, func(a, b listedGroup) int { return cmp.Compare(a.Group, b.Group) })
	return groups, nil
}

// groupDescription is what `group describe -o json` writes.
type groupDescription struct {
	Group       string            `json:"group"`
	Type        string            `json:"type"`
	State       string            `json:"state"`
	Assignor    string            `json:"assignor"`
	Epoch       *int32            `json:"epoch"` // null for a classic group, whose generation is not told
	Coordinator int32             `json:"coordinator"`
	Lag         int64             `json:"lag"`
	Members     []groupMember     `json:"members"`
	Partitions  []partitionOffset `json:"partitions"`
}

type groupMember struct {
	ID         string             `json:"id"`
	InstanceID *string            `json:"instance_id"`
	ClientID   string             `json:"client_id"`
	Host       string             `json:"host"`
	Epoch      *int32             `json:"epoch"` // null in a classic group
	Subscribed []string           `json:"subscribed"`
	Regex      *string            `json:"subscribed_regex,omitempty"`
	Assigned   map[string][]int32 `json:"assigned"`
}

// partitionOffset is one partition that the group has committed or reads.
type partitionOffset struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Committed *int64  `json:"committed"` // null when nothing is committed
	End       *int64  `json:"log_end"`   // null when the partition is not there or has no leader
	Lag       *int64  `json:"lag"`
	Member    *string `json:"member"`
	ClientID  *string `json:"client_id"`
	Host      *string `json:"host"`
}

func newGroupDescribe(b *bootstrap) *cobra.Command {
	var output string
	var state, members bool
	c := &cobra.Command{
		Use:   "describe GROUP",
		Short: "Show a group's offsets, lag and members",
		Example: `  chronik group describe billing              # each partition: committed, end of the log, lag, who reads it
  chronik group describe billing --members    # each member and what it is assigned
  chronik group describe billing --state      # the group as a whole
  chronik group describe billing -o json      # all of it`,
		Args: exactly("GROUP"), ValidArgsFunction: b.groups,
		RunE: func(c *cobra.Command, args []string) error {
			if state && members {
				return usagef("--state and --members do not go together: -o json shows both")
			}
			return b.connected(c.Context(), func(ctx context.Context, client *kgo.Client) error {
				d, err := describeGroup(ctx, kadm.NewClient(client), args[0])
				if err != nil {
					return fmt.Errorf("describe group %s: %w", args[0], err)
				}
				switch {
				case output == "json":
					return writeJSON(c.OutOrStdout(), d)
				case state:
					return d.stateTable().writeAs(c.OutOrStdout(), output)
				case output == "table":
					d.writeHead(c.OutOrStdout())
				}
				if members {
					return d.memberTable().writeAs(c.OutOrStdout(), output)
				}
				return d.partitionTable(output).writeAs(c.OutOrStdout(), output)
			})
		},
	}
	c.Flags().BoolVar(&state, "state", false, "show state, coordinator, assignor and number of members instead")
	c.Flags().BoolVar(&members, "members", false, "show the members and their assignments instead")
	addOutput(c, &output, "table", "json", "csv")
	return c
}

// whoIs finds out what a group is and who is in it. Which of the two requests
// answers depends on the group's type.
func whoIs(ctx context.Context, admin *kadm.Client, name string) (*groupDescription, error) {
	classic, err := admin.DescribeGroups(ctx, name)
	if err != nil {
		return nil, err
	}
	g, err := classic.On(name, nil)
	if err != nil {
		return nil, err
	}
	d := &groupDescription{Group: name, Type: "classic", Members: []groupMember{}, Partitions: []partitionOffset{}}
	gone := errors.Is(g.Err, kerr.GroupIDNotFound) || g.Err == nil && g.State == "Dead"
	if !gone {
		if g.Err != nil {
			return nil, because(g.Err, g.ErrMessage)
		}
		d.State, d.Assignor, d.Coordinator = g.State, g.Protocol, g.Coordinator.NodeID
		for _, m := range g.Members {
			member := groupMember{ID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.ClientHost,
				Subscribed: []string{}, Assigned: make(map[string][]int32)}
			if joined, ok := m.Join.AsConsumer(); ok {
				member.Subscribed = append(member.Subscribed, joined.Topics...)
			}
			if assigned, ok := m.Assigned.AsConsumer(); ok {
				for _, t := range assigned.Topics {
					member.Assigned[t.Topic] = append(member.Assigned[t.Topic], t.Partitions...)
				}
			}
			d.add(member)
		}
		return d, nil
	}
	consumer, err := admin.DescribeConsumerGroups(ctx, name)
	if err != nil {
		// A cluster without that request has no such group.
		return nil, kerr.GroupIDNotFound
	}
	described, ok := consumer[name]
	if !ok || errors.Is(described.Err, kerr.GroupIDNotFound) {
		return nil, kerr.GroupIDNotFound
	}
	if described.Err != nil {
		return nil, described.Err
	}
	d.Type, d.State, d.Assignor, d.Coordinator, d.Epoch = "consumer", described.State, described.AssignorName, described.Coordinator.NodeID, &described.Epoch
	for _, m := range described.Members {
		member := groupMember{ID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.ClientHost, Epoch: &m.MemberEpoch,
			Subscribed: append([]string{}, m.SubscribedTopics...), Assigned: make(map[string][]int32)}
		if m.SubscribedTopicRegex != nil && *m.SubscribedTopicRegex != "" {
			member.Regex = m.SubscribedTopicRegex
		}
		for topic, partitions := range m.Assignment {
			for p := range partitions {
				member.Assigned[topic] = append(member.Assigned[topic], p)
			}
		}
		d.add(member)
	}
	return d, nil
}

func (d *groupDescription) add(m groupMember) {
	slices.Sort(m.Subscribed)
	for _, partitions := range m.Assigned {
		slices.Sort(partitions)
	}
	d.Members = append(d.Members, m)
}

// describeGroup adds to whoIs how far the group is.
func describeGroup(ctx context.Context, admin *kadm.Client, name string) (*groupDescription, error) {
	d, err := whoIs(ctx, admin, name)
	if err != nil {
		return nil, err
	}
	committed, err := admin.FetchOffsets(ctx, name)
	if err != nil {
		return nil, err
	}
	rows := make(map[topicPartition]*partitionOffset)
	row := func(topic string, partition int32) *partitionOffset {
		key := topicPartition{topic, partition}
		if rows[key] == nil {
			rows[key] = &partitionOffset{Topic: topic, Partition: partition}
		}
		return rows[key]
	}
	for _, o := range committed.Sorted() {
		if o.Err == nil && o.At >= 0 {
			row(o.Topic, o.Partition).Committed = &o.At
		}
	}
	for i := range d.Members {
		m := &d.Members[i]
		for topic, partitions := range m.Assigned {
			for _, p := range partitions {
				r := row(topic, p)
				r.Member, r.ClientID, r.Host = &m.ID, &m.ClientID, &m.Host
			}
		}
	}
	topics := make(map[string]bool)
	for key := range rows {
		topics[key.topic] = true
	}
	ends, err := listed(ctx, admin.ListEndOffsets, topics)
	if err != nil {
		return nil, err
	}
	for key, r := range rows {
		if end, ok := ends.Lookup(key.topic, key.partition); ok && end.Err == nil {
			r.End = &end.Offset
		}
		if r.End != nil && r.Committed != nil {
			lag := max(0, *r.End-*r.Committed)
			r.Lag = &lag
			d.Lag += lag
		}
		d.Partitions = append(d.Partitions, *r)
	}
	slices.SortFunc(d.Partitions, func(a, b partitionOffset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return d, nil
}

type topicPartition struct {
	topic     string
	partition int32
}

// listed asks for offsets of topics of which some may be gone. Asking for none
// would list all.
func listed(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), topics map[string]bool) (kadm.ListedOffsets, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	var names []string
	for name := range topics {
		names = append(names, name)
	}
	return list(ctx, names...)
}

func (d *groupDescription) writeHead(out io.Writer) {
	fmt.Fprintf(out, "group %s, %s, %s, %s, lag %s\n\n", d.Group, d.Type, d.State, plural(int64(len(d.Members)), "member"), grouped(d.Lag))
}

// orDash shows what is not known as people's tools do.
func orDash[T any](v *T) any {
	if v == nil {
		return "-"
	}
	return *v
}

func (d *groupDescription) partitionTable(output string) *table {
	number := func(n *int64) any {
		if n != nil && output == "table" {
			return grouped(*n)
		}
		return orDash(n)
	}
	t := newTable("topic", ">partition", ">committed", ">end", ">lag", "member", "client", "host")
	for _, p := range d.Partitions {
		t.add(p.Topic, p.Partition, orDash(p.Committed), orDash(p.End), number(p.Lag), orDash(p.Member), orDash(p.ClientID), orDash(p.Host))
	}
	return t
}

func (d *groupDescription) memberTable() *table {
	t := newTable("member", "instance", "client", "host", ">partitions", "assigned")
	for _, m := range d.Members {
		n := 0
		var assigned []string
		for topic, partitions := range m.Assigned {
			n += len(partitions)
			assigned = append(assigned, topic+":"+strings.Trim(strings.ReplaceAll(fmt.Sprint(partitions), " ", ","), "[]"))
		}
		slices.Sort(assigned)
		t.add(m.ID, orDash(m.InstanceID), m.ClientID, m.Host, n, strings.Join(assigned, " "))
	}
	return t
}

func (d *groupDescription) stateTable() *table {
	t := newTable("group", "type", "state", "assignor", ">epoch", ">members", ">coordinator")
	assignor := d.Assignor
	if assignor == "" {
		assignor = "-"
	}
	t.add(d.Group, d.Type, d.State, assignor, orDash(d.Epoch), len(d.Members), d.Coordinator)
	return t
}

func newGroupDelete(b *bootstrap) *cobra.Command {
	return &cobra.Command{
		Use:               "delete GROUP…",
		Short:             "Delete groups that have no members, with their offsets",
		Example:           `  chronik group delete billing`,
		ValidArgsFunction: b.groups,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("GROUP is missing")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return b.admin(c.Context(), func(ctx context.Context, admin *kadm.Client) error {
				answers, err := admin.DeleteGroups(ctx, args...)
				if err != nil {
					return fmt.Errorf("delete groups: %w", err)
				}
				var failed []error
				for _, answer := range answers.Sorted() {
					if answer.Err != nil {
						failed = append(failed, fmt.Errorf("delete group %s: %w", answer.Group, running(because(answer.Err, answer.ErrMessage))))
						continue
					}
					fmt.Fprintf(c.OutOrStdout(), "deleted group %s\n", answer.Group)
				}
				return errors.Join(failed...)
			})
		},
	}
}

// running adds to what a broker says of a group in use what to do about it.
func running(err error) error {
	for _, inUse := range []error{kerr.NonEmptyGroup, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.StaleMemberEpoch} {
		if errors.Is(err, inUse) {
			return fmt.Errorf("%w (stop its members first; `chronik group describe --members` shows them)", err)
		}
	}
	if errors.Is(err, kerr.GroupSubscribedToTopic) {
		return fmt.Errorf("%w (members read that topic; `chronik group describe --members` shows them)", err)
	}
	return err
}
