package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fields are the columns that records have from the first on.
var fields = []string{"amount", "city", "id", "ok"}

// parted are topics by how their files are. Names of topics may have dots and
// dashes.
var parted = []struct {
	topic, partitioning string
	unit                time.Duration
}{{"orders", "none", 0}, {"orders.by-day", "daily", 24 * time.Hour}, {"orders_by.hour", "hourly", time.Hour}}

// play does one thing after the other, and looks at the tables in between.
func (s *story) play(ctx context.Context) error {
	for _, r := range s.readers {
		s.say("reader %s %s", r.name, r.version)
	}
	for _, chapter := range []struct {
		name string
		play func(context.Context) error
	}{
		{"records, and files by time", s.records},
		{"fields come, and change their types", s.evolve},
		{"merges", s.merge},
		{"deleted records", s.deleteRecords},
		{"compaction by key", s.keys},
		{"retention", s.retain},
		{"tables that end, and topics made again", s.remake},
		{"compactors that are killed", s.kill},
	} {
		if !strings.Contains(chapter.name, s.only) {
			continue
		}
		if err := chapter.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", chapter.name, err)
		}
	}
	return nil
}

// records: all rows are read, and a condition on time plans the files of that time
// and no others.
func (s *story) records(ctx context.Context) error {
	from := s.today.Add(-72 * time.Hour)
	var names []string
	for _, p := range parted {
		names = append(names, p.topic)
		if err := s.create(ctx, p.topic, 2, "columnar.partitioning", p.partitioning); err != nil {
			return err
		}
		if err := s.produce(ctx, p.topic, moments(600, from, from.Add(48*time.Hour)), nil); err != nil {
			return err
		}
	}
	for _, p := range parted {
		if _, err := s.current(ctx, p.topic); err != nil {
			return err
		}
		// Later ones, in files of their own.
		if err := s.produce(ctx, p.topic, moments(200, from.Add(48*time.Hour), from.Add(72*time.Hour)), nil); err != nil {
			return err
		}
	}
	slices.Sort(names)
	for _, p := range parted {
		if _, err := s.current(ctx, p.topic); err != nil {
			return err
		}
		all, err := s.scan(request{Table: p.topic, Columns: fields}, s.rows(p.topic, fields, nil))
		if err != nil {
			return err
		}
		// The condition is of whole units, or of the later records.
		a, b := from.Add(48*time.Hour), from.Add(72*time.Hour)
		if p.unit == time.Hour {
			a, b = from.Add(30*time.Hour), from.Add(33*time.Hour)
		}
		q, matches := between(request{Table: p.topic, Columns: fields}, a, b)
		want := s.rows(p.topic, fields, matches)
		some, err := s.scan(q, want)
		if err != nil {
			return err
		}
		if some.records() != int64(len(want)) || len(want) == 0 || len(some.Planned) >= len(all.Planned) {
			return fmt.Errorf("%s: %d rows match the condition, files with %d rows were planned, %d of %d files",
				p.topic, len(want), some.records(), len(some.Planned), len(all.Planned))
		}
		s.say("%s, partitioned %s: %d rows; a time filter of %d rows plans %d of %d files with %d rows", p.topic, p.partitioning,
			len(all.Rows), len(want), len(some.Planned), len(all.Planned), some.records())
		// A microsecond before the first: nothing, and no file.
		q, matches = between(request{Table: p.topic}, from.Add(-time.Hour), from)
		if none, err := s.scan(q, s.rows(p.topic, nil, matches)); err != nil || len(none.Planned) > 0 {
			return errors.Join(err, fmt.Errorf("%s: %d files are planned for a time without records", p.topic, len(none.Planned)))
		}
		// A key is in the bounds of files, and filters rows.
		key := request{Table: p.topic, Columns: fields, Where: map[string]any{"city": "Rome"}}
		if _, err := s.scan(key, s.rows(p.topic, fields, func(t told) bool { return t.fields["city"] == "Rome" })); err != nil {
			return err
		}
	}
	for _, r := range s.readers {
		a, err := r.ask(request{Ask: "tables"})
		if err != nil || !slices.Equal(a.Tables, names) {
			return errors.Join(err, fmt.Errorf("%s lists %q, not %q", r.name, a.Tables, names))
		}
	}
	s.say("tables %q", names)
	return nil
}

// evolve: new fields are columns, and a field of another type is a column besides.
func (s *story) evolve(ctx context.Context) error {
	for _, p := range parted {
		if err := s.produce(ctx, p.topic, moments(50, s.today, s.today.Add(time.Hour)), map[string]any{"note": "ä", "id": "x-1"}); err != nil {
			return err
		}
	}
	evolved := append([]string{"id_text", "note"}, fields...)
	for _, p := range parted {
		if _, err := s.current(ctx, p.topic); err != nil {
			return err
		}
		if _, err := s.scan(request{Table: p.topic, Columns: evolved}, s.rows(p.topic, evolved, nil)); err != nil {
			return err
		}
	}
	want := map[string]string{
		"_topic": "string", "partition": "int", "_offset": "long", "_timestamp": "timestamptz", "_timestamp_type": "int",
		"_key": "binary", "_value": "binary", "_headers": "map<string, binary>",
		"id": "long", "id_text": "string", "note": "string", "amount": "double", "city": "string", "ok": "boolean",
	}
	for _, r := range s.readers {
		a, err := r.ask(request{Ask: "columns", Table: "orders"})
		if err != nil || !maps.Equal(a.Columns, want) {
			return errors.Join(err, fmt.Errorf("%s: columns %v, not %v", r.name, a.Columns, want))
		}
	}
	s.say("columns %v", slices.Sorted(maps.Keys(want)))
	return nil
}

// merge: files are replaced, and what was before can still be read.
func (s *story) merge(ctx context.Context) error {
	const topic = "merged"
	if err := s.create(ctx, topic, 1, "columnar.partitioning", "none"); err != nil {
		return err
	}
	type state struct {
		snapshot int64
		rows     [][]any
	}
	var states []state
	for i := range 10 {
		if err := s.produce(ctx, topic, moments(20, s.today.Add(time.Duration(i)*time.Minute), s.today.Add(time.Duration(i+1)*time.Minute)), nil); err != nil {
			return err
		}
		m, err := s.current(ctx, topic)
		if err != nil {
			return err
		}
		states = append(states, state{m.Current, s.rows(topic, fields, nil)})
	}
	var replaced int
	if err := until(ctx, "files are merged", func() (bool, error) {
		m, err := s.load(ctx, topic)
		if m == nil || err != nil {
			return false, err
		}
		replaced = 0
		for _, snapshot := range m.Snapshots {
			if snapshot.Summary["operation"] == "replace" {
				replaced++
			}
		}
		return replaced > 0, nil
	}); err != nil {
		return err
	}
	for _, old := range states {
		if _, err := s.scan(request{Table: topic, Columns: fields, Snapshot: old.snapshot}, old.rows); err != nil {
			return err
		}
	}
	now, err := s.scan(request{Table: topic, Columns: fields}, s.rows(topic, fields, nil))
	if err != nil {
		return err
	}
	s.say("merged: %d snapshots replace files, %d files now; %d snapshots of before read as they were", replaced, len(now.Planned), len(states))
	return nil
}

// deleteRecords: rows below the log start are in position deletes.
func (s *story) deleteRecords(ctx context.Context) error {
	for _, p := range parted {
		var to kadm.Offsets
		for partition, rows := range s.told[p.topic] {
			to.AddOffset(p.topic, partition, rows[len(rows)/3].offset, -1)
		}
		answers, err := s.admin.DeleteRecords(ctx, to)
		if err = errors.Join(err, answers.Error()); err != nil {
			return err
		}
	}
	evolved := append([]string{"id_text", "note"}, fields...)
	for _, p := range parted {
		if _, err := s.current(ctx, p.topic); err != nil {
			return err
		}
		a, err := s.scan(request{Table: p.topic, Columns: evolved}, s.rows(p.topic, evolved, nil))
		if err != nil {
			return err
		}
		deletes := 0
		for _, f := range a.Planned {
			deletes += f.Deletes
		}
		if deletes == 0 && p.partitioning != "hourly" {
			return fmt.Errorf("%s: no file of deletes was planned", p.topic)
		}
		s.say("%s: %d rows are left, %d files of position deletes are read", p.topic, len(a.Rows), deletes)
	}
	return nil
}

// keys: rows that compaction by key took out are not read.
func (s *story) keys(ctx context.Context) error {
	const topic = "keyed"
	if err := s.create(ctx, topic, 1, "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01", "segment.ms", "1"); err != nil {
		return err
	}
	for i := range 4 {
		if err := s.produce(ctx, topic, moments(120, s.today, s.today.Add(time.Minute)), nil); err != nil {
			return err
		}
		if i < 3 {
			continue
		}
		if _, err := s.current(ctx, topic); err != nil {
			return err
		}
	}
	all := len(s.told[topic][0])
	var a answer
	if err := until(ctx, "the table has the rows that a consumer reads, and no more", func() (bool, error) {
		left, err := s.consume(ctx, topic)
		if err != nil || len(left) > all/2 {
			return false, err
		}
		a, err = s.scan(request{Table: topic, Columns: fields}, s.rows(topic, fields, func(t told) bool { return left[t.offset] }))
		return err == nil, err
	}); err != nil {
		return err
	}
	s.say("keyed: %d of %d rows are left", len(a.Rows), all)
	return nil
}

// consume reads which offsets of a topic of one partition a consumer gets.
func (s *story) consume(ctx context.Context, topic string) (map[int64]bool, error) {
	rows := s.told[topic][0]
	end := rows[len(rows)-1].offset
	client, err := kgo.NewClient(append(s.client.Opts(), kgo.ConsumeTopics(topic))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	got := make(map[int64]bool)
	for !got[end] { // the last record of a log stays
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) { got[r.Offset] = true })
	}
	return got, nil
}

// retain: what retention takes from the log goes from the table.
func (s *story) retain(ctx context.Context) error {
	const topic = "orders_by.hour"
	before := len(s.rows(topic, nil, nil))
	age := fmt.Sprint(time.Since(s.today.Add(-12 * time.Hour)).Milliseconds())
	answers, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &age}}, topic)
	for _, a := range answers {
		err = errors.Join(err, a.Err)
	}
	if err != nil {
		return err
	}
	evolved := append([]string{"id_text", "note"}, fields...)
	left := before
	if err := until(ctx, "retention takes rows", func() (bool, error) {
		if _, err := s.current(ctx, topic); err != nil {
			return false, err
		}
		want := s.rows(topic, evolved, nil)
		if left = len(want); left == before {
			return false, nil
		}
		_, err := s.scan(request{Table: topic, Columns: evolved}, want)
		return err == nil, err
	}); err != nil {
		return err
	}
	s.say("%s: retention leaves %d of %d rows", topic, left, before)
	return nil
}

// gone waits until no reader finds a table.
func (s *story) gone(ctx context.Context, topic string) error {
	return until(ctx, topic+" is no table", func() (bool, error) {
		for _, r := range s.readers {
			if a, err := r.ask(request{Ask: "scan", Table: topic, Columns: system}); err != nil || a.Missing == "" {
				return false, err
			}
		}
		return true, nil
	})
}

// remake: a topic that is no table any more, or gone, is none; one that is a table
// again has its rows, one made again under its name only those of its own.
func (s *story) remake(ctx context.Context) error {
	const topic = "merged"
	for _, on := range []string{"false", "true"} {
		if _, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "columnar.iceberg", Value: &on}}, topic); err != nil {
			return err
		}
		if on == "true" {
			break
		}
		if err := s.gone(ctx, topic); err != nil {
			return err
		}
	}
	if _, err := s.current(ctx, topic); err != nil {
		return err
	}
	if _, err := s.scan(request{Table: topic, Columns: fields}, s.rows(topic, fields, nil)); err != nil {
		return err
	}
	if _, err := s.admin.DeleteTopics(ctx, topic); err != nil {
		return err
	}
	if err := s.gone(ctx, topic); err != nil {
		return err
	}
	if err := until(ctx, topic+" is made again", func() (bool, error) {
		err := s.create(ctx, topic, 1, "columnar.partitioning", "none")
		return err == nil, err
	}); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	s.client.PurgeTopicsFromClient(topic) // its ids and offsets
	if err := s.produce(ctx, topic, moments(10, s.today, s.today.Add(time.Minute)), nil); err != nil {
		return err
	}
	if _, err := s.current(ctx, topic); err != nil {
		return err
	}
	if _, err := s.scan(request{Table: topic, Columns: fields}, s.rows(topic, fields, nil)); err != nil {
		return err
	}
	s.say("merged: no table while columnar.iceberg is false, all rows after; made again it has 10 rows")
	return nil
}
