package cli

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newTopic(e env) *cobra.Command {
	var b bootstrap
	c := group("topic", "Create, look at, change and delete topics",
		`Create, look at, change and delete topics. Settings are listed in docs/topics.md.`,
		newTopicCreate(&b), newTopicList(&b), newTopicDescribe(&b), newTopicAlter(&b), newTopicDelete(&b))
	c.Example = `  chronik topic create orders --partitions 6 --config columnar.enabled=true
  chronik topic list
  chronik topic describe orders
  chronik topic alter orders --config retention.ms=86400000
  chronik topic delete orders`
	b.add(c, e)
	return c
}

// parseConfigs reads --config key=value flags.
func parseConfigs(list []string) (map[string]string, error) {
	configs := make(map[string]string, len(list))
	for _, assignment := range list {
		key, value, ok := strings.Cut(assignment, "=")
		if !ok || key == "" {
			return nil, usagef("--config %s: it is key=value", assignment)
		}
		if _, twice := configs[key]; twice {
			return nil, usagef("--config %s is given twice", key)
		}
		configs[key] = value
	}
	return configs, nil
}

func newTopicCreate(b *bootstrap) *cobra.Command {
	var partitions int32
	var replicas int16
	var configs []string
	var exists bool
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a topic",
		Example: `  chronik topic create orders --partitions 6
  chronik topic create orders --partitions 6 --config columnar.enabled=true --config retention.ms=86400000
  chronik topic create orders --if-not-exists`,
		Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			set, err := parseConfigs(configs)
			if err != nil {
				return err
			}
			pointers := make(map[string]*string, len(set))
			for key, value := range set {
				pointers[key] = &value
			}
			return b.admin(c.Context(), func(ctx context.Context, admin *kadm.Client) error {
				answer, err := admin.CreateTopic(ctx, partitions, replicas, pointers, args[0])
				if errors.Is(err, kerr.TopicAlreadyExists) && exists {
					_, err := fmt.Fprintf(c.OutOrStdout(), "topic %s is there already\n", args[0])
					return err
				}
				if err != nil {
					return fmt.Errorf("create topic %s: %w", args[0], because(err, answer.ErrMessage))
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "created topic %s with %s\n", args[0], plural(int64(answer.NumPartitions), "partition"))
				return err
			})
		},
	}
	c.Flags().Int32VarP(&partitions, "partitions", "p", -1, "number of partitions; -1 is the cluster's topic.partitions")
	c.Flags().Int16Var(&replicas, "replicas", -1, "replication factor, kept for Kafka's tools: durability comes from the bucket")
	c.Flags().StringArrayVarP(&configs, "config", "c", nil, "a setting as key=value; may be given several times")
	c.Flags().BoolVar(&exists, "if-not-exists", false, "do nothing when the topic is there already")
	return c
}

func newTopicList(b *bootstrap) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "list",
		Short: "List all topics",
		Example: `  chronik topic list
  chronik topic list -o json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			return b.admin(c.Context(), func(ctx context.Context, admin *kadm.Client) error {
				topics, err := admin.ListTopics(ctx)
				if err != nil {
					return fmt.Errorf("list topics: %w", err)
				}
				return writeTopics(c.OutOrStdout(), topics, output)
			})
		},
	}
	addOutput(c, &output, "table", "json")
	return c
}

func writeTopics(out io.Writer, topics kadm.TopicDetails, output string) error {
	type row struct {
		Name       string `json:"name"`
		ID         string `json:"id"`
		Partitions int    `json:"partitions"`
	}
	rows := []row{}
	for _, d := range topics.Sorted() {
		rows = append(rows, row{d.Topic, uuid(d.ID), len(d.Partitions)})
	}
	if output == "json" {
		return writeJSON(out, rows)
	}
	t := newTable("topic", ">partitions", "id")
	for _, r := range rows {
		t.add(r.Name, r.Partitions, r.ID)
	}
	return t.write(out)
}

func uuid(id [16]byte) string {
	s := hex.EncodeToString(id[:])
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

// topicDescription is what `topic describe -o json` writes.
type topicDescription struct {
	Name       string                 `json:"name"`
	ID         string                 `json:"id"`
	Partitions []partitionDescription `json:"partitions"`
	Config     []configDescription    `json:"config"`
}

type partitionDescription struct {
	Partition int32 `json:"partition"`
	Leader    int32 `json:"leader"`
	Epoch     int32 `json:"leader_epoch"`
	First     int64 `json:"first"`
	Next      int64 `json:"next"`
}

type configDescription struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func newTopicDescribe(b *bootstrap) *cobra.Command {
	var output string
	var all bool
	c := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show a topic's partitions, offsets and settings",
		Example: `  chronik topic describe orders
  chronik topic describe orders --all        # settings that nobody set, too
  chronik topic describe orders -o json`,
		Args: exactly("NAME"), ValidArgsFunction: b.topics(false),
		RunE: func(c *cobra.Command, args []string) error {
			return b.admin(c.Context(), func(ctx context.Context, admin *kadm.Client) error {
				d, err := describe(ctx, admin, args[0], all)
				if err != nil {
					return fmt.Errorf("describe topic %s: %w", args[0], err)
				}
				if output == "json" {
					return writeJSON(c.OutOrStdout(), d)
				}
				return d.write(c.OutOrStdout())
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "show settings with their defaults too")
	addOutput(c, &output, "table", "json")
	return c
}

func describe(ctx context.Context, admin *kadm.Client, name string, all bool) (*topicDescription, error) {
	topics, err := admin.ListTopics(ctx, name)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return nil, err
	}
	starts, err := admin.ListStartOffsets(ctx, name)
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, name)
	if err != nil {
		return nil, err
	}
	d := &topicDescription{Name: name, ID: uuid(topics[name].ID), Config: []configDescription{}}
	for _, p := range topics[name].Partitions.Sorted() {
		row := partitionDescription{Partition: p.Partition, Leader: p.Leader, Epoch: p.LeaderEpoch, First: -1, Next: -1}
		if start, ok := starts.Lookup(name, p.Partition); ok && start.Err == nil {
			row.First = start.Offset
		}
		if end, ok := ends.Lookup(name, p.Partition); ok && end.Err == nil {
			row.Next = end.Offset
		}
		d.Partitions = append(d.Partitions, row)
	}
	d.Config, err = describeConfig(ctx, admin, name, all)
	return d, err
}

func describeConfig(ctx context.Context, admin *kadm.Client, name string, all bool) ([]configDescription, error) {
	answers, err := admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return nil, err
	}
	answer, err := answers.On(name, nil)
	if err == nil {
		err = because(answer.Err, answer.ErrMessage)
	}
	if err != nil {
		return nil, err
	}
	list := []configDescription{}
	for _, config := range answer.Configs {
		if all || config.Source != kmsg.ConfigSourceDefaultConfig {
			list = append(list, configDescription{config.Key, config.MaybeValue(), sourceWord(config.Source)})
		}
	}
	slices.SortFunc(list, func(a, b configDescription) int { return cmp.Compare(a.Key, b.Key) })
	return list, nil
}

func sourceWord(s kmsg.ConfigSource) string {
	switch s {
	case kmsg.ConfigSourceDynamicTopicConfig:
		return "topic"
	case kmsg.ConfigSourceStaticBrokerConfig:
		return "cluster"
	case kmsg.ConfigSourceDefaultConfig:
		return "default"
	}
	return strings.ToLower(s.String())
}

func (d *topicDescription) write(out io.Writer) error {
	records := int64(0)
	t := newTable(">partition", ">leader", ">epoch", ">first", ">next", ">records")
	for _, p := range d.Partitions {
		t.add(p.Partition, p.Leader, p.Epoch, p.First, p.Next, grouped(p.Next-p.First))
		records += p.Next - p.First
	}
	fmt.Fprintf(out, "topic %s, id %s, %s\n\n", d.Name, d.ID, plural(records, "record"))
	if err := t.write(out); err != nil || len(d.Config) == 0 {
		return err
	}
	fmt.Fprintln(out)
	configs := newTable("setting", "value", "source")
	for _, c := range d.Config {
		configs.add(c.Key, c.Value, c.Source)
	}
	return configs.write(out)
}

func newTopicAlter(b *bootstrap) *cobra.Command {
	var partitions int
	var configs, unset []string
	c := &cobra.Command{
		Use:   "alter NAME",
		Short: "Change a topic's settings, or give it more partitions",
		Example: `  chronik topic alter orders --config retention.ms=86400000
  chronik topic alter orders --unset retention.ms     # back to the default
  chronik topic alter orders --partitions 12`,
		Args: exactly("NAME"), ValidArgsFunction: b.topics(false),
		RunE: func(c *cobra.Command, args []string) error {
			set, err := parseConfigs(configs)
			if err != nil {
				return err
			}
			if partitions == 0 && len(set) == 0 && len(unset) == 0 {
				return usagef("nothing to change: give --config, --unset or --partitions")
			}
			return b.admin(c.Context(), func(ctx context.Context, admin *kadm.Client) error {
				if err := alter(ctx, admin, args[0], set, unset, partitions); err != nil {
					return fmt.Errorf("alter topic %s: %w", args[0], err)
				}
				_, err := fmt.Fprintf(c.OutOrStdout(), "altered topic %s\n", args[0])
				return err
			})
		},
	}
	c.Flags().IntVarP(&partitions, "partitions", "p", 0, "number of partitions to have; it can only rise")
	c.Flags().StringArrayVarP(&configs, "config", "c", nil, "a setting as key=value; may be given several times")
	c.Flags().StringArrayVar(&unset, "unset", nil, "a setting that goes back to its default; may be given several times")
	return c
}

func alter(ctx context.Context, admin *kadm.Client, name string, set map[string]string, unset []string, partitions int) error {
	var changes []kadm.AlterConfig
	for _, key := range slices.Sorted(maps.Keys(set)) {
		value := set[key]
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value})
	}
	for _, key := range unset {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key})
	}
	if len(changes) > 0 {
		answers, err := admin.AlterTopicConfigs(ctx, changes, name)
		if err != nil {
			return err
		}
		answer, err := answers.On(name, nil)
		if err == nil {
			err = because(answer.Err, answer.ErrMessage)
		}
		if err != nil {
			return err
		}
	}
	if partitions == 0 {
		return nil
	}
	answers, err := admin.UpdatePartitions(ctx, partitions, name)
	if err != nil {
		return err
	}
	answer, err := answers.On(name, nil)
	if err != nil {
		return err
	}
	return because(answer.Err, answer.ErrMessage)
}

func newTopicDelete(b *bootstrap) *cobra.Command {
	return &cobra.Command{
		Use:               "delete NAME…",
		Short:             "Delete topics with all their records",
		Example:           `  chronik topic delete orders`,
		ValidArgsFunction: b.topics(true),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("NAME is missing")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return b.admin(c.Context(), func(ctx context.Context, admin *kadm.Client) error {
				answers, err := admin.DeleteTopics(ctx, args...)
				if err != nil {
					return fmt.Errorf("delete topics: %w", err)
				}
				var failed []error
				for _, answer := range answers.Sorted() {
					if answer.Err != nil {
						failed = append(failed, fmt.Errorf("delete topic %s: %w", answer.Topic, because(answer.Err, answer.ErrMessage)))
						continue
					}
					fmt.Fprintf(c.OutOrStdout(), "deleted topic %s\n", answer.Topic)
				}
				return errors.Join(failed...)
			})
		},
	}
}
