package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scope is which partitions a command is about: --topic, --all-topics.
type scope struct {
	topics []string
	all    bool
}

func (s *scope) add(c *cobra.Command) {
	c.Flags().StringArrayVarP(&s.topics, "topic", "t", nil, "a topic, or some of its partitions as orders:0,2; may be given several times")
	c.Flags().BoolVar(&s.all, "all-topics", false, "every topic that the group has offsets for")
}

// chosen reads the flags: the partitions by topic, none for all of a topic.
func (s *scope) chosen() (map[string][]int32, error) {
	if s.all == (len(s.topics) > 0) {
		return nil, usagef("say which partitions: --topic NAME, --topic NAME:0,2 or --all-topics")
	}
	chosen := make(map[string][]int32, len(s.topics))
	for _, given := range s.topics {
		name, list, some := strings.Cut(given, ":")
		if before, twice := chosen[name]; name == "" || twice && (!some || len(before) == 0) {
			return nil, usagef("--topic %s: it is a name, once, or name:partition,…", given)
		}
		if !some {
			chosen[name] = nil
			continue
		}
		for number := range strings.SplitSeq(list, ",") {
			p, err := strconv.ParseInt(number, 10, 32)
			if err != nil || p < 0 {
				return nil, usagef("--topic %s: %q is not the number of a partition", given, number)
			}
			if !slices.Contains(chosen[name], int32(p)) {
				chosen[name] = append(chosen[name], int32(p))
			}
		}
	}
	return chosen, nil
}

// partitions finds out which partitions that are: whole topics as they are now.
func (s *scope) partitions(ctx context.Context, admin *kadm.Client, committed kadm.OffsetResponses) ([]topicPartition, error) {
	chosen, err := s.chosen()
	if err != nil {
		return nil, err
	}
	if s.all {
		for topic := range committed {
			chosen[topic] = nil
		}
		if len(chosen) == 0 {
			return nil, errors.New("the group has no committed offsets; --topic names what it is to read")
		}
	}
	var names []string
	for name := range chosen {
		names = append(names, name)
	}
	topics, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, err
	}
	var list []topicPartition
	for name, some := range chosen {
		t, ok := topics[name]
		switch {
		case !ok, errors.Is(t.Err, kerr.UnknownTopicOrPartition) && s.all:
			continue // offsets of a topic that is gone
		case t.Err != nil:
			return nil, fmt.Errorf("topic %s: %w", name, t.Err)
		case some == nil:
			some = t.Partitions.Numbers()
		}
		for _, p := range some {
			if _, ok := t.Partitions[p]; !ok {
				return nil, fmt.Errorf("topic %s has no partition %d: there are %d, from 0", name, p, len(t.Partitions))
			}
			list = append(list, topicPartition{name, p})
		}
	}
	slices.SortFunc(list, func(a, b topicPartition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	return list, nil
}

// target is where offsets are to be reset to.
type target struct {
	word   string    // "earliest", "latest", "current", or none of them
	offset int64     // −1 when it is not an offset
	at     time.Time // zero when it is not a time
	shift  int64     // from the committed offset
}

// parseTarget reads --to.
func parseTarget(given string, now time.Time) (target, error) {
	to := target{offset: -1}
	switch given {
	case "earliest", "latest", "current":
		to.word = given
		return to, nil
	}
	if n, err := strconv.ParseInt(given, 10, 64); err == nil && n >= 0 {
		to.offset = n
		return to, nil
	}
	if ago, ok := strings.CutPrefix(given, "-"); ok {
		if d, err := parseDays(ago); err == nil {
			to.at = now.Add(-d)
			return to, nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.Parse(layout, given); err == nil && at.UnixMilli() >= 0 {
			to.at = at
			return to, nil
		}
	}
	return to, usagef("--to %s: it is earliest, latest, current, an offset (1000), a time (2026-11-23T10:00:00Z, 2026-11-23), or how long ago (-90m, -7d)", given)
}

// parseDays is time.ParseDuration with days.
func parseDays(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%s days", days)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d < 0 {
		return 0, fmt.Errorf("%s is negative", s)
	}
	return d, err
}

// reset is one partition's change.
type reset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      *int64 `json:"from"` // null when nothing was committed
	To        int64  `json:"to"`
}

type resetOptions struct {
	scope
	to      string
	shift   int64
	execute bool
	output  string
}

func newGroupResetOffsets(b *bootstrap) *cobra.Command {
	var o resetOptions
	c := &cobra.Command{
		Use:   "reset-offsets GROUP",
		Short: "Move a group to other offsets",
		Long: `Move a group to other offsets. Without --execute it only shows what would change.

The group must have no running members: they would go on where they are, and commit
over the change. A group that does not exist yet may be given its first offsets.
Offsets outside the log become its first or its end.`,
		Example: `  chronik group reset-offsets billing --topic orders --to earliest              # show
  chronik group reset-offsets billing --topic orders --to earliest --execute    # do
  chronik group reset-offsets billing --topic orders:0,2 --to 1000 --execute
  chronik group reset-offsets billing --all-topics --to 2026-11-23T10:00:00Z    # first records since then
  chronik group reset-offsets billing --all-topics --to -90m
  chronik group reset-offsets billing --topic orders --shift-by -100            # again the last hundred of each partition`,
		Args: exactly("GROUP"), ValidArgsFunction: b.groups,
		RunE: func(c *cobra.Command, args []string) error {
			to, err := o.target(c.Flags().Changed("shift-by"), time.Now())
			if err != nil {
				return err
			}
			if _, err := o.chosen(); err != nil {
				return err
			}
			return b.admin(c.Context(), func(ctx context.Context, admin *kadm.Client) error {
				resets, err := o.run(ctx, admin, args[0], to)
				if err != nil {
					return fmt.Errorf("reset offsets of group %s: %w", args[0], err)
				}
				return o.write(c.OutOrStdout(), c.ErrOrStderr(), resets)
			})
		},
	}
	o.add(c)
	c.Flags().StringVar(&o.to, "to", "", "earliest, latest, current (commits what is committed), an offset, a time, or how long ago as -90m or -7d")
	c.Flags().Int64Var(&o.shift, "shift-by", 0, "move by so many offsets, back when negative")
	c.Flags().BoolVar(&o.execute, "execute", false, "do it, not only show it")
	addOutput(c, &o.output, "table", "json", "csv")
	return c
}

func (o *resetOptions) target(shifted bool, now time.Time) (target, error) {
	switch {
	case shifted == (o.to != ""):
		return target{}, usagef("say where to: --to WHERE or --shift-by N")
	case shifted:
		return target{offset: -1, shift: o.shift}, nil
	}
	return parseTarget(o.to, now)
}

func (o *resetOptions) run(ctx context.Context, admin *kadm.Client, name string, to target) ([]reset, error) {
	who, err := whoIs(ctx, admin, name)
	switch {
	case errors.Is(err, kerr.GroupIDNotFound): // it comes to be with its first offsets
	case err != nil:
		return nil, err
	case who.State != "Empty" && who.State != "Dead":
		return nil, running(fmt.Errorf("%w: it is %s and has %s", kerr.NonEmptyGroup, who.State, plural(int64(len(who.Members)), "member")))
	}
	committed, err := admin.FetchOffsets(ctx, name)
	if err != nil {
		return nil, err
	}
	partitions, err := o.partitions(ctx, admin, committed)
	if err != nil {
		return nil, err
	}
	resets, err := to.of(ctx, admin, partitions, committed)
	if err != nil || !o.execute {
		return resets, err
	}
	offsets := make(kadm.Offsets)
	for _, r := range resets {
		offsets.Add(kadm.Offset{Topic: r.Topic, Partition: r.Partition, At: r.To, LeaderEpoch: -1})
	}
	answers, err := admin.CommitOffsets(ctx, name, offsets)
	if err != nil {
		return nil, err
	}
	var failed []error
	answers.Each(func(answer kadm.OffsetResponse) {
		if answer.Err != nil {
			failed = append(failed, fmt.Errorf("partition %d of %s: %w", answer.Partition, answer.Topic, running(answer.Err)))
		}
	})
	return resets, errors.Join(failed...)
}

// of says what the target is in each partition.
func (to target) of(ctx context.Context, admin *kadm.Client, partitions []topicPartition, committed kadm.OffsetResponses) ([]reset, error) {
	topics := make(map[string]bool)
	for _, p := range partitions {
		topics[p.topic] = true
	}
	starts, err := listed(ctx, admin.ListStartOffsets, topics)
	if err != nil {
		return nil, err
	}
	ends, err := listed(ctx, admin.ListEndOffsets, topics)
	if err != nil {
		return nil, err
	}
	since := ends
	if !to.at.IsZero() {
		since, err = listed(ctx, func(ctx context.Context, names ...string) (kadm.ListedOffsets, error) {
			return admin.ListOffsetsAfterMilli(ctx, to.at.UnixMilli(), names...)
		}, topics)
		if err != nil {
			return nil, err
		}
	}
	resets := []reset{}
	for _, p := range partitions {
		start, _ := starts.Lookup(p.topic, p.partition)
		end, _ := ends.Lookup(p.topic, p.partition)
		found, _ := since.Lookup(p.topic, p.partition)
		if err := cmp.Or(start.Err, end.Err, found.Err); err != nil {
			return nil, fmt.Errorf("partition %d of %s: %w", p.partition, p.topic, err)
		}
		r := reset{Topic: p.topic, Partition: p.partition}
		if before, ok := committed.Lookup(p.topic, p.partition); ok && before.Err == nil && before.At >= 0 {
			r.From = &before.At
		}
		r.To = to.in(start.Offset, end.Offset, found.Offset, r.From)
		resets = append(resets, r)
	}
	return resets, nil
}

// in is the target in a log [start, end). from is the committed offset, if there
// is one: without it the group is taken to be at the end, as Kafka's tool does.
func (to target) in(start, end, since int64, from *int64) int64 {
	current := end
	if from != nil {
		current = *from
	}
	wanted := current
	switch {
	case to.word == "earliest":
		wanted = start
	case to.word == "latest":
		wanted = end
	case to.word == "current":
		return current // also one that is outside the log
	case !to.at.IsZero():
		wanted = since
	case to.offset >= 0:
		wanted = to.offset
	case to.shift > 0 && current > math.MaxInt64-to.shift:
		wanted = math.MaxInt64
	case to.shift < -current:
		wanted = 0
	default:
		wanted = current + to.shift
	}
	return min(max(wanted, start), end)
}

func (o *resetOptions) write(out, notes io.Writer, resets []reset) error {
	if o.output == "json" {
		return writeJSON(out, map[string]any{"executed": o.execute, "offsets": resets})
	}
	t := newTable("topic", ">partition", ">from", ">to")
	for _, r := range resets {
		t.add(r.Topic, r.Partition, orDash(r.From), r.To)
	}
	if err := t.writeAs(out, o.output); err != nil {
		return err
	}
	if !o.execute {
		fmt.Fprintln(notes, "nothing has been changed: --execute does it")
	}
	return nil
}

func newGroupDeleteOffsets(b *bootstrap) *cobra.Command {
	var s scope
	c := &cobra.Command{
		Use:   "delete-offsets GROUP",
		Short: "Forget a group's offsets in topics that it does not read any more",
		Example: `  chronik group delete-offsets billing --topic orders
  chronik group delete-offsets billing --topic orders:3 --topic payments`,
		Args: exactly("GROUP"), ValidArgsFunction: b.groups,
		RunE: func(c *cobra.Command, args []string) error {
			chosen, err := s.chosen()
			if err != nil {
				return err
			}
			return b.admin(c.Context(), func(ctx context.Context, admin *kadm.Client) error {
				n, err := deleteOffsets(ctx, admin, args[0], chosen, s.all)
				if err != nil {
					return fmt.Errorf("delete offsets of group %s: %w", args[0], running(err))
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "deleted offsets of %s\n", plural(int64(n), "partition"))
				return err
			})
		},
	}
	s.add(c)
	return c
}

func deleteOffsets(ctx context.Context, admin *kadm.Client, name string, chosen map[string][]int32, all bool) (int, error) {
	committed, err := admin.FetchOffsets(ctx, name)
	if err != nil {
		return 0, err
	}
	set, n := make(kadm.TopicsSet), 0
	for _, o := range committed.Sorted() {
		some, ok := chosen[o.Topic]
		if o.At >= 0 && (all || ok && (len(some) == 0 || slices.Contains(some, o.Partition))) {
			set.Add(o.Topic, o.Partition)
			n++
		}
	}
	if n == 0 {
		return 0, errors.New("it has none there (`chronik group describe` shows its offsets)")
	}
	answers, err := admin.DeleteOffsets(ctx, name, set)
	if err != nil {
		return 0, err
	}
	var failed []error
	answers.EachError(func(topic string, partition int32, err error) {
		failed = append(failed, fmt.Errorf("partition %d of %s: %w", partition, topic, err))
	})
	return n, errors.Join(failed...)
}

// groups completes arguments with the names of the groups.
func (b *bootstrap) groups(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completeWithin)
	defer cancel()
	var names []string
	err := b.connected(ctx, func(ctx context.Context, client *kgo.Client) error {
		groups, err := listGroups(ctx, client, kmsg.NewPtrListGroupsRequest())
		for _, g := range groups {
			names = append(names, g.Group)
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
