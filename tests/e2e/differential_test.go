package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	differentialSeed    = flag.Uint64("differential.seed", 0, "play this seed of the differential test; 0: a new one")
	differentialQueries = flag.Int("differential.queries", 30, "random queries for each table of the differential test")
)

// TestChronikAnswersAsDuckDBAlone asks Chronik and DuckDB the same questions
// about the same records: over what is only in the log, only in Parquet, and
// in both; over the whole table, its cold part and its hot part.
func TestChronikAnswersAsDuckDBAlone(t *testing.T) {
	seed := *differentialSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-differential.seed=%d plays this again", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	ref := newReference(t)

	const partitions, half = 3, 2000
	early, late := randomRecords(r, half, partitions, false), randomRecords(r, half, partitions, true)
	c := start(t, "--set", "compactor.first_age=200ms", "--set", "compactor.look_every=100ms")
	for _, topic := range []string{"cold", "mixed", "hot"} {
		c.createTable(topic, partitions, "retention.ms=-1", "columnar.row_group_size=1000", "columnar.partitioning="+[]string{"none", "hourly", "daily"}[r.IntN(3)])
	}
	produced := func(topic string, records []randomRecord) []randomRecord {
		records = slices.Clone(records)
		c.produceRandom(topic, records)
		return records
	}
	cold := produced("cold", early)
	cold = append(cold, produced("cold", late)...)
	mixed := produced("mixed", early)
	c.awaitCold("cold", len(cold))
	c.awaitCold("mixed", len(mixed))
	c.stop()
	c.flags = []string{"--set", "compactor.first_age=1h", "--set", "compactor.first_bytes=1GiB"}
	c.restart()
	newer := produced("mixed", late)
	hot := append(produced("hot", early), produced("hot", late)...)

	tables := []differentialTable{
		{"cold", "cold", cold, cold},
		{"cold_cold", "cold", cold, cold},
		{"mixed", "mixed", slices.Concat(mixed, newer), slices.Concat(mixed, newer)},
		{"mixed_cold", "mixed", mixed, mixed},
		{"mixed_hot", "mixed", newer, slices.Concat(mixed, newer)},
		{"hot", "hot", hot, hot},
		{"hot_hot", "hot", hot, hot},
	}
	// Beside the rest of its topic the cold part has the topic's columns.
	beside := differentialTable{"mixed_cold_beside", "mixed", mixed, slices.Concat(mixed, newer)}
	for _, table := range append(tables, beside) {
		ref.load(table.name, table.topic, table.records, table.typedBy)
	}
	for _, table := range tables {
		t.Run(table.name, func(t *testing.T) {
			ref.refused = 0
			asked, differ := len(writtenQueries)+*differentialQueries, 0
			for i := range asked {
				pair := pairOf(table, tables[r.IntN(len(tables))], beside)
				var q query
				if i < len(writtenQueries) {
					q = writtenQueries[i]
				} else {
					_, types := columnsOf(pair[0].typedBy)
					_, otherTypes := columnsOf(pair[1].typedBy)
					q = randomQuery(r, types, otherTypes)
				}
				if alone := !strings.Contains(q.text, "{u}"); alone && i >= len(writtenQueries) && pair[0].name != table.name {
					continue // made for other columns than the table has alone
				} else if alone {
					pair[0] = table
				}
				if difference := compare(c, ref, r, pair, q); difference != "" {
					t.Error(difference)
					if differ++; differ == 5 {
						t.Fatal("and so on")
					}
				}
			}
			t.Logf("%d queries, %d of them refused by both", asked, ref.refused)
			if ref.refused > asked/4 {
				t.Error("too many of the queries ask nothing")
			}
		})
	}
}

// differentialTable is a table, and a query's {t} or {u}.
type differentialTable struct {
	name, topic      string
	records, typedBy []randomRecord
}

// pairOf are two tables that a query may read, as DuckDB has them.
func pairOf(a, b, beside differentialTable) [2]differentialTable {
	switch {
	case a.topic != beside.topic || b.topic != beside.topic || a.name == b.name:
	case a.name+"_beside" == beside.name:
		a = beside
	case b.name+"_beside" == beside.name:
		b = beside
	}
	return [2]differentialTable{a, b}
}

// produceRandom produces records in order and notes their offsets.
func (c *chronik) produceRandom(topic string, records []randomRecord) {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), shortly)
	defer cancel()
	batch := make([]*kgo.Record, len(records))
	for i, rec := range records {
		batch[i] = &kgo.Record{Partition: rec.partition, Timestamp: rec.timestamp, Key: rec.key, Value: rec.value}
		for _, h := range rec.headers {
			batch[i].Headers = append(batch[i].Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
	}
	if err := client.ProduceSync(ctx, batch...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
	for i, sent := range batch {
		records[i].offset = sent.Offset
	}
}

// awaitCold waits until all records of a topic are in Parquet files.
func (c *chronik) awaitCold(topic string, records int) {
	c.t.Helper()
	eventually(c.t, shortly, func() error {
		answer, err := c.trySQL("SELECT count(*) AS n FROM " + topic + "_cold")
		if err != nil {
			return err
		}
		if n := answer.Rows[0]["n"].(json.Number).String(); n != fmt.Sprint(records) {
			return fmt.Errorf("%s of %d records are in Parquet", n, records)
		}
		return nil
	})
}

// compare asks both and says how the answers differ, "" when they do not.
func compare(c *chronik, ref *reference, r *rand.Rand, pair [2]differentialTable, q query) string {
	ours, theirs := spelled(q.text)
	for _, short := range []string{"offset", "partition", "timestamp", "key", "value", "headers"} {
		theirs = strings.ReplaceAll(theirs, "{"+short+"}", "_"+short)
		for strings.Contains(ours, "{"+short+"}") {
			ours = strings.Replace(ours, "{"+short+"}", []string{"_", ""}[r.IntN(2)]+short, 1)
		}
	}
	for i, short := range []string{"{t}", "{u}"} {
		theirs = strings.ReplaceAll(theirs, short, pair[i].name)
		ours = strings.ReplaceAll(ours, short, strings.TrimSuffix(pair[i].name, "_beside"))
	}
	want, wantErr := ref.ask(theirs)
	got, gotErr := c.askCanonical(ours, q.parameters)
	var refused *refusedError
	switch {
	case wantErr != nil && errors.As(gotErr, &refused) && refused.status == 400:
		ref.refused++
		return ""
	case wantErr != nil || gotErr != nil:
		return fmt.Sprintf("%s\n  Chronik: %d rows, %v\n  DuckDB:  %d rows, %v", ours, len(got), gotErr, len(want), wantErr)
	}
	if !q.ordered {
		slices.Sort(want)
		slices.Sort(got)
	}
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			return fmt.Sprintf("%s\n  Chronik: %d rows, row %d: %s\n  DuckDB:  %d rows, row %d: %s", ours, len(got), i, at(got, i), len(want), i, at(want, i))
		}
	}
	return ""
}

func at(rows []string, i int) string {
	if i < len(rows) {
		return rows[i]
	}
	return "none"
}

// refusedError is an answer that is none.
type refusedError struct {
	status int
	body   []byte
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d %s", e.status, e.body) }

func (c *chronik) askCanonical(query string, parameters []any) ([]string, error) {
	status, body := c.post("/_sql", map[string]any{"query": query, "parameters": parameters, "limit": 1_000_000})
	if status != 200 {
		return nil, &refusedError{status, body}
	}
	var answer sqlAnswer
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	err := decoder.Decode(&answer)
	if err != nil {
		return nil, err
	}
	rows := make([]string, len(answer.Rows))
	for i, row := range answer.Rows {
		for j, name := range answer.Columns {
			// A large float without a fraction looks like an integer.
			if n, ok := row[name].(json.Number); ok && answer.Types[j] == "float64" {
				if row[name], err = n.Float64(); err != nil {
					return nil, err
				}
			}
		}
		rows[i] = canonicalRow(row)
	}
	return rows, nil
}
