package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type consumeOptions struct {
	bootstrap
	topic        string
	from         string
	count        int64
	group        string
	exit         bool
	output       string
	keySeparator string
}

func newConsume(e env) *cobra.Command {
	var o consumeOptions
	c := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Write a topic's records to standard output",
		Long: `Write a topic's records to standard output, one value a line, until interrupted,
until --count records, or with --exit until the end that the topic had at the start.`,
		Example: `  chronik consume orders                     # from the first record, then wait for more
  chronik consume orders --from end          # only what is new
  chronik consume orders --from 1000 --count 10
  chronik consume orders --exit -o json      # everything that is there, with keys and offsets
  chronik consume orders --group billing     # go on where the group stopped`,
		Args: exactly("TOPIC"), ValidArgsFunction: o.topics(false),
		RunE: func(c *cobra.Command, args []string) error {
			o.topic = args[0]
			return o.run(c.Context(), c.OutOrStdout())
		},
	}
	o.add(c, e)
	addOutput(c, &o.output, "lines", "json")
	c.Flags().StringVar(&o.from, "from", "start", "where to begin in each partition: start, end, or an offset; with --group only where it has committed nothing")
	c.Flags().Int64Var(&o.count, "count", 0, "stop after so many records; 0 is never")
	c.Flags().StringVar(&o.group, "group", "", "consumer group to join; offsets are committed as records are written")
	c.Flags().BoolVarP(&o.exit, "exit", "e", false, "stop at the end that the topic had at the start")
	c.Flags().StringVar(&o.keySeparator, "key-separator", "", "write the key, this text, then the value")
	checkOutput := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if err := checkOutput(c, args); err != nil {
			return err
		}
		return o.check()
	}
	return c
}

func (o *consumeOptions) check() error {
	switch _, err := o.start(); {
	case err != nil:
		return err
	case o.exit && o.group != "":
		return usagef("--exit and --group do not go together: a member reads some partitions only, and does not know which beforehand")
	case o.count < 0:
		return usagef("--count %d: it is at least 1, or 0 for no end", o.count)
	case o.keySeparator != "" && o.output == "json":
		return usagef("--key-separator is for lines: JSON has the key")
	}
	return nil
}

// start reads --from.
func (o *consumeOptions) start() (kgo.Offset, error) {
	switch o.from {
	case "start":
		return kgo.NewOffset().AtStart(), nil
	case "end":
		return kgo.NewOffset().AtEnd(), nil
	}
	n, err := strconv.ParseInt(o.from, 10, 64)
	if err != nil || n < 0 {
		return kgo.Offset{}, usagef("--from %s: it is start, end, or an offset", o.from)
	}
	return kgo.NewOffset().At(n), nil
}

func (o *consumeOptions) run(ctx context.Context, out io.Writer) error {
	offset, err := o.start()
	if err != nil {
		return err
	}
	options := []kgo.Opt{kgo.ConsumeTopics(o.topic), kgo.ConsumeResetOffset(offset)}
	if o.group != "" {
		options = append(options, kgo.ConsumerGroup(o.group), kgo.AutoCommitMarks(), kgo.BlockRebalanceOnPoll())
	}
	client, err := o.client(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := o.reachable(ctx, client); err != nil {
		return err
	}
	left, err := o.whatIsThere(ctx, client)
	if err != nil {
		return fmt.Errorf("consume %s: %w", o.topic, o.explain(err))
	}
	if o.exit && len(left) == 0 {
		return nil
	}
	w := bufio.NewWriterSize(out, 1<<16)
	err = o.poll(ctx, client, w, left)
	if flushed := w.Flush(); err == nil {
		err = flushed
	}
	if o.group != "" {
		err = errors.Join(err, leave(client))
	}
	if err != nil {
		return fmt.Errorf("consume %s: %w", o.topic, o.explain(err))
	}
	return nil
}

// leave commits what was written and tells the group.
func leave(client *kgo.Client) error {
	client.AllowRebalance() // polling had blocked it, and leaving is one
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	if err := client.CommitMarkedOffsets(ctx); err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	return client.LeaveGroupContext(ctx)
}

// whatIsThere gives, under --exit, the offset of the last record to be read in
// each partition that has one. It also finds out that a topic does not exist,
// which a consumer alone would wait for.
func (o *consumeOptions) whatIsThere(ctx context.Context, client *kgo.Client) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, o.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil || !o.exit {
		return nil, err
	}
	starts, err := admin.ListStartOffsets(ctx, o.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, err
	}
	left := make(map[int32]int64)
	from, fromErr := strconv.ParseInt(o.from, 10, 64)
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(o.topic, end.Partition)
		first := start.Offset
		if fromErr == nil {
			first = max(first, from)
		}
		if o.from != "end" && first < end.Offset {
			left[end.Partition] = end.Offset - 1
		}
	})
	return left, nil
}

// poll writes records until something says stop; an interrupt is no error.
func (o *consumeOptions) poll(ctx context.Context, client *kgo.Client, w *bufio.Writer, left map[int32]int64) error {
	written := int64(0)
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
		for records := fetches.RecordIter(); !records.Done(); {
			record := records.Next()
			last, wanted := left[record.Partition]
			if o.exit && !wanted {
				continue
			}
			if err := o.write(w, record); err != nil {
				return err
			}
			client.MarkCommitRecords(record)
			if o.exit && record.Offset >= last {
				delete(left, record.Partition)
			}
			written++
			if written == o.count || (o.exit && len(left) == 0) {
				return nil
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		client.AllowRebalance()
	}
}

func (o *consumeOptions) write(w *bufio.Writer, record *kgo.Record) error {
	if o.output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(toJSON(record))
	}
	// bufio.Writer keeps its first error and gives it from every later call.
	if o.keySeparator != "" {
		_, _ = w.Write(record.Key) // see above
		_, _ = w.WriteString(o.keySeparator)
	}
	_, _ = w.Write(record.Value) // see above
	return w.WriteByte('\n')
}
